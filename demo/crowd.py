"""A crowd of drawn clips: random people in random rooms, each as usable as the next, by which false refusals and warnings are counted."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from demo.family import TEXTS, Clip
from demo.looks import Speaker
from demo.scene import Scene

T = TypeVar("T")

SKINS = (
    (236, 196, 174),
    (226, 182, 158),
    (218, 172, 148),
    (206, 156, 122),
    (186, 136, 104),
    (160, 114, 86),
    (142, 98, 74),
    (120, 80, 60),
    (98, 66, 50),
)
"""Skin, RGB, from light to dark, in even steps of lightness."""

HAIRS = ((40, 33, 30), (74, 50, 36), (112, 62, 40), (150, 116, 76), (196, 168, 122), (140, 137, 132), (214, 212, 208))
"""Hair, RGB."""

VOICES = ("en-us+f2", "en-us+f3", "en-us+f5", "en-us+m1", "en-us+m3", "en-us+m7", "en-gb-x-rp+f1", "en-gb-x-rp+m1")
"""Voices of espeak-ng."""

FRAMES = ((640, 360), (960, 540), (1280, 720), (540, 960), (640, 640))
"""Widths and heights of the frames, px."""

CAMERAS = ("still", "still", "still", "still", "handheld", "pan", "zoom")
"""Motion of the camera; most cameras are still."""

DESK_CLOSENESS = 0.65
"""Closeness below which the lower end of the painted body would be in the frame: a desk hides it."""

SHARES = {"beard": 0.2, "glasses": 0.3, "hat": 0.15, "screen": 0.1}
"""How often each is drawn."""


def crowd(count: int, seed: int = 0) -> list[Clip]:
    """Returns random clips; the first of a longer crowd are those of a shorter one.

    Every person looks into the camera, fills an ordinary part of the frame and is lit well enough: somebody would call all of
    them usable.

    Args:
        count: number of clips.
        seed: of all choices.
    """
    return [_somebody(k, np.random.default_rng((seed, k))) for k in range(count)]


def _somebody(number: int, random: np.random.Generator) -> Clip:
    width, height = _choose(random, FRAMES)
    # A portrait format shows more of the body: the head would be wider than the frame.
    closeness = random.uniform(0.45, 1.05) * min(1.0, 1.2 * width / height)
    scene = Scene(
        width,
        height,
        closeness=closeness,
        eyes=(random.uniform(0.42, 0.58), random.uniform(0.36, 0.44)),
        room=int(random.integers(0, 1000)),
        desk=closeness < DESK_CLOSENESS,
        screen=random.random() < SHARES["screen"],
        camera=_choose(random, CAMERAS),
        turn=random.uniform(0.5, 1.6),
        grain=max(0.0, random.uniform(-2, 4)),
        light=random.uniform(0.5, 1.1),
    )
    speaker = Speaker(
        skin=_choose(random, SKINS),
        hair=_choose(random, HAIRS),
        cut=_choose(random, ("own", "short", "long")),
        glasses=random.random() < SHARES["glasses"],
        hat=_color(random) if random.random() < SHARES["hat"] else None,
        clothes=_color(random),
        jaw=random.uniform(0.9, 1.12),
        nose=random.uniform(0.92, 1.2),
        eyes=random.uniform(0.92, 1.08),
        lips=random.uniform(0.92, 1.22),
        voice=_choose(random, VOICES),
        pitch=int(random.integers(32, 60)),
    )
    if random.random() < SHARES["beard"]:
        speaker = replace(speaker, beard=random.uniform(0.5, 1.0), cut="short")
    return Clip(f"person_{number:03}", speaker, scene, int(random.integers(len(TEXTS))))


def _choose(random: np.random.Generator, values: tuple[T, ...]) -> T:
    return values[random.integers(len(values))]


def _color(random: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in random.integers(30, 200, 3))
    return red, green, blue
