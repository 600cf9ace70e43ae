"""Head, torso, background: a person segmentation cut in two along the jaw, both steadied over time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.interpolate import interp1d
from scipy.ndimage import gaussian_filter1d

from adnerf_core.errors import MissingBackend
from adnerf_core.face import landmarks
from adnerf_core.face.landmarks import LOBES
from adnerf_core.face.suppress_stderr import suppress_stderr
from adnerf_core.preprocess.bundle_adjustment import HeadTrack, project

NETWORK_EDGE = 256
"""Edge of the pictures that the segmentation network sees."""
STEADY = 5
"""Frames over which the segmentation's median is taken: a median removes flicker and leaves moving edges sharp."""
GUIDE_WINDOW = 5
"""Edge of the windows in which the segmentation follows the picture's brightness, px at NETWORK_EDGE."""
JAW_FRAMES = 2.0
"""Standard deviation, frames, of the smoothing of the jaw line in the head's frame (where it moves only with speech)."""
EAR_REACH = 0.75
"""How far beyond the ears hair still belongs to the head, in units of the head."""
LOBE_DROP = 0.2
"""From the ear lobes the cut runs outwards, and so far down, to clear them."""


class PersonSegmenter:
    """MediaPipe's selfie segmentation, whose model comes with the wheel."""

    def __init__(self):
        try:
            from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation
        except ImportError as error:
            raise MissingBackend("Segmentation needs: pip install --no-deps mediapipe==0.10.21") from error
        with suppress_stderr():
            self._solution = SelfieSegmentation(model_selection=0)
            self._solution.process(np.zeros((NETWORK_EDGE, NETWORK_EDGE, 3), np.uint8))

    def __call__(self, frame: UInt8[np.ndarray, "size size 3"]) -> Float[np.ndarray, "edge edge"]:
        """Probability of the person, 0..1, at NETWORK_EDGE."""
        small = cv2.resize(frame, (NETWORK_EDGE, NETWORK_EDGE), interpolation=cv2.INTER_AREA)
        return self._solution.process(small).segmentation_mask

    def close(self) -> None:
        self._solution.close()


def segment_frames(
    frames: Iterable[np.ndarray], cuts: Iterable[np.ndarray]
) -> Iterator[UInt8[np.ndarray, "size size 3"]]:
    """Masks of consecutive `frames`, [size, size, 3] uint8 RGB, given the polygon (see jaw_polygons) that each is cut along.

    Yields one for each frame: R = head, G = torso, 0..255 with soft edges and R + G <= 255.
    """
    person: deque[np.ndarray] = deque(maxlen=STEADY)
    waiting: deque[tuple[np.ndarray, np.ndarray]] = deque()
    with closing(PersonSegmenter()) as segment:
        for frame, cut in zip(frames, cuts, strict=True):
            seen = segment(frame)
            person.extend([seen] * (1 if person else STEADY // 2 + 1))  # the first frame stands for those before it
            waiting.append((frame, cut))
            if len(person) == STEADY:
                yield split_head_torso(*waiting.popleft(), median_of_five(*person))
        while waiting:
            person.append(person[-1])  # and the last one for those after it
            if len(person) == STEADY:
                yield split_head_torso(*waiting.popleft(), median_of_five(*person))


def median_of_five(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, e: np.ndarray) -> np.ndarray:
    """Element-wise median: what neither is the least nor the greatest of four, against the fifth. Far faster than sorting."""
    a, b, c, d = np.minimum(a, b), np.maximum(a, b), np.minimum(c, d), np.maximum(c, d)
    b, c = np.minimum(b, d), np.maximum(a, c)
    return np.maximum(np.minimum(b, c), np.minimum(np.maximum(b, c), e))


def split_head_torso(
    frame: UInt8[np.ndarray, "size size 3"], cut: Float[np.ndarray, "n 2"], person: Float[np.ndarray, "edge edge"]
) -> UInt8[np.ndarray, "size size 3"]:
    """The mask of one frame: sharpens the coarse person to the frame's own edges and divides it along the cut."""
    size = frame.shape[0]
    person = guided_filter(frame, keep_largest(person))
    person = np.clip((person - 0.15) * (255 / 0.7), 0, 255)
    above = np.zeros((size, size), np.uint8)
    cv2.fillPoly(above, [np.rint((cut - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    above = cv2.GaussianBlur(above, (0, 0), max(0.5, size / 400))
    head = cv2.multiply(person, above, scale=1 / 255, dtype=cv2.CV_32F)
    return cv2.merge([np.rint(channel).astype(np.uint8) for channel in (head, person - head, np.zeros_like(head))])


def guided_filter(
    frame: UInt8[np.ndarray, "size size 3"], mask: Float[np.ndarray, "edge edge"]
) -> Float[np.ndarray, "size size"]:
    """Guided filter: the mask as a locally linear function of brightness, so that its edge falls on the picture's edge.

    The function is found at the mask's resolution and applied at the frame's.
    """
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    guide = cv2.resize(gray, mask.shape, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    window = (GUIDE_WINDOW, GUIDE_WINDOW)
    mean_g, mean_m = cv2.blur(guide, window), cv2.blur(mask, window)
    slope = (cv2.blur(guide * mask, window) - mean_g * mean_m) / (cv2.blur(guide * guide, window) - mean_g**2 + 1e-3)
    line = cv2.merge([cv2.blur(slope, window) / 255, cv2.blur(mean_m - slope * mean_g, window)])
    slope, shift = cv2.split(cv2.resize(line, gray.shape, interpolation=cv2.INTER_LINEAR))
    return slope * gray + shift


def keep_largest(mask: Float[np.ndarray, "edge edge"]) -> Float[np.ndarray, "edge edge"]:
    """The person's own connected piece; what the network takes for people elsewhere is dropped."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 0.05).astype(np.uint8))
    if count <= 2:
        return mask
    return mask * (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def jaw_polygons(
    depose: Float[np.ndarray, "frames landmarks 3"], track: HeadTrack, size: int
) -> Float[np.ndarray, "frames n 2"]:
    """For each frame the polygon (px of the frame) of what belongs to the head as far as the person is there.

    Its lower side is the jaw line, low-passed in the head's frame and seen from the smoothed pose, so that the rim between
    jaw and neck does not jitter; from the ear lobes it runs outwards, then up: hair below the lobes is torso.
    """
    right, left = (landmarks.JAW.index(lobe) for lobe in LOBES)
    known = np.flatnonzero(track.valid)
    jaw = interp1d(
        known, depose[known][:, landmarks.JAW[right : left + 1]], axis=0, bounds_error=False, fill_value="extrapolate"
    )
    jaw = gaussian_filter1d(jaw(np.clip(np.arange(len(depose)), known[0], known[-1])), JAW_FRAMES, axis=0)
    ears = jaw[:, [0, -1]].mean(0)
    sides = []
    for ear, sign in zip(ears, (-1, 1), strict=True):
        outwards = np.array([(0.15, -LOBE_DROP, 0), (EAR_REACH, -LOBE_DROP, 0), (2 * EAR_REACH, 3, 0)])
        sides.append(np.tile(ear + outwards * (sign, 1, 1), (len(jaw), 1, 1)))
    outline = np.concatenate([sides[0][:, ::-1], jaw, sides[1]], axis=1)
    return project(outline, track.focal, track.motions) * (1, -1) + size / 2
