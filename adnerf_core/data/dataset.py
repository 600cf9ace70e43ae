"""SubjectDataset: the folder that `preprocess` writes and that `train`, `render` and `evaluate` read.

    dataset.json        the manifest, written last: its presence means that preprocessing is complete: version, source (name,
                        sha256), size, frames, held_out_from, focal and center (px), features (name, width, rate), takes ([first
                        frame, frame after the last]; frames outside all of them are not valid) and more figures
    footage.json        the footage report (also written, as far as it is known, when the footage is refused)
    footage.mp4         the footage, whole: frame k is frame k of the dataset; upright, 25 frames a second, square pixels, SDR (BT.709),
                        H.264 4:2:0 without sound, longest edge at most 1920 px, a key frame every 12 frames and no B-frames.
                        The manifest's `footage` holds its width, height and crop (x, y, side): the square that `frames` show, px.
                        Both are absent in datasets that were imported, or made before footage was kept
    frames/000000.jpg   the cropped frame, `size` x `size`, RGB, JPEG quality 95 without chroma subsampling
    masks/000000.png    coverage of each pixel, 8 bit, soft edges: R = head (with hair), G = torso (neck, shoulders); rest background
    background.png      the clean plate (the scene without the person), `size` x `size`
    audio.wav           16 kHz mono 16 bit, aligned: sample t belongs to the frame at t / 16000 s (the measured offset is corrected)
    features.npy        [steps, width] float32 audio features of audio.wav, 50 steps a second (step s covers the 20 ms from s / 50 s on)
    track.npz           per frame k, at time k / 25 s:
        valid           [frames] bool: a face was found and the pose is reliable; other frames have no JPEG, no mask and filled-in poses
        landmarks       [frames, 478, 3] float32: MediaPipe face-mesh points (x, y in px of the stored frame, z in px); NaN if not valid
        pose            [frames, 4, 4] float32 camera-to-world; the world is the head's own frame
        points          [rigid, 3] float32: the subject's rigid points, head frame; point_ids [rigid] int: their landmark indices
        depose          [frames, 478, 3] float32: landmarks without the head's pose, in the head frame (for lips and chin); NaN if not valid
        opening         [frames] float32: inner-lip opening in head units (NaN if not valid)
        eyes            [frames] float32: eye openness, 0 shut .. 1 wide (interpolated if not valid)
        torso           [frames, 4] float32: motion of the upper body (x, y, angle, log scale); see preprocess/torso_tracking.py

The head frame: origin at the centre of the rigid points, x to the person's left (right in the picture), y up, z out of the
face towards a camera in front of it; unit: the distance between the outer corners of the eyes. The camera looks down its -z
axis with y up (OpenGL), so a frontal pose is close to the identity with a translation of (0, 0, distance).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

from adnerf_core.cameras.cameras import Camera
from adnerf_core.errors import NotReady
from adnerf_core.face.eyes import eye_aspect_ratios, gaze, openness
from adnerf_core.face.landmarks import BROW_POINTS, EYE_POINTS
from adnerf_core.face.lip_pca import LIPS
from adnerf_core.files.images import read_rgb, resize
from adnerf_core.files.run_dir import read_json

VERSION = 2
"""Version of the format. A dataset of another version is refused."""
BROW_SIGMA = 2.0
"""Standard deviation, frames, of the temporal smoothing of the brows' height. Without it the tracker's noise moves the forehead: the
jitter of a rendered head falls from .277 to .268, which is that of the footage (docs/fidelity.md)."""
MIN_BROW_RANGE = 0.02
"""Smallest range of the brows' height (5th to 95th percentile), head units, that is scaled to -1 .. 1. In footage whose brows rest, a
smaller range is tracking noise, which would be scaled up."""
GAZE_SIGMA = 0.7
"""Standard deviation, frames, of the temporal smoothing of the gaze: the tracker's noise is .006 eye lengths, a quarter of the gaze's
own deviation on the reference clip, and the eyes jump from one frame to the next."""
MIN_GAZE_RANGE = 0.04
"""Smallest range of each axis of the gaze (5th to 95th percentile), eye lengths, that is scaled to -1 .. 1; a smaller one is noise."""
MIN_OPEN_TO_LOOK = 0.65
"""Mean openness of both eyes below which lids cover the irises in part, as in 5 % of the reference clip; the gaze is interpolated over such
frames. With .4, irises that the tracker guessed below half-shut lids counted as a gaze, and blinks were rendered less well."""
FEATURE_MARGIN = 0.12
"""Margin around the landmarks of mouth, eyes and brows in `face_boxes`, head units: about the thickness of a lip, so that the boxes
also hold the skin that moves with them. Unmeasured."""

STORED_NAMES = {"canonical_landmarks": "depose"}
"""The arrays of track.npz whose names differ from the fields of Track."""


@dataclass(frozen=True)
class Track:
    """The arrays of track.npz, which the format description of this module explains.

    `canonical_landmarks` are the array `depose`: the landmarks in the head frame, without the head's pose.
    """

    valid: Bool[ndarray, " frames"]
    landmarks: Float[ndarray, "frames 478 3"]
    pose: Float[ndarray, "frames 4 4"]
    points: Float[ndarray, "rigid 3"]
    point_ids: Int[ndarray, " rigid"]
    canonical_landmarks: Float[ndarray, "frames 478 3"]
    opening: Float[ndarray, " frames"]
    eyes: Float[ndarray, " frames"]
    torso: Float[ndarray, "frames 4"]

    def upper_face(self) -> Float[ndarray, "frames 5"]:
        """Measures eyes and brows, the part of the head's condition that does not come from the sound.

        Returns:
            Per frame: the openness of the right and of the left eye (-1 shut .. 1 wide); the height of the brows and the gaze (x to
            the person's left, y up), of which 0 is the median, -1 and 1 are about the 5th and the 95th percentile, and values are
            clamped to -2 .. 2. All are interpolated over frames that are not valid, and the gaze also while the eyes are shut.
            Brows and gaze are smoothed over time (BROW_SIGMA, GAZE_SIGMA): the tracker's noise would move forehead and irises.
        """
        valid = np.flatnonzero(self.valid)
        landmarks = self.canonical_landmarks[valid]
        eyes = np.stack([openness(ratio)[0] for ratio in eye_aspect_ratios(landmarks).T], -1)
        brows = landmarks[:, BROW_POINTS, 1].mean(1, keepdims=True)
        seen = eyes.mean(-1) >= MIN_OPEN_TO_LOOK
        frames = np.arange(len(self.valid))
        columns = [
            _interpolate(frames, valid, 2 * eyes - 1),
            _smooth(_interpolate(frames, valid, _standardize(brows, MIN_BROW_RANGE)), BROW_SIGMA),
            _smooth(_interpolate(frames, valid[seen], _standardize(gaze(landmarks[seen]), MIN_GAZE_RANGE)), GAZE_SIGMA),
        ]
        return np.concatenate(columns, -1).astype(np.float32)


def _standardize(values: Float[ndarray, "n columns"], min_range: float) -> Float[ndarray, "n columns"]:
    """Maps each column's median to 0, and its 5th and 95th percentile to about -1 and 1, clamped to -2 .. 2."""
    low, median, high = np.percentile(values, (5, 50, 95), axis=0)
    return ((values - median) / np.maximum(high - low, min_range) * 2).clip(-2, 2)


def _interpolate(
    frames: Int[ndarray, " frames"], known: Int[ndarray, " n"], values: Float[ndarray, "n columns"]
) -> Float[ndarray, "frames columns"]:
    return np.stack([np.interp(frames, known, column) for column in values.T], -1)


def _smooth(values: Float[ndarray, "frames columns"], sigma: float) -> Float[ndarray, "frames columns"]:
    return gaussian_filter1d(values, sigma, axis=0, mode="nearest")


class SubjectDataset:
    """A dataset folder. The constructor reads the manifest; frames, masks and arrays are read on demand.

    Attributes:
        size: edge of the stored frames, px.
        frames: number of frames, valid or not.
        held_out_from: first frame of the held-out part, which training never reads.
        camera: of the stored frames.
        footage: the manifest's `footage`; None if the footage was not kept.

    Raises:
        NotReady: the folder is not a finished dataset.
    """

    def __init__(self, root: Path):
        self.root = Path(root)
        self.manifest = read_json(self.root / "dataset.json")
        if self.manifest.get("version") != VERSION:
            raise NotReady(f"{self.root} was written by another version.", "Run preprocess again.")
        self.size: int = self.manifest["size"]
        self.frames: int = self.manifest["frames"]
        self.held_out_from: int = self.manifest["held_out_from"]
        self.camera = Camera(self.size, self.size, self.manifest["focal"], tuple(self.manifest["center"]))
        self.audio = self.root / "audio.wav"
        self.footage: dict[str, Any] | None = self.manifest.get("footage")

    def track(self) -> Track:
        """Reads poses, landmarks and the measurements that are derived from them."""
        with np.load(self.root / "track.npz") as arrays:
            return Track(**{field.name: arrays[STORED_NAMES.get(field.name, field.name)] for field in fields(Track)})

    def features(self) -> Float[ndarray, "steps width"]:
        """Reads the audio features of the footage, 50 steps a second."""
        return np.load(self.root / "features.npy")

    def picture(self, frame: int, size: int) -> UInt8[ndarray, "size size 3"]:
        """Reads a frame, RGB, and scales it to `size`."""
        return _read(self.root / "frames" / f"{frame:06d}.jpg", size)

    def mask(self, frame: int, size: int) -> UInt8[ndarray, "size size 2"]:
        """Reads the coverage by head and torso of a frame, 0..255, and scales it to `size`."""
        return _read(self.root / "masks" / f"{frame:06d}.png", size)[..., :2]

    def background(self, size: int) -> UInt8[ndarray, "size size 3"]:
        """Reads the clean plate, RGB, and scales it to `size`."""
        return _read(self.root / "background.png", size)


def _read(path: Path, size: int) -> UInt8[ndarray, "size size 3"]:
    return resize(read_rgb(path, "Run preprocess again."), size)


def interocular_px(camera: Camera, track: Track) -> float:
    """Returns the length of one head unit (outer corner to outer corner of the eyes) at the head's median distance, px of `camera`."""
    return camera.focal / float(np.median(np.linalg.norm(track.pose[track.valid, :3, 3], axis=-1)))


def face_boxes(dataset: SubjectDataset, track: Track, frame: int, size: int) -> Float[ndarray, "2 4"]:
    """Returns the boxes of the mouth, and of eyes and brows, in a frame.

    Args:
        dataset: the dataset of `track`.
        track: landmarks and poses.
        frame: a valid frame.
        size: edge, px, of the picture in which the boxes are measured.

    Returns:
        Two boxes (top, left, bottom, right), px, with FEATURE_MARGIN on each side.
    """
    margin = FEATURE_MARGIN * interocular_px(dataset.camera.resized(size), track)
    points = track.landmarks[frame, :, :2] * (size / dataset.size)
    boxes = [_bounding_box(points[list(part)], margin) for part in (LIPS, EYE_POINTS + BROW_POINTS)]
    return np.array(boxes, np.float32)


def _bounding_box(points: Float[ndarray, "points 2"], margin: float) -> tuple[float, float, float, float]:
    """Returns (top, left, bottom, right) of points given as (x, y), with a margin."""
    (left, top), (right, bottom) = points.min(0) - margin, points.max(0) + margin
    return float(top), float(left), float(bottom), float(right)
