"""SubjectDataset: what preprocess writes, and what train, render and evaluate read.

    dataset.json        the manifest, written last: its presence means that preprocessing is done (fields: Manifest)
    footage.json        the footage report (also written, with what is known by then, when footage is refused)
    frames/000000.jpg   the portrait, `size` x `size`, RGB, JPEG quality 95 without chroma subsampling
    masks/000000.png    what each pixel shows, 8 bit, soft edges: R = head (with hair), G = torso (neck, shoulders); rest background
    background.png      the clean plate, `size` x `size`
    audio.wav           16 kHz mono 16 bit, aligned: sample t belongs to the picture at t / 16000 s (the measured offset is corrected)
    features.npy        [steps, width] float32 audio features of audio.wav, 50 steps a second (step s covers the 20 ms from s / 50 s on)
    track.npz           per frame k, at time k / 25 s:
        valid           [frames] bool: a face was found and the pose is trusted; other frames have no JPEG, no mask and filled-in poses
        landmarks       [frames, 478, 3] float32: MediaPipe face-mesh points (x, y in px of the stored frame, z in px); NaN if not valid
        pose            [frames, 4, 4] float32 camera-to-world; the world is the head's own frame
        points          [rigid, 3] float32: the subject's rigid points, head frame; point_ids [rigid] int: their landmark indices
        depose          [frames, 478, 3] float32: landmarks with the pose taken out, in the head's frame (for lips and chin); NaN if not valid
        opening         [frames] float32: inner-lip opening in head units (NaN if not valid)
        eyes            [frames] float32: eye openness, 0 shut .. 1 wide (interpolated where not valid)
        torso           [frames, 4] float32: motion of the upper body (x, y, angle, log scale); see preprocess/torso.py

The head's frame: origin at the centre of the rigid points, x to the person's left (right in the picture), y up, z out of the
face towards a camera in front of it; unit: the distance between the outer corners of the eyes. The camera looks down its -z
with y up (OpenGL), so a frontal pose is close to the identity with a translation of (0, 0, distance).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

from adnerf_core.cameras.cameras import Camera
from adnerf_core.errors import NotReady
from adnerf_core.face.landmarks import BROW_POINTS, EYE_POINTS
from adnerf_core.face.lip_pca import LIPS
from adnerf_core.files.images import read_rgb, resize
from adnerf_core.files.run_dir import read_json

VERSION = 2
BROW_FRAMES = 2.0
"""Standard deviation of the Gaussian that the height of the brows is averaged with, frames."""


@dataclass(frozen=True)
class Track:
    """track.npz; the fields are described at the top of this module."""

    valid: Bool[ndarray, " frames"]
    landmarks: Float[ndarray, "frames 478 3"]
    pose: Float[ndarray, "frames 4 4"]
    points: Float[ndarray, "rigid 3"]
    point_ids: Int[ndarray, " rigid"]
    depose: Float[ndarray, "frames 478 3"]
    opening: Float[ndarray, " frames"]
    eyes: Float[ndarray, " frames"]
    torso: Float[ndarray, "frames 4"]

    def upper_face(self) -> Float[ndarray, "frames 2"]:
        """What the eyes and brows do: eye openness (-1 shut .. 1 wide) and height of the brows (about -1 .. 1, 0 usual).

        Brows move slowly: averaged over BROW_FRAMES, since what the tracker trembles would make the forehead tremble.
        """
        seen = np.flatnonzero(self.valid)
        height = self.depose[seen][:, BROW_POINTS, 1].mean(1)
        low, usual, high = np.percentile(height, (5, 50, 95))
        brows = np.interp(np.arange(len(self.valid)), seen, (height - usual) / max(high - low, 0.02) * 2)
        brows = gaussian_filter1d(brows.clip(-2, 2), BROW_FRAMES, mode="nearest")
        return np.stack([2 * self.eyes - 1, brows], -1).astype(np.float32)


class SubjectDataset:
    """A dataset folder. The constructor reads the manifest only; pictures are read when asked for.

    Raises NotReady where the folder is not a finished dataset.
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

    def track(self) -> Track:
        """Poses, landmarks and what follows from them."""
        with np.load(self.root / "track.npz") as arrays:
            return Track(**{name: arrays[name] for name in Track.__dataclass_fields__})

    def features(self) -> Float[ndarray, "steps width"]:
        """The audio features of the footage's sound, 50 steps a second."""
        return np.load(self.root / "features.npy")

    def picture(self, frame: int, size: int) -> UInt8[ndarray, "size size 3"]:
        """The portrait at `frame`, RGB."""
        return _read(self.root / "frames" / f"{frame:06d}.jpg", size)

    def mask(self, frame: int, size: int) -> UInt8[ndarray, "size size 2"]:
        """Coverage by the head and by the torso at `frame`, 0..255."""
        return _read(self.root / "masks" / f"{frame:06d}.png", size)[..., :2]

    def background(self, size: int) -> UInt8[ndarray, "size size 3"]:
        """The clean plate, RGB."""
        return _read(self.root / "background.png", size)


def _read(path: Path, size: int) -> UInt8[ndarray, "size size 3"]:
    return resize(read_rgb(path, "Run preprocess again."), size)


def interocular_px(camera: Camera, track: Track) -> float:
    """The length of one head unit (outer corner to outer corner of the eyes), px of `camera`."""
    return camera.focal / float(np.median(np.linalg.norm(track.pose[track.valid, :3, 3], axis=-1)))


def face_boxes(dataset: SubjectDataset, track: Track, frame: int, size: int) -> Float[ndarray, "2 4"]:
    """The boxes (row, col, row, col; px of a picture of `size` px) around the mouth, and around eyes and brows, of a valid frame."""
    margin = 0.12 * interocular_px(dataset.camera.resized(size), track)
    points = track.landmarks[frame, :, :2] * (size / dataset.size)
    boxes = [_box(points[list(part)], margin) for part in (LIPS, EYE_POINTS + BROW_POINTS)]
    return np.array(boxes, np.float32)


def _box(points: Float[ndarray, "points 2"], margin: float) -> tuple[float, float, float, float]:
    """(row, col, row, col) around points given as (x, y)."""
    (left, top), (right, bottom) = points.min(0) - margin, points.max(0) + margin
    return float(top), float(left), float(bottom), float(right)
