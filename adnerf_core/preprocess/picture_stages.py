"""The stages that separate the person from the background: parse, torso and plate."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import cv2
import numpy as np

from adnerf_core.config import FPS
from adnerf_core.files.images import read_gray, read_rgb, write_rgb
from adnerf_core.preprocess import background, footage_report, segmentation
from adnerf_core.preprocess.context import FRAMES_AHEAD, PreprocessContext, StageProgress
from adnerf_core.preprocess.covered import LowerFace, covered, fixed_share
from adnerf_core.preprocess.footage_report import LeftOut
from adnerf_core.preprocess.takes import Span
from adnerf_core.preprocess.torso_tracking import head_similarity, track_torso
from adnerf_core.preprocess.tracking_stages import require_time
from adnerf_core.threads import ahead

TORSO_MASK, TORSO_MARGIN = 200, 9
"""Mask value above which a pixel belongs to the torso for sure, and the size of the erosion, px, that keeps features away from
its outline, where the background would move with them."""

MIN_FACE_COVERAGE, MIN_AREA = 0.6, 0.4
"""Least coverage of the landmarks by the head's mask, and least area of the person over that of the median frame: below them the masks
show that nobody is there, or hardly anybody, whatever the tracker says."""

STILL_CAMERA = 0.004
"""Motion of the background, in widths of the picture, up to which the pictures of the plate need no alignment: 2 px at 512 px."""


def parse(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the masks of head and torso, and leaves out the frames in which nobody is seen or something is before the mouth."""
    arrays, takes = work.arrays(), work.takes()
    size, frames = work.facts()["size"], np.flatnonzero(arrays["valid"])
    shutil.rmtree(work.out / "masks", ignore_errors=True)  # a killed run leaves incomplete files
    lower_face = LowerFace(arrays["depose"][frames], arrays["pose"][frames], work.facts()["focal"], size)
    shares, seen, colors = [], [], []

    def pictures(numbers: list[int]) -> Iterator[np.ndarray]:
        for k in numbers:
            picture = read_rgb(work.frame(k))
            colors.append(lower_face.colors(picture, arrays["pose"][k]))
            yield picture

    for take in takes:
        numbers = _valid_in(take, arrays["valid"]).tolist()
        if not numbers:
            continue
        # One thread reads and segments, one refines the masks, and this one stores them.
        read = ahead(pictures(numbers), FRAMES_AHEAD)
        masks = ahead(segmentation.segment_frames(read, arrays["jaw"][numbers], numbers), FRAMES_AHEAD)
        with closing(read), closing(masks):
            for k, mask in zip(numbers, masks, strict=True):
                write_rgb(work.mask(k), mask)
                shares.append(cv2.mean(mask)[:2])
                x, y = arrays["landmarks"][k, :, :2].clip(0, size - 1).astype(int).T
                seen.append(mask[y, x, 0].mean() / 255)
                progress(len(shares), len(frames))
    area = np.sum(shares, axis=1)
    empty = (np.array(seen) < MIN_FACE_COVERAGE) | (area < MIN_AREA * np.median(area))
    shown = np.array(colors)[~empty]
    hidden = covered(shown[:, 0], frames[~empty], len(arrays["valid"]))
    work.leave_out(arrays, frames[empty], LeftOut.NO_FACE)
    work.leave_out(arrays, np.flatnonzero(hidden), LeftOut.HIDDEN)
    require_time(work, arrays["valid"], arrays["left_out"])
    work.store(arrays)
    work.remove_pictures(arrays["valid"])
    head_share, torso_share = np.mean(np.array(shares)[arrays["valid"][frames]], axis=0) / 255
    shares = {"head_share": head_share, "torso_share": torso_share, "fixed_share": fixed_share(shown)}
    return {name: round(float(share), 4) for name, share in shares.items()} | _used(arrays)


def _used(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    used = int(arrays["valid"].sum())
    return {"frames_with_face": used, "usable_s": used / FPS, "left_out": footage_report.left_out(arrays["left_out"])}


def torso(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Tracks the upper body against the frame in the middle of the longest take."""
    arrays = work.arrays()
    frames, reference = np.flatnonzero(arrays["valid"]).tolist(), _reference(work, arrays["valid"])
    count = len(arrays["valid"])
    mask = (read_rgb(work.mask(reference))[..., 1] > TORSO_MASK).astype(np.uint8)
    body = cv2.erode(mask, np.ones((TORSO_MARGIN, TORSO_MARGIN))) > 0
    guesses = {take: head_similarity(arrays["landmarks"], reference, take) for take in work.takes()}
    guesses[next(take for take in guesses if take.first <= reference < take.end)] = np.eye(2, 3)
    arrays["torso"] = track_torso(
        frames, count, reference, lambda k: read_gray(work.frame(k)), body, lambda k: progress(k, count), guesses
    )
    work.store(arrays)
    return {"torso_tracked": bool(arrays["torso"].any())}


def _reference(work: PreprocessContext, valid: np.ndarray) -> int:
    """The valid frame in the middle of the take with the most of them."""
    most = max((_valid_in(take, valid) for take in work.takes()), key=len)
    return int(most[len(most) // 2])


def _valid_in(take: Span, valid: np.ndarray) -> np.ndarray:
    return take.first + np.flatnonzero(valid[take.first : take.end])


def plate(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the clean plate: the background without the person, as the camera sees it in the reference frame."""
    valid, facts = work.arrays()["valid"], work.facts()
    reference, frames = _reference(work, valid), np.flatnonzero(valid)
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, background.PLATE_FRAMES).astype(int))].tolist()
    chosen = sorted({reference, *chosen}, key=lambda k: abs(k - reference))
    still = len(work.takes()) == 1 and facts["camera_shift"] <= STILL_CAMERA

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for n, k in enumerate(chosen):
            progress(n, len(chosen))
            mask = read_rgb(work.mask(k))
            yield read_rgb(work.frame(k)), np.maximum(mask[..., 0], mask[..., 1]) / np.float32(255)

    made, hole, moving = background.clean_plate(pairs(), align=not still)
    write_rgb(work.out / "background.png", made)
    progress(len(chosen), len(chosen))
    return {"hole_share": round(hole, 4), "moving_share": round(moving, 4)}
