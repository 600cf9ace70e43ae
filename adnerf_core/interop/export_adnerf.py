"""export_adnerf: a dataset of ours in the layout that AD-NeRF's own tools read."""

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
    """Writes `dataset` to the folder `out` as described in layout.py: frames with a face, the transforms last.

    Masks become hard, and the torso is all cloth, since a dataset does not tell the neck from it. The windows of aud.npy are
    of the dataset's own features. Stage of progress: "export". Raises NotReady where a picture is missing, DiskFull.
    """
    track = dataset.track()
    plate = dataset.background(dataset.size)[..., ::-1]
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "bc.jpg", plate)
    shutil.copyfile(dataset.audio, out / "aud.wav")
    features = torch.from_numpy(dataset.features())
    with atomic(out / "aud.npy") as temporary:
        np.save(temporary, windows(features, torch.arange(dataset.frames)).numpy())
    valid = np.flatnonzero(track.valid).tolist()
    entries = []
    for n, k in enumerate(valid):
        progress("export", n, len(valid))
        points = track.landmarks[k, :, :2]
        write_frame(dataset, k, plate, points, out)
        pose = track.pose[k].astype(float)
        pose[:3, 3] *= INTEROCULAR_M
        rect = list(face_rect(points, dataset.size))
        entries.append({"img_id": k, "aud_id": k, "transform_matrix": pose.tolist(), "face_rect": rect})
    camera = dataset.camera
    common = {
        "focal_len": camera.focal,
        "cx": camera.center[0],
        "cy": camera.center[1],
        "adnerf": {"features": dataset.manifest["features"], "head_unit_m": INTEROCULAR_M},
    }
    for split in adnerf_format.SPLITS:
        chosen = [entry for entry in entries if (entry["aud_id"] >= dataset.held_out_from) == (split == "val")]
        write_json(out / f"transforms_{split}.json", common | {"frames": chosen})
    progress("export", len(valid), len(valid))
    return out


def write_frame(
    dataset: SubjectDataset,
    k: int,
    plate: UInt8[ndarray, "size size 3"],
    points: Float[ndarray, "478 2"],
    out: Path,
) -> None:
    """All files of frame `k`; `plate` in OpenCV's order of colours, `points` (x, y) in px."""
    picture = dataset.picture(k, dataset.size)[..., ::-1]
    mask = dataset.mask(k, dataset.size).astype(np.float32) / 255
    (out / "ori_imgs").mkdir(exist_ok=True)
    shutil.copyfile(dataset.root / "frames" / f"{k:06d}.jpg", out / "ori_imgs" / f"{k}.jpg")
    np.savetxt(out / "ori_imgs" / f"{k}.lms", points[list(adnerf_format.LANDMARKS_68)], fmt="%.4f")
    for name, cover in (("head_imgs", mask[..., :1]), ("com_imgs", mask.sum(-1, keepdims=True).clip(0, 1))):
        shown = cover * picture + (1 - cover) * plate
        _write(out / name / f"{k}.jpg", np.rint(shown).astype(np.uint8))
    kinds = np.dstack([mask, 1 - mask.sum(-1)]).argmax(-1)
    colors = np.array([adnerf_format.HEAD, adnerf_format.CLOTH, adnerf_format.BACKGROUND], np.uint8)
    _write(out / "parsing" / f"{k}.png", colors[kinds])


def _write(path: Path, picture: UInt8[ndarray, "rows cols 3"]) -> None:
    write_rgb(path, picture[..., ::-1], quality=TRAINING_QUALITY, full_chroma=True)
