"""Random movement of people and cameras."""

from __future__ import annotations

import numpy as np

from adnerf_core.config import FPS

LOWEST_HZ = 0.06
"""Lowest frequency of the head's movement, Hz: slower movement would be a change of posture."""


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


def bump(times: np.ndarray, length: float, rise: float = 0.35) -> np.ndarray:
    """Returns a smooth rise from 0 to 1 that is over at 0, stays for `length`, s, and falls again within `rise`, s; `times` [n], s."""
    part = np.clip(np.minimum(times + rise, length + rise - times) / rise, 0, 1)
    return part * part * (3 - 2 * part)
