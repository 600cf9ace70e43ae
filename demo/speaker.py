"""The synthetic speaker: the portrait, moved as a person moves who talks, with speech that was made on the spot."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adnerf_core.config import FPS
from adnerf_core.files.ffmpeg import write_video, write_wav
from demo.lips import mouth_track
from demo.portrait import Puppet, Shape
from demo.speech import Speech, speak

REFERENCE_TEXT = (
    "Good morning from the launch site. Before a long flight I like to walk around the ship and look at every part of it. "
    "Four people will go up with me, and we have practised for about two years. "
    "We move the arm, we fix the pumps, and we photograph the oceans. "
    "Above all we will bring home samples, so that everybody may share them."
)
"""What the speaker says in the reference video: about 20 s, with every lip shape of English."""

WIDEST = 0.2
"""Gap between the lips on an open vowel, in distances of the outer corners of the eyes."""


class Truth(NamedTuple):
    """What the speaker really did, for tests: [frames] each, in the terms of Shape."""

    opening: np.ndarray
    rounding: np.ndarray
    eyes: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    x: np.ndarray
    y: np.ndarray
    sway: np.ndarray
    rise: np.ndarray


def make_speaker(
    out: Path,
    *,
    speech: Speech | None = None,
    size: int = 512,
    seed: int = 0,
    seconds: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Truth:
    """Writes an MP4 of the synthetic speaker saying `speech` (default: REFERENCE_TEXT), `size` px square, 25 fps.

    `seconds` cuts it short. `progress` is told the frames done and their number. The same `seed` gives the same movement.
    """
    speech = speech or speak(REFERENCE_TEXT)
    if seconds is not None:
        speech = speech._replace(samples=speech.samples[: round(seconds * speech.rate)])
    truth = perform(speech, seed)
    puppet = Puppet(size)
    total = len(truth.opening)

    def frames():
        for done, shape in enumerate(zip(*truth, strict=True), 1):
            yield puppet(Shape(*shape))
            progress(done, total)

    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "speech.wav"
        write_wav(sound, speech.samples, speech.rate)
        write_video(out, frames(), audio=sound)
    return truth


def perform(speech: Speech, seed: int) -> Truth:
    """What the speaker does while it says `speech`: a Shape for every frame."""
    random = np.random.default_rng(seed)
    count = max(1, round(speech.seconds * FPS))
    opening, rounding = mouth_track(speech.phonemes, np.arange(count) / FPS)
    return Truth(
        opening=WIDEST * opening,
        rounding=0.3 + 0.7 * rounding,  # the portrait's smile, less wide
        eyes=1 - blinks(random, count),
        yaw=drift(random, count, 5.0),
        pitch=drift(random, count, 2.6) - 1.0,
        roll=drift(random, count, 2.0),
        x=drift(random, count, 0.025),
        y=drift(random, count, 0.015),
        sway=drift(random, count, 0.03, fastest=0.3),
        rise=drift(random, count, 0.008, fastest=0.3),
    )


def drift(random: np.random.Generator, count: int, spread: float, fastest: float = 0.7) -> np.ndarray:
    """Restless movement about zero, [count]: noise between 0.06 Hz and `fastest`, of standard deviation `spread`."""
    long = count + 40 * FPS  # a part of something longer, so that short clips move too
    frequency = np.fft.rfftfreq(long, 1 / FPS)
    spectrum = random.normal(size=len(frequency)) + 1j * random.normal(size=len(frequency))
    spectrum *= (frequency > 0.06) / (1 + (frequency / (0.6 * fastest)) ** 4) * (frequency < 2 * fastest)
    wave = np.fft.irfft(spectrum, long)[20 * FPS :][:count]
    wave = (wave - wave.mean()) / (wave.std() or 1.0)
    return spread * 2.2 * np.tanh(wave / 2.2)


def blinks(random: np.random.Generator, count: int) -> np.ndarray:
    """How far the lids are down, 0..1, [count]: a blink every two to five seconds, quick down and slower up."""
    blink = np.array([0.35, 0.9, 1.0, 0.75, 0.4, 0.15])
    shut = np.zeros(count + 6 * FPS)
    at = random.uniform(0.8, 2.0)
    while at * FPS < count:
        start = round(at * FPS)
        shut[start : start + len(blink)] = blink
        at += random.uniform(2.0, 5.0)
    return shut[:count]
