"""The synthetic speaker: a painted person who talks in a room, with synthesised speech."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adnerf_core.config import FPS
from adnerf_core.files.ffmpeg import write_video, write_wav
from demo.lips import mouth_track
from demo.looks import Speaker
from demo.motion import blinks, drift
from demo.portrait import Shape
from demo.scene import Scene, Stage
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

ASTRONAUT, ROOM = Speaker(), Scene()
"""The speaker of the demo, and her room."""


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

    def shapes(self) -> Iterator[Shape]:
        """Yields the Shape of each frame."""
        return (Shape(*values) for values in zip(*self, strict=True))


def make_speaker(
    out: Path,
    *,
    speaker: Speaker = ASTRONAUT,
    scene: Scene = ROOM,
    speech: Speech | None = None,
    seed: int = 0,
    seconds: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Truth:
    """Writes an MP4 of a synthetic speaker, at 25 frames per second.

    Args:
        out: the video file.
        speaker: who speaks.
        scene: where, and how it is filmed.
        speech: what the speaker says; REFERENCE_TEXT by default.
        seed: of all movement; the same seed gives the same movement.
        seconds: if given, the video is cut to this length.
        progress: called with the number of frames done and of all frames.

    Returns:
        The true movement.
    """
    speech = speech or speak(REFERENCE_TEXT, voice=speaker.voice, pitch=speaker.pitch)
    if seconds is not None:
        speech = speech._replace(samples=speech.samples[: round(seconds * speech.rate)])
    truth = perform(speech, seed, scene.turn)
    stage = Stage(speaker, scene, len(truth.opening), seed)
    film(out, stage, truth, speech, progress)
    return truth


def film(
    out: Path,
    stage: Stage,
    truth: Truth,
    speech: Speech,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes the video of a stage on which `truth` is performed, with the sound of `speech`."""

    def frames() -> Iterator[np.ndarray]:
        for k, shape in enumerate(truth.shapes()):
            yield stage.draw(k, shape)
            progress(k + 1, stage.frames)

    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "speech.wav"
        write_wav(sound, speech.samples, speech.rate)
        write_video(out, frames(), audio=sound)


def perform(speech: Speech, seed: int, turn: float = 1.0) -> Truth:
    """Returns the speaker's movement while it says `speech`, for every frame.

    Args:
        speech: what is said.
        seed: of the movement.
        turn: range of the yaw, over the usual one, whose standard deviation is 5 degrees.
    """
    random = np.random.default_rng(seed)
    count = max(1, round(speech.seconds * FPS))
    opening, rounding = mouth_track(speech.phonemes, np.arange(count) / FPS)
    return Truth(
        opening=WIDEST * opening,
        rounding=0.3 + 0.7 * rounding,  # the portrait's smile, less wide
        eyes=1 - blinks(random, count),
        yaw=drift(random, count, 5.0 * turn),
        pitch=drift(random, count, 2.6) - 1.0,
        roll=drift(random, count, 2.0),
        x=drift(random, count, 0.025),
        y=drift(random, count, 0.015),
        sway=drift(random, count, 0.03, fastest=0.3),
        rise=drift(random, count, 0.008, fastest=0.3),
    )
