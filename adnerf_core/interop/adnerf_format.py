"""The folder that AD-NeRF's preprocessing publishes, and what its parts mean in a dataset of ours.

    transforms_train.json, transforms_val.json
                       focal_len, cx, cy (px) and frames [{img_id, aud_id, transform_matrix, face_rect}]: camera-to-world, the
                       world is the head's frame in metres, cameras look down -z; face_rect is [x, y, width, height], px
    aud.npy            [windows, 16, width]: window i covers steps 2i - 8 .. 2i + 7 of features, 50 a second, zeros outside
    ori_imgs/<i>.jpg   frames as they are, and <i>.lms: 68 landmarks, "x y" a line
    com_imgs, head_imgs   the person, and the head alone, before the plate
    parsing/<i>.png    what each pixel shows, by the colours below
    bc.jpg             the plate
    aud.wav            the sound, 16 kHz mono

`aud_id` counts moments of the sound, 25 a second, so it is the number of the frame in time; `img_id` names its files.
A folder that we wrote says so in the transforms (`adnerf`), with the name of the features and the head unit in metres: read
back, its poses and sound are what they were. Elsewhere the features are DeepSpeech's, and the head's frame is found anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from adnerf_core.audio.windows import LENGTH, STEPS_PER_FRAME
from adnerf_core.errors import BadFolder, NotReady
from adnerf_core.files.run_dir import read_json

HEAD, NECK, CLOTH, BACKGROUND = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
"""Colours of parsing/*.png, in OpenCV's order (blue, green, red)."""
SPLITS = ("train", "val")

LANDMARKS_68 = (
    127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""The face-mesh landmark next to each of the 68: jaw, brows, nose, eyes, outer and inner lips."""


@dataclass(frozen=True)
class Frame:
    """One frame of a folder."""

    number: int
    """In time, 25 a second (aud_id)."""
    image: str
    """Names its files (img_id)."""
    pose: Float[ndarray, "4 4"]
    held_out: bool


@dataclass(frozen=True)
class ExportInfo:
    """What a folder tells that export_adnerf wrote."""

    features: dict[str, Any]
    """name, width, rate: as in a dataset's manifest."""
    head_unit_m: float


@dataclass(frozen=True)
class AdNerfFolder:
    """The transforms of a folder, both parts as one, in the order of time."""

    folder: Path
    focal: float
    center: tuple[float, float]
    entries: tuple[Frame, ...]
    own: ExportInfo | None

    @classmethod
    def read(cls, folder: Path) -> AdNerfFolder:
        """Reads and checks the transforms. Raises BadFolder."""
        entries: list[Frame] = []
        for split in SPLITS:
            transforms = _read(folder / f"transforms_{split}.json")
            try:
                focal = float(transforms["focal_len"])
                center = (float(transforms["cx"]), float(transforms["cy"]))
                entries += [_entry(frame, split == "val") for frame in transforms["frames"]]
                own = _own(transforms.get("adnerf"))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise BadFolder(f"transforms_{split}.json of {folder} is not as published ({error!r}).") from error
        entries.sort(key=lambda entry: entry.number)
        numbers = [entry.number for entry in entries]
        if len(set(numbers)) < len(numbers):
            raise BadFolder(f"{folder} has two frames with one aud_id.")
        held_out = [entry.held_out for entry in entries]
        if not any(held_out) or all(held_out) or held_out != sorted(held_out):
            raise BadFolder(
                f"{folder}: all frames of transforms_val.json must come after those of transforms_train.json."
            )
        if focal <= 0:
            raise BadFolder(f"{folder} has a focal length of {focal} px.")
        return cls(folder, focal, center, tuple(entries), own)

    def windows(self) -> Float[ndarray, "windows steps width"]:
        """aud.npy. Raises BadFolder where it is missing, of another form, or too short for the frames."""
        path = self.folder / "aud.npy"
        try:
            windows = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BadFolder(f"{path} is missing or damaged ({error}).") from error
        if windows.ndim != 3 or windows.shape[1] != LENGTH or not np.isfinite(windows).all():
            raise BadFolder(f"{path} has the shape {windows.shape}; [windows, {LENGTH}, width] is needed, all finite.")
        if len(windows) <= self.entries[-1].number:
            raise BadFolder(f"{path} has {len(windows)} windows, but a frame has aud_id {self.entries[-1].number}.")
        return windows.astype(np.float32)

    def frame(self, image: str) -> str:
        """The place of a frame as it was, or of the person before the plate where that alone was kept."""
        own = f"ori_imgs/{image}.jpg"
        return own if (self.folder / own).exists() else f"com_imgs/{image}.jpg"

    def picture(self, place: str) -> UInt8[ndarray, "rows cols 3"]:
        """A picture of the folder, in OpenCV's order of colours. Raises BadFolder where it is missing or damaged."""
        picture = cv2.imread(str(self.folder / place), cv2.IMREAD_COLOR)
        if picture is None:
            raise BadFolder(f"{self.folder / place} is missing or damaged.")
        return picture


def features_of(windows: Float[ndarray, "windows window width"]) -> Float[ndarray, "steps width"]:
    """The features that overlapping `windows` were cut from: each gives its two middle steps, the last one its end too.

    Raises BadFolder where windows disagree about the steps they share.
    """
    middle = LENGTH // 2
    steps = windows[:, middle : middle + STEPS_PER_FRAME].reshape(-1, windows.shape[2])
    rest = windows[-1, middle + STEPS_PER_FRAME :]
    features = np.concatenate([steps, rest]) if rest.any() else steps
    padded = np.pad(features, ((middle, LENGTH), (0, 0)))
    for i, window in enumerate(windows):
        if not np.array_equal(padded[STEPS_PER_FRAME * i :][:LENGTH], window):
            raise BadFolder(f"Window {i} of aud.npy is not cut as published: steps {2 * i - 8} to {2 * i + 7}.")
    return features


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except NotReady as error:
        raise BadFolder(error.message) from error


def _own(told: dict[str, Any] | None) -> ExportInfo | None:
    if told is None:
        return None
    features = told["features"]
    named = {"name": str(features["name"]), "width": int(features["width"]), "rate": int(features["rate"])}
    return ExportInfo(named, float(told["head_unit_m"]))


def _entry(frame: dict[str, Any], held_out: bool) -> Frame:
    pose = np.array(frame["transform_matrix"], float)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise ValueError(f"transform_matrix of img_id {frame['img_id']} is no finite 4x4 matrix")
    turn = pose[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > 1e-3 or np.linalg.det(turn) < 0:
        raise ValueError(f"transform_matrix of img_id {frame['img_id']} is no rigid motion")
    return Frame(int(frame["aud_id"]), str(int(frame["img_id"])), pose, held_out)
