"""Masks of head and torso: a person segmentation, split along the jaw; both are smoothed over time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.interpolate import interp1d
from scipy.ndimage import gaussian_filter1d

from adnerf_core.face.landmarks import EAR_LOBES, JAW
from adnerf_core.face.networks import Graph, Network, read_model
from adnerf_core.preprocess.head_pose import HeadTrack
from adnerf_core.preprocess.rigid_motions import project_centred

NETWORK_EDGE = 256
"""Edge of the pictures that the segmentation network takes, px."""

MEDIAN_FRAMES = 5
"""Frames in the temporal median of the segmentation: a median removes flicker and keeps moving edges sharp. median_of_five() is
written for this number."""

SEGMENT_EVERY = 2
"""Frames from one that the network sees to the next. Between two, it follows their mean to a third of what it changes by from frame to
frame, and the edge is moved to that of the picture in each frame."""

GUIDE_WINDOW = 5
"""Edge of the guided filter's windows, px at NETWORK_EDGE: about the distance by which the network misses an edge."""

GUIDE_EPSILON = 1e-3
"""The guided filter's regularisation, squared brightness (0..1): edges of less contrast than its root, 0.03, are not followed."""

CONFIDENT_BACKGROUND, CONFIDENT_PERSON = 0.15, 0.85
"""Filtered probabilities that become opacity 0 and 1; those between are stretched linearly. It removes the haze of the network's
doubt and keeps a soft edge."""

MIN_PROBABILITY = 0.05
"""Probability from which a pixel belongs to a connected piece of the person."""

JAW_SIGMA = 2.0
"""Standard deviation of the temporal smoothing of the jaw line, frames, in the head's frame, where it moves with speech only."""

HAIR_REACH = 0.75
"""How far outwards from the ear lobes hair belongs to the head, head units. Beyond it the cut rises steeply."""

LOBE_DROP, LOBE_WIDTH = 0.2, 0.15
"""From each ear lobe the cut runs so far down within so far outwards, head units, to pass below the ear."""

CUT_TOP = 3.0
"""How far above the lobes the polygon ends, head units: above every head of hair."""


class PersonSegmenter:
    """MediaPipe's selfie segmentation. Raises MissingBackend if LiteRT is missing."""

    def __init__(self):
        self._network = Network(_network_file())

    def __call__(self, frame: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "edge edge"]:
        """Returns the probability of the person, 0..1, at NETWORK_EDGE."""
        small = cv2.resize(frame, (NETWORK_EDGE, NETWORK_EDGE), interpolation=cv2.INTER_AREA)
        (probability,) = self._network(small[None] * np.float32(1 / 255))
        return probability[0, ..., 0]

    def close(self) -> None:
        """Releases the network's resources."""
        del self._network


@cache
def _network_file() -> bytes:
    """The network with standard operators. It is kept, for it is loaded once for each take, and rewriting it takes a twentieth of a second."""
    graph = Graph(read_model("selfie_segmentation.tflite"))
    graph.use_standard_convolution("segment")
    return graph.cut(["input_1"], ["activation_10"])


