"""Interlaced pictures that no header tells: found, and made whole; and stripes that are none, whatever the header says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from adnerf_core.config import FPS
from adnerf_core.files import ffmpeg
from adnerf_core.files.interlacing import PROGRESSIVE
from benchmarks.media.base import run
from benchmarks.media.compare import comb
from tests.adnerf_core import clips

EDGE = 480


def moving(times: np.ndarray, stripes: int = 0) -> Iterator[np.ndarray]:
    """The portrait, with `stripes` rows in a stripe of the clothes if given, as it sways at some times, in fields (50 a second)."""
    picture = clips.portrait(EDGE)
    if stripes:
        picture[-180:] = picture[-180:] // 2 + 90 * (np.arange(180)[:, None, None] // stripes % 2).astype(np.uint8)
    for t in times:
        shift = np.array([[1, 0, 14 * math.sin(t / 11)], [0, 1, 3 * math.sin(t / 17)]])
        yield cv2.warpAffine(picture, shift, (EDGE, EDGE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def write(folder: Path, pictures: list[np.ndarray], *options: str) -> Path:
    (folder / "raw").write_bytes(np.stack(pictures).tobytes())
    raw = f"-f rawvideo -pix_fmt rgb24 -s {EDGE}x{EDGE} -r {FPS} -i raw"
    run(
        folder,
        *raw.split(),
        *["-c:v", "libx264", "-preset", "ultrafast", "-crf", "16", "-pix_fmt", "yuv420p", *options, "film.mp4"],
    )
    return folder / "film.mp4"


@pytest.mark.parametrize(
    ("order", "first", "codec"), [("tff", 0, ()), ("bff", 1, ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj422p"))]
)
def test_fields_are_found_and_made_whole(tmp_path, order, first, codec):
    fields = list(moving(np.arange(3 * FPS)))
    whole, woven = fields[::2], [picture.copy() for picture in fields[::2]]
    for early, late in zip(woven, fields[1::2], strict=False):
        early[1 - first :: 2] = late[1 - first :: 2]
    info = ffmpeg.probe(write(tmp_path, woven, *codec), look=True)
    assert info.interlaced and info.fields == order and "deinterlaced" in " ".join(info.notes)
    read = np.stack(list(ffmpeg.read_frames(tmp_path / "film.mp4", info=info)))
    assert comb(read) < 1.3 * comb(np.stack(whole)) < 0.5 * comb(np.stack(woven))
    assert np.abs(read[5:-5].astype(int) - np.stack(whole)[5 : len(read) - 5]).mean() < 4


@pytest.mark.parametrize("stripes", [0, 1, 2, 3])
def test_stripes_are_no_fields(tmp_path, stripes):
    info = ffmpeg.probe(write(tmp_path, list(moving(np.arange(2 * FPS), stripes))), look=True)
    assert not info.interlaced and info.fields in ("", PROGRESSIVE) and not info.notes


def test_progressive_pictures_are_kept_though_the_header_calls_them_interlaced(tmp_path):
    drawn = list(moving(np.arange(2 * FPS)))
    path = write(tmp_path, drawn, "-flags", "+ilme+ildct", "-x264opts", "tff=1")
    told, seen = ffmpeg.probe(path), ffmpeg.probe(path, look=True)
    assert told.interlaced and told.notes
    assert not seen.interlaced and seen.fields == PROGRESSIVE and not seen.notes
    errors = [
        np.abs(np.stack(list(ffmpeg.read_frames(path, info=info))).astype(int) - np.stack(drawn)).mean()
        for info in (told, seen)
    ]
    assert errors[1] < 0.9 * errors[0]
