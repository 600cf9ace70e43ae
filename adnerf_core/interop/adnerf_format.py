"""The folder that AD-NeRF's preprocessing writes, and what its parts mean in a dataset.

    transforms_train.json, transforms_val.json
                       focal_len, cx, cy (px) and frames [{img_id, aud_id, transform_matrix, face_rect}]: camera-to-world, where the
                       world is the head's frame in metres and cameras look along -z; face_rect is [x, y, width, height], px
    aud.npy            [windows, 16, width]: window i holds the steps 2i - 8 .. 2i + 7 of features, 50 per second, zeros outside
    ori_imgs/<i>.jpg   the frames, and <i>.lms: 68 landmarks, "x y" per line
    com_imgs, head_imgs   the person, and the head alone, composited over the clean plate
    parsing/<i>.png    segmentation, in the colours below
    bc.jpg             the clean plate
    aud.wav            the audio, 16 kHz mono

`aud_id` is the number of the frame in time, at 25 frames per second; `img_id` names its files.

A folder that export_adnerf wrote has a note in its transforms (`adnerf`) with the kind of its features and the length of a head unit in
metres, so that an import restores its poses and audio exactly. Other folders hold DeepSpeech features, and their head frame is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from adnerf_core.audio.windows import LENGTH, STEPS_PER_FRAME
from adnerf_core.errors import BadFolder, NotReady
from adnerf_core.files.images import read_rgb
from adnerf_core.files.run_dir import read_json

HEAD, NECK, CLOTH, BACKGROUND = (0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)
"""RGB colours of parsing/*.png."""
SPLITS = ("train", "val")
ROTATION_TOLERANCE = 1e-3
"""Largest deviation of R R' from the identity: poses in single precision, or with four or more decimals, stay below it."""
AUDIO_REMEDY = (
    "Compute aud.npy again with AD-NeRF's preprocessing, or import with --features mel, which reads aud.wav instead."
)

LANDMARKS_68 = (
    127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""The face-mesh landmark closest to each of the 68 landmarks: jaw, brows, nose, eyes, outer and inner lips."""


@dataclass(frozen=True)
class Frame:
    """One frame of a folder.

    Attributes:
        number: number in time, at 25 frames per second (`aud_id`).
        image: name of the frame's files (`img_id`).
        pose: camera-to-world.
        held_out: whether it is one of transforms_val.json.
    """

    number: int
    image: str
    pose: Float[ndarray, "4 4"]
    held_out: bool


@dataclass(frozen=True)
class ExportInfo:
    """The note of export_adnerf in the transforms.

    Attributes:
        features: name, width and rate of the features, as in the manifest of a dataset.
        head_unit_m: length of a head unit (the distance between the outer corners of the eyes), m.
    """

    features: dict[str, Any]
    head_unit_m: float


@dataclass(frozen=True)
class AdNerfFolder:
    """A folder, with the content of both transforms files.

    Attributes:
        path: the folder.
        focal: focal length, px.
        center: principal point (x, y), px.
        frames: the frames of both files, in the order of time.
        export_info: the note of export_adnerf; None in other folders.
    """

    path: Path
    focal: float
    center: tuple[float, float]
    frames: tuple[Frame, ...]
    export_info: ExportInfo | None

    @classmethod
    def read(cls, path: Path) -> AdNerfFolder:
        """Reads and checks the transforms of the folder `path`. Raises BadFolder."""
        frames: list[Frame] = []
        for split in SPLITS:
            transforms = _read_json(path / f"transforms_{split}.json")
            try:
                focal = float(transforms["focal_len"])
                center = (float(transforms["cx"]), float(transforms["cy"]))
                frames += [_parse_frame(frame, split == "val") for frame in transforms["frames"]]
                export_info = _parse_export_info(transforms.get("adnerf"))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise BadFolder(f"transforms_{split}.json of {path} is not in AD-NeRF's format ({error!r}).") from error
        frames.sort(key=lambda frame: frame.number)
        numbers = [frame.number for frame in frames]
        if len(set(numbers)) < len(numbers):
            raise BadFolder(f"{path} has two frames with the same aud_id.", "Give each frame a different aud_id.")
        held_out = [frame.held_out for frame in frames]
        if not any(held_out) or all(held_out) or held_out != sorted(held_out):
            raise BadFolder(
                f"{path}: all frames of transforms_val.json must come after those of transforms_train.json.",
                "Split the frames by aud_id, with the last ones in transforms_val.json and at least one in each file.",
            )
        if focal <= 0:
            raise BadFolder(f"{path} has a focal length of {focal} px.", "Correct focal_len in the transforms.")
        return cls(path, focal, center, tuple(frames), export_info)

    def read_windows(self) -> Float[ndarray, "windows steps width"]:
        """Reads aud.npy. Raises BadFolder if it is missing, has another shape, or is too short for the frames."""
        path = self.path / "aud.npy"
        try:
            windows = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BadFolder(f"{path} is missing or damaged ({error}).") from error
        if windows.ndim != 3 or windows.shape[1] != LENGTH or not np.isfinite(windows).all():
            raise BadFolder(
                f"{path} has the shape {windows.shape}; it must be [windows, {LENGTH}, width] of finite numbers.",
                "Compute aud.npy again with AD-NeRF's preprocessing.",
            )
        if len(windows) <= self.frames[-1].number:
            raise BadFolder(
                f"{path} has {len(windows)} windows, but a frame has aud_id {self.frames[-1].number}.",
                "Compute aud.npy again from the whole audio, or remove the frames after its end from the transforms.",
            )
        return windows.astype(np.float32)

    def image_file(self, image: str) -> str:
        """Returns the file of a frame: the original in ori_imgs, or else the person over the clean plate in com_imgs."""
        original = f"ori_imgs/{image}.jpg"
        return original if (self.path / original).exists() else f"com_imgs/{image}.jpg"

    def read_image(self, file: str) -> UInt8[ndarray, "rows cols 3"]:
        """Reads an image of the folder as RGB. Raises BadFolder if it is missing or damaged."""
        try:
            return read_rgb(self.path / file)
        except NotReady as error:
            raise BadFolder(error.message) from error


def features_from_windows(windows: Float[ndarray, "windows window width"]) -> Float[ndarray, "steps width"]:
    """Restores the features that overlapping windows were cut from.

    Each window gives its two middle steps; the last one also gives the steps after them, unless they are all zero.

    Raises:
        BadFolder: two windows hold different values for the same step.
    """
    middle = LENGTH // 2
    steps = windows[:, middle : middle + STEPS_PER_FRAME].reshape(-1, windows.shape[2])
    rest = windows[-1, middle + STEPS_PER_FRAME :]
    features = np.concatenate([steps, rest]) if rest.any() else steps
    padded = np.pad(features, ((middle, LENGTH), (0, 0)))
    for i, window in enumerate(windows):
        if not np.array_equal(padded[STEPS_PER_FRAME * i :][:LENGTH], window):
            raise BadFolder(
                f"Window {i} of aud.npy does not overlap its neighbours as AD-NeRF writes them.", AUDIO_REMEDY
            )
    return features


def _read_json(path: Path) -> Any:
    try:
        return read_json(path)
    except NotReady as error:
        raise BadFolder(error.message) from error


def _parse_export_info(note: dict[str, Any] | None) -> ExportInfo | None:
    if note is None:
        return None
    features = note["features"]
    checked = {"name": str(features["name"]), "width": int(features["width"]), "rate": int(features["rate"])}
    return ExportInfo(checked, float(note["head_unit_m"]))


def _parse_frame(frame: dict[str, Any], held_out: bool) -> Frame:
    pose = np.array(frame["transform_matrix"], float)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise ValueError(f"transform_matrix of img_id {frame['img_id']} is not a finite 4x4 matrix")
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
        raise ValueError(f"transform_matrix of img_id {frame['img_id']} is not a rigid motion")
    return Frame(int(frame["aud_id"]), str(int(frame["img_id"])), pose, held_out)