def segment_frames(
    frames: Iterable[np.ndarray], cuts: Iterable[np.ndarray], numbers: Sequence[int]
) -> Iterator[UInt8[np.ndarray, "size size 3"]]:
    """Segments the frames of a take.

    Args:
        frames: [size, size, 3] uint8 RGB.
        cuts: for each frame the polygon of the head, as jaw_polygons() returns it.
        numbers: those of the frames, ascending; some may be left out.

    Yields:
        A mask per frame: R is the head and G the torso, 0..255, with soft edges and R + G <= 255; B is 0.
    """
    person: deque[np.ndarray] = deque(maxlen=MEDIAN_FRAMES)
    waiting: deque[tuple[np.ndarray, np.ndarray]] = deque()
    # Beside frames that are left out, the mean would be that of two distant pictures.
    places = range(1, len(numbers) - 1, SEGMENT_EVERY)
    skipped = {k for k in places if numbers[k + 1] - numbers[k - 1] == SEGMENT_EVERY}

    def probabilities() -> Iterator[np.ndarray]:
        """Those of all frames, which are put into `waiting`; of the skipped ones, the mean of their neighbours'."""
        before = None
        with closing(PersonSegmenter()) as segment:
            for k, each in enumerate(zip(frames, cuts, strict=True)):
                waiting.append(each)
                if k in skipped:
                    continue
                now = cv2.convertScaleAbs(segment(each[0]), alpha=255)  # bytes, whose median is ten times as fast
                if k - 1 in skipped:
                    yield cv2.addWeighted(before, 0.5, now, 0.5, 0)
                yield now
                before = now

    for probability in probabilities():
        # The first frame also stands for those before it.
        person.extend([probability] * (1 if person else MEDIAN_FRAMES // 2 + 1))
        if len(person) == MEDIAN_FRAMES:
            yield split_head_torso(*waiting.popleft(), median_of_five(*person))
    while waiting:
        person.append(person[-1])  # the last frame also stands for those after it
        if len(person) == MEDIAN_FRAMES:
            yield split_head_torso(*waiting.popleft(), median_of_five(*person))


def median_of_five(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, e: np.ndarray) -> np.ndarray:
    """Returns the element-wise median of five arrays of bytes, much faster than by sorting.

    The smallest and the largest of a, b, c, d cannot be the median of five. It is therefore the median of the other two and e.
    """
    a, b, c, d = cv2.min(a, b), cv2.max(a, b), cv2.min(c, d), cv2.max(c, d)
    b, c = cv2.min(b, d), cv2.max(a, c)
    return cv2.max(cv2.min(b, c), cv2.min(cv2.max(b, c), e))


def split_head_torso(
    frame: UInt8[np.ndarray, "size size 3"], cut: Float[np.ndarray, "n 2"], person: UInt8[np.ndarray, "edge edge"]
) -> UInt8[np.ndarray, "size size 3"]:
    """Computes the mask of one frame: refines the coarse probability to the frame's edges and splits it along the cut.

    Args:
        frame: RGB.
        cut: polygon of the head, (x, y), px.
        person: probability of the person, 0..255.

    Returns:
        The mask, as segment_frames() yields it.
    """
    size = frame.shape[0]
    opacity = guided_filter(frame, keep_largest(person).astype(np.float32) / 255)
    above = np.zeros((size, size), np.uint8)
    # fillPoly takes integers with a number of fractional bits: 4 here. Its origin is the centre of the first pixel.
    cv2.fillPoly(above, [np.rint((cut - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    above = cv2.GaussianBlur(above, (0, 0), max(0.5, size / 400))  # a soft cut, as the outline is soft
    head = cv2.multiply(opacity, above, scale=1 / 255)
    return cv2.merge([head, cv2.subtract(opacity, head), np.zeros_like(head)])


def guided_filter(
    frame: UInt8[np.ndarray, "size size 3"], mask: Float[np.ndarray, "edge edge"]
) -> UInt8[np.ndarray, "size size"]:
    """Moves the mask's edge to the picture's edge (He and Sun, "Fast Guided Filter", 2015).

    In each window the mask is fitted as a linear function of the brightness g:

        mask = slope * g + shift,    slope = cov(g, mask) / (var(g) + GUIDE_EPSILON),    shift = mean(mask) - slope * mean(g)

    The function is fitted at the mask's resolution, averaged over the windows that hold a pixel, and applied at the frame's.

    Returns:
        The opacity, 0..255: the filtered mask, stretched between CONFIDENT_BACKGROUND and CONFIDENT_PERSON.
    """
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    guide = cv2.resize(gray, mask.shape, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    window = (GUIDE_WINDOW, GUIDE_WINDOW)
    mean_g, mean_m = cv2.blur(guide, window), cv2.blur(mask, window)
    variance = cv2.blur(guide * guide, window) - mean_g**2
    slope = (cv2.blur(guide * mask, window) - mean_g * mean_m) / (variance + GUIDE_EPSILON)
    stretch = 1 / (CONFIDENT_PERSON - CONFIDENT_BACKGROUND)  # at the mask's resolution, which has fewer pixels
    shift = (cv2.blur(mean_m - slope * mean_g, window) - CONFIDENT_BACKGROUND) * (255 * stretch)
    slope = cv2.blur(slope, window) * stretch
    slope, shift = (cv2.resize(part, gray.shape, interpolation=cv2.INTER_LINEAR) for part in (slope, shift))
    return cv2.add(cv2.multiply(slope, gray, dtype=cv2.CV_32F), shift, dtype=cv2.CV_8U)


def keep_largest(mask: UInt8[np.ndarray, "edge edge"]) -> UInt8[np.ndarray, "edge edge"]:
    """Keeps the largest connected piece of a mask: objects elsewhere that the network takes for people are dropped."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 255 * MIN_PROBABILITY).astype(np.uint8))
    if count <= 2:  # the background, and one piece at most
        return mask
    return mask * (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def jaw_polygons(
    canonical: Float[np.ndarray, "frames landmarks 3"], track: HeadTrack, size: int
) -> Float[np.ndarray, "frames n 2"]:
    """Computes for each frame the polygon inside which the person is head; the rest of the person is torso.

    Its lower side is the jaw line, smoothed over time in the head's frame and projected with the smoothed pose, so that the
    border between jaw and neck does not jitter. From the ear lobes it runs outwards, then up: hair below the lobes is torso.

    Args:
        canonical: landmarks in the head's frame, NaN where the pose is not valid.
        track: the poses.
        size: edge of the frame, px.

    Returns:
        (x, y) of the corners, px.
    """
    right, left = (JAW.index(lobe) for lobe in EAR_LOBES)
    valid = np.flatnonzero(track.valid)
    points = canonical[valid][:, JAW[right : left + 1]]
    jaw = interp1d(valid, points, axis=0, bounds_error=False, fill_value="extrapolate")
    jaw = gaussian_filter1d(jaw(np.clip(np.arange(len(canonical)), valid[0], valid[-1])), JAW_SIGMA, axis=0)
    ears = jaw[:, [0, -1]].mean(0)
    outwards = np.array([(LOBE_WIDTH, -LOBE_DROP, 0), (HAIR_REACH, -LOBE_DROP, 0), (2 * HAIR_REACH, CUT_TOP, 0)])
    sides = [np.tile(ear + outwards * (sign, 1, 1), (len(jaw), 1, 1)) for ear, sign in zip(ears, (-1, 1), strict=True)]
    outline = np.concatenate([sides[0][:, ::-1], jaw, sides[1]], axis=1)
    return project_centred(outline, track.focal, track.motions) * (1, -1) + size / 2
