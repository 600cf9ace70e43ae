"""The synthetic speaker: a portrait that is animated like a person who talks, with synthesised speech."""

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
"""The text of the reference video: about 20 s of speech, with every lip shape of English."""

WIDEST = 0.2
"""Gap between the lips on an open vowel, in distances of the outer eye corners: about 2 cm, as people speak."""

LOWEST_HZ = 0.06
"""Lowest frequency of the head's movement, Hz: slower movement would be a change of posture."""


class Truth(NamedTuple):
    """The speaker's true movement, for tests: the fields of Shape, [frames] each."""

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
    """Writes an MP4 of the synthetic speaker, at 25 frames per second.

    Args:
        out: the video file.
        speech: what the speaker says; REFERENCE_TEXT by default.
        size: width and height, px.
        seed: of the head's movement; the same seed gives the same movement.
        seconds: if given, the video is cut to this length.
        progress: called with the number of frames done and of all frames.

    Returns:
        The true movement.
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
    """Returns the speaker's movement while it says `speech`, for every frame; see make_speaker() for `seed`."""
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
    """Returns random movement about zero, [count], with frequencies from LOWEST_HZ to about `fastest`, Hz.

    Its standard deviation is close to `spread`; tanh limits it to 2.2 times that.
    """
    long = count + 40 * FPS  # a part of a longer movement, so that short clips move too
    frequency = np.fft.rfftfreq(long, 1 / FPS)
    spectrum = random.normal(size=len(frequency)) + 1j * random.normal(size=len(frequency))
    spectrum *= (frequency > LOWEST_HZ) / (1 + (frequency / (0.6 * fastest)) ** 4) * (frequency < 2 * fastest)
    wave = np.fft.irfft(spectrum, long)[20 * FPS :][:count]
    wave = (wave - wave.mean()) / (wave.std() or 1.0)
    return spread * 2.2 * np.tanh(wave / 2.2)


def blinks(random: np.random.Generator, count: int) -> np.ndarray:
    """Returns how far the lids are down, 0..1, [count]: a blink every two to five seconds, which closes faster than it opens."""
    blink = np.array([0.35, 0.9, 1.0, 0.75, 0.4, 0.15])
    shut = np.zeros(count + 6 * FPS)
    at = random.uniform(0.8, 2.0)
    while at * FPS < count:
        start = round(at * FPS)
        shut[start : start + len(blink)] = blink
        at += random.uniform(2.0, 5.0)
    return shut[:count]
