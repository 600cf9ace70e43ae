"""The clip that all kinds of files are made from: drawn by the project, so that its pictures and sound are known exactly."""

from __future__ import annotations

import subprocess
import wave
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from adnerf_core.config import FPS
from adnerf_core.files.ffmpeg_choice import checked_ffmpeg
from demo.scene import Stage
from demo.speaker import ASTRONAUT, REFERENCE_TEXT, ROOM, perform
from demo.speech import speak

RATE = 48000
"""Sampling rate of the clip's sound, Hz: that of cameras."""
LEVEL = 0.25
"""Largest sample of the sound: loud channels can be added without clipping."""
MASTER = (
    "-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,format=yuv420p,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv",
    "-c:v", "libx264", "-preset", "ultrafast", "-crf", "6", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p",
    "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-c:a", "pcm_s16le",
)  # fmt: skip
"""Encoder options of the clip itself: BT.709, tagged as such."""


@dataclass(frozen=True)
class Clip:
    """The clip: a folder with base.mov (pictures and sound) and base.wav (sound), and what they show.

    Attributes:
        folder: where they are, and where files are made from them.
        frames: RGB pictures, [frames, edge, edge, 3] uint8, FPS a second.
        samples: sound, [samples] float32, RATE a second.
    """

    folder: Path
    frames: np.ndarray
    samples: np.ndarray

    @property
    def seconds(self) -> float:
        """The length, s."""
        return len(self.frames) / FPS


def run(folder: Path, *arguments: object) -> None:
    """Runs the packaged ffmpeg in `folder`, whichever is being tested."""
    command = [checked_ffmpeg(""), "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, cwd=folder)


def make_clip(folder: Path, frames: np.ndarray, samples: np.ndarray) -> Clip:
    """Writes a clip; `frames` and `samples` as in Clip."""
    samples = (samples * (LEVEL / np.abs(samples).max())).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    with wave.open(str(folder / "base.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", None))
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    (folder / "raw.rgb").write_bytes(frames.tobytes())
    pictures = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", FPS, "-i", "raw.rgb")
    run(folder, *pictures, "-i", "base.wav", *MASTER, "base.mov")
    (folder / "raw.rgb").unlink()
    return Clip(folder, frames, samples)


def draw_clip(folder: Path, seconds: int, edge: int = 256) -> Clip:
    """Draws and writes a clip of the demo's speaker, `seconds` long, pictures of `edge` px."""
    speech = speak(REFERENCE_TEXT, voice=ASTRONAUT.voice, pitch=ASTRONAUT.pitch)
    count = seconds * FPS
    truth = perform(speech, seed=0)
    stage = Stage(ASTRONAUT, ROOM, count, 0)
    drawn = (stage.draw(k, shape) for k, shape in zip(range(count), truth.shapes(), strict=False))
    side = min(ROOM.width, ROOM.height)
    frames = np.stack([cv2.resize(f[:side, :side], (edge, edge), interpolation=cv2.INTER_AREA) for f in drawn])
    times = np.arange(seconds * RATE) / RATE
    samples = np.interp(times, np.arange(len(speech.samples)) / speech.rate, speech.samples)
    return make_clip(folder, frames, samples)
