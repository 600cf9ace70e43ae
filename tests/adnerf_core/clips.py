"""Small synthetic clips for the preprocessing tests: a still portrait that sways and moves its mouth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from skimage.data import astronaut

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.files import ffmpeg

MOUTH = (219, 146)
"""Between the lips in the astronaut's portrait, px."""


def portrait(edge: int = 256) -> np.ndarray:
    """Returns the astronaut's head and shoulders as a square picture; the face takes 35 % of its height."""
    return cv2.resize(astronaut()[0:320, 62:382], (edge, edge), interpolation=cv2.INTER_AREA)


def syllables(frames: int, seed: int = 0) -> np.ndarray:
    """Returns an opening of the mouth per frame, 0..1, that varies irregularly as in speech."""
    rng = np.random.default_rng(seed)
    opening, k = np.zeros(frames + 40), 0
    while k < frames:
        length = int(rng.integers(4, 9))
        opening[k : k + length] = rng.uniform(0.3, 1.0) * np.sin(np.pi * np.arange(length) / length)
        k += length + int(rng.choice([0, 1, 12], p=[0.5, 0.35, 0.15]))
    return opening[:frames]


def voice(opening: np.ndarray, late_s: float = 0.0) -> np.ndarray:
    """Returns noise that is as loud as the mouth was open `late_s` before."""
    samples = np.arange(len(opening) * SAMPLE_RATE // FPS)
    loud = np.interp(samples / SAMPLE_RATE - late_s, np.arange(len(opening)) / FPS, opening, left=0)
    return (0.2 * loud * np.random.default_rng(1).standard_normal(len(samples))).astype(np.float32)


def speaker(opening: np.ndarray, edge: int = 256) -> Iterator[np.ndarray]:
    """Yields the speaking portrait: chin and lower lip move down from a dark gap, and the head sways a little."""
    picture = portrait(edge)
    unit = edge / 320  # px of the portrait's own
    mouth = ((np.array(MOUTH) - (62, 0)) * unit).tolist()
    y, x = np.mgrid[0:edge, 0:edge].astype(np.float32)
    across = np.exp(-0.5 * ((x - mouth[0]) / (10 * unit)) ** 2)
    below = y - mouth[1]
    near = np.exp(-0.5 * (((x / unit - 160) / 94) ** 4 + ((y / unit - 119) / 106) ** 4))
    for k, wide in enumerate(opening.tolist()):
        gap = 14 * unit * wide * across
        source = np.where(below > 0, y - gap * np.exp(-np.maximum(below - gap, 0) / (38 * unit)), y)
        talking = cv2.remap(picture, x, source, cv2.INTER_LINEAR)
        inside = (np.clip(np.minimum(below, gap - below) / unit, 0, 1) * (gap > unit))[..., None]
        talking = np.rint(talking * (1 - inside) + np.array([60, 20, 20]) * inside).astype(np.uint8)
        dx, dy = 3 * unit * math.sin(k / 9) * near, 2 * unit * math.sin(k / 13) * near
        yield cv2.remap(talking, x - dx, y - dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def write(path: Path, frames, sound: np.ndarray | None) -> Path:
    """Writes a clip, with `sound` (samples) if given, and returns its path."""
    audio = None
    if sound is not None:
        audio = path.with_suffix(".wav")
        ffmpeg.write_wav(audio, sound, SAMPLE_RATE)
    ffmpeg.write_video(path, frames, audio=audio)
    return path
