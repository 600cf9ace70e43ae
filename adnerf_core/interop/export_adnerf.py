"""Exports a dataset as a folder that AD-NeRF's own tools read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from adnerf_core.audio.windows import windows
from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.face.face_boxes import face_rect
from adnerf_core.files.images import TRAINING_QUALITY, write_rgb
from adnerf_core.files.run_dir import atomic, write_json
from adnerf_core.interop import adnerf_format
from adnerf_core.models.adnerf import INTEROCULAR_M
from adnerf_core.progress import Progress, silent


def export_adnerf(dataset: SubjectDataset, out: Path, progress: Progress = silent) -> Path:
    """Writes the frames of a dataset that have a face to a folder (see adnerf_format).

    Two things are lost: the soft edges of masks, and the neck, which counts as cloth because datasets do not distinguish it from the
    torso. The windows of aud.npy are of the dataset's own features.

    Args:
        dataset: the dataset.
        out: the folder; the transforms are written last.
        progress: called with the stage "export".

    Returns:
        The folder.

    Raises:
        NotReady: a file of the dataset is missing.
        DiskFull: no space is left.
    """
    track = dataset.track()
    plate = dataset.background(dataset.size)
    out.mkdir(parents=True, exist_ok=True)
    _write_image(out / "bc.jpg", plate)
    shutil.copyfile(dataset.audio, out / "aud.wav")
    features = torch.from_numpy(dataset.features())
    with atomic(out / "aud.npy") as temporary:
        np.save(temporary, windows(features, torch.arange(dataset.frames)).numpy())
    valid = np.flatnonzero(track.valid).tolist()
    frames = []
    for done, k in enumerate(valid):
        progress("export", done, len(valid))
        points = track.landmarks[k, :, :2]
        write_frame(dataset, k, plate, points, out)
        pose = track.pose[k].astype(float)
        pose[:3, 3] *= INTEROCULAR_M
        rect = list(face_rect(points, dataset.size))
        frames.append({"img_id": k, "aud_id": k, "transform_matrix": pose.tolist(), "face_rect": rect})
    camera = dataset.camera
    common = {
        "focal_len": camera.focal,
        "cx": camera.center[0],
        "cy": camera.center[1],
        "adnerf": {"features": dataset.manifest["features"], "head_unit_m": INTEROCULAR_M},
    }
    for split in adnerf_format.SPLITS:
        part = [frame for frame in frames if (frame["aud_id"] >= dataset.held_out_from) == (split == "val")]
        write_json(out / f"transforms_{split}.json", common | {"frames": part})
    progress("export", len(valid), len(valid))
    return out


def write_frame(
    dataset: SubjectDataset,
    k: int,
    plate: UInt8[ndarray, "size size 3"],
    points: Float[ndarray, "478 2"],
    out: Path,
) -> None:
    """Writes all files of one frame.

    Args:
        dataset: the dataset.
        k: number of the frame.
        plate: the clean plate, RGB.
        points: landmarks (x, y) of the frame, px.
        out: the folder.
    """
    picture = dataset.picture(k, dataset.size)
    mask = dataset.mask(k, dataset.size).astype(np.float32) / 255
    (out / "ori_imgs").mkdir(exist_ok=True)
    shutil.copyfile(dataset.root / "frames" / f"{k:06d}.jpg", out / "ori_imgs" / f"{k}.jpg")
    np.savetxt(out / "ori_imgs" / f"{k}.lms", points[list(adnerf_format.LANDMARKS_68)], fmt="%.4f")
    for name, alpha in (("head_imgs", mask[..., :1]), ("com_imgs", mask.sum(-1, keepdims=True).clip(0, 1))):
        composited = alpha * picture + (1 - alpha) * plate
        _write_image(out / name / f"{k}.jpg", np.rint(composited).astype(np.uint8))
    labels = np.dstack([mask, 1 - mask.sum(-1)]).argmax(-1)
    colors = np.array([adnerf_format.HEAD, adnerf_format.CLOTH, adnerf_format.BACKGROUND], np.uint8)
    _write_image(out / "parsing" / f"{k}.png", colors[labels])


def _write_image(path: Path, image: UInt8[ndarray, "rows cols 3"]) -> None:
    write_rgb(path, image, quality=TRAINING_QUALITY, full_chroma=True)
