"""A core for people who watch: next to no work, but footage, pictures and videos that a browser can show.

Footage and sounds may end in orders to the stub core behind it (tests/worker/stub_core.py): see `order`.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import write_json
from adnerf_core.files.stills import write_clip, write_thumbnail
from adnerf_core.speech.speak import SpokenPassage
from tests.worker import stub_core

MARK = b"\nORDERS"
FOOTAGE = stub_core.FOOTAGE | {
    "frames_with_face": 297,
    "face_px": 210.0,
    "head_yaw_deg": [-4.0, 11.0],
    "sharpness": 0.8,
    "warnings": ["The face is rather small: 250 px or more are best."],
}
SIZE = 96
FOOTAGE_S = 8
WALL = 37
"""Width of the wall on both sides of the face in a full frame, px: 170 by 96 px are 16:9."""


def order(footage: Path, **orders) -> Path:
    """Lets `footage` end in orders, which players ignore."""
    with footage.open("ab") as file:
        file.write(MARK + json.dumps(orders).encode())
    return footage


def ordered(footage: Path) -> dict:
    """The orders at the end of `footage`, if any."""
    _, mark, text = footage.read_bytes().rpartition(MARK)
    return json.loads(text) if mark else {}


def face(turn: float = 0.0, mouth: float = 0.2, size: int = SIZE) -> np.ndarray:
    """A drawn face, [size, size, 3] uint8 RGB; `turn` -1..1 to the right of the picture, `mouth` 0..1 open."""
    picture = np.full((size, size, 3), (46, 74, 98), np.uint8)
    at = size // 2

    def spot(x, y, a, b, color):
        cv2.ellipse(
            picture,
            (at + int(x * size), int(y * size)),
            (int(a * size), max(1, int(b * size))),
            0,
            0,
            360,
            color,
            -1,
            cv2.LINE_AA,
        )

    spot(0, 1.02, 0.42, 0.24, (58, 52, 66))
    spot(0, 0.48, 0.26, 0.34, (226, 178, 150))
    for eye in (-0.1, 0.1):
        spot(eye + 0.08 * turn, 0.42, 0.032, 0.022, (40, 32, 30))
    spot(0.1 * turn, 0.52, 0.02, 0.05, (206, 150, 126))
    spot(0.07 * turn, 0.66, 0.09, 0.02 + 0.05 * mouth, (140, 44, 56))
    return picture


def jpeg(path: Path, picture: np.ndarray) -> None:
    """Writes an RGB picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes())


def write_tone(path: Path, seconds: float) -> Path:
    """Writes a sound of `seconds`."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    ffmpeg.write_wav(path, (0.3 * np.sin(2 * np.pi * 220 * times)).astype(np.float32))
    return path


def write_footage(path: Path) -> Path:
    """Writes footage, as short as it may be."""
    sound = write_tone(path.with_suffix(".wav"), FOOTAGE_S)
    ffmpeg.write_video(path, (face(mouth=k % 5 / 5) for k in range(FOOTAGE_S * FPS)), fps=FPS, audio=sound)
    return path


def preprocess(video, out, config, progress, *, source_sha256=None):
    orders = ordered(video)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "footage.json", FOOTAGE)
    stub_core.work(orders, "track", progress)
    write_json(out / "dataset.json", orders.get("train", {}))


def train(dataset, run, config, progress):
    def seen(stage, done, total):
        progress(stage, done, total)
        jpeg(run.preview, face(mouth=done / total))

    stub_core.train(dataset, run, config, seen)


def views(run, progress, *, device):
    turns = (-1.0, -0.5, 0.0, 0.5, 1.0)
    faces = np.hstack([face(turn) for turn in turns])
    jpeg(
        run.views,
        np.vstack(
            [faces, np.where((faces == faces[0, 0]).all(-1, keepdims=True), 0, 255).repeat(3, -1).astype(np.uint8)]
        ),
    )
    progress("views", 1, 1)
    return {
        "columns": 5,
        "rows": 1,
        "yaw_deg": [-12.0, -6.0, 0.0, 7.0, 14.0],
        "pitch_deg": [0.0],
        "tile_px": SIZE,
        "masks": True,
    }


def still(run, options, *, background=None, device="cpu", load=stub_core.load, fonts=None):
    """A frame as `render` makes it, with a bar of the colour behind, by which tests know it."""
    full = options.frame != "portrait" and not options.portrait_only()
    wall = WALL if full else 0
    picture = np.pad(face(options.view.yaw_deg / 14, 0.0), ((0, 0), (wall, wall), (0, 0)), "edge")
    if options.background.kind == "color":
        picture[:8] = [int(options.background.color[i : i + 2], 16) for i in (1, 3, 5)]
    return cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()


def render(
    run,
    audio,
    out,
    options,
    progress,
    *,
    background=None,
    device="cpu",
    load=stub_core.load,
    mark=None,
    duration_s=None,
    watch=None,
    fonts=None,
):
    """As long as the sound, the mouth as wide open as it is loud; a full frame has walls beside the face."""
    if audio and (orders := ordered(audio)):
        stub_core.work(orders, "render", progress)
    pause = orders.get("frame_pause", 0) if audio else 0
    samples = ffmpeg.extract_audio(audio) if audio else np.zeros(round(duration_s * SAMPLE_RATE))
    count = max(1, round(len(samples) * FPS / SAMPLE_RATE))
    loud = [float(np.abs(piece).mean()) for piece in np.array_split(samples, count)]
    loudest = max(loud) or 1.0  # silence: the mouth stays shut
    turn = options.view.yaw_deg / 14
    full = options.frame != "portrait" and not options.portrait_only()
    wall = WALL if full else 0
    faces = (face(turn, level / loudest) for level in loud)
    frames = (time.sleep(pause) or np.pad(each, ((0, 0), (wall, wall), (0, 0)), "edge") for each in faces)
    ffmpeg.write_video(out, frames, fps=FPS, audio=audio, duration_s=count / FPS, watch=watch)
    progress("render", 1, 1)
    return SimpleNamespace(
        frame="full" if full else "portrait",
        frames=count,
        duration_s=count / FPS,
        width=SIZE + 2 * wall,
        height=SIZE,
        view=options.view,
    )


class Voices(stub_core.StubVoices):
    """A voice whose speech is a tone."""

    def speak(self, script, voice_id, out, *, speed=1.0, progress=stub_core.silent):
        ffmpeg.write_wav(out, 0.2 * np.sin(np.arange(2 * SAMPLE_RATE) / 8).astype(np.float32))
        return [SpokenPassage(0.0, 2.0, script)]


CORE = replace(
    stub_core.CORE,
    preprocess=preprocess,
    train=train,
    views=views,
    render=render,
    still=still,
    speech=Voices,
    thumbnail=write_thumbnail,
    clip=write_clip,
)
