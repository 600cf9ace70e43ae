"""The offset between the sound and the lips, measured from the footage itself.

A small predictor of the mouth's opening from the sound is tried at every lag. Signs: a lag is positive where the sound is
late, that is, where what the lips do at time t is heard at t + lag. Lips open LIPS_LEAD_S before their sound is heard, also
in footage that is in sync, so the best lag of the predictor is the offset plus that.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from adnerf_core.audio.mel import RATE, Mel
from adnerf_core.config import FPS, SAMPLE_RATE

LIPS_LEAD_S = 0.05
LAGS_S = np.arange(-0.40, 0.501, 0.02)
"""Lags tried, s; the offsets found lie 0.4 s either side."""
BLOCKS = 6
REACH, TAPER = 4, 2.0
"""The predictor sees 2 * REACH + 1 steps of sound, the outer ones weakly (TAPER, steps): short, so that a lag matters."""
POOL = 4
"""Mel bands averaged into one."""
RIDGE = 0.3
SURE, DOUBTFUL = 1.2, 1.0
"""Correlation times root of seconds: unrelated sound reaches 0.95 at its best lag, so above SURE the offset is believed.
Below DOUBTFUL there is no sign that lips and sound belong together."""
SPREAD_S = 0.06
"""Uncertainty of the offset (jackknife), s, up to which it is believed."""
TREND_FRAMES = 2 * FPS
"""Slower changes of the opening are posture, not speech."""


@dataclass(frozen=True)
class Offset:
    """lag_s: how late the sound is; spread_s: its standard error; correlation: of predicted and true opening, at best.

    sure: whether the offset is to be believed. unrelated: the lips clearly do not go with the sound.
    """

    lag_s: float
    spread_s: float
    correlation: float
    reliable: bool
    unrelated: bool


def estimate_av_offset(samples: Float[np.ndarray, " samples"], opening: Float[np.ndarray, " frames"]) -> Offset:
    """Measures the offset of mono sound at SAMPLE_RATE against the mouth's opening, a value a frame, NaN where unknown.

    Sample t and frame k are t / SAMPLE_RATE and k / FPS s after the same zero.
    """
    frames = np.flatnonzero(np.isfinite(opening))
    lips = np.interp(np.arange(len(opening)), frames, opening[frames])
    lips = (lips - gaussian_filter1d(lips, TREND_FRAMES))[frames]
    mel = Mel()(samples)
    mel = mel.reshape(len(mel), -1, POOL).mean(-1)
    guesses = np.stack([_predict(_sound_around(mel, frames / FPS + lag), lips) for lag in LAGS_S])
    block = np.linspace(0, BLOCKS, len(frames), endpoint=False).astype(int)
    left_out = np.array([_best_lag(_correlations(guesses[:, block != b], lips[block != b])) for b in range(BLOCKS)])
    spread = float(np.sqrt((BLOCKS - 1) * np.var(left_out)))
    curve = _correlations(guesses, lips)
    correlation, evidence = float(curve.max()), float(curve.max() * np.sqrt(len(frames) / FPS))
    lag = _best_lag(curve)
    inside = LAGS_S[2] < lag < LAGS_S[-3]
    return Offset(
        lag_s=lag - LIPS_LEAD_S,
        spread_s=spread,
        correlation=correlation,
        reliable=bool(evidence > SURE and spread < SPREAD_S and inside),
        unrelated=bool(evidence < DOUBTFUL and correlation < 0.15 and len(frames) > 20 * FPS),
    )


def shift_audio(samples: Float[np.ndarray, " samples"], lag_s: float, frames: int) -> Float[np.ndarray, " aligned"]:
    """Sound that is `lag_s` late, moved to its place and cut or padded with silence to `frames` frames."""
    start, length = round(lag_s * SAMPLE_RATE), frames * SAMPLE_RATE // FPS
    aligned = np.zeros(length, np.float32)
    first, last = max(0, -start), min(length, len(samples) - start)
    if last > first:
        aligned[first:last] = samples[start + first : start + last]
    return aligned


def _sound_around(
    mel: Float[np.ndarray, "steps bands"], times: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n window"]:
    """Tapered windows of `mel` around times, s, between steps by interpolation; silence beyond the ends."""
    reach = np.arange(-REACH, REACH + 1)
    place = np.clip(times[:, None] * RATE - 0.5 + reach, -1, len(mel))  # a step's centre is half a step after its start
    padded = np.pad(mel, ((1, 2), (0, 0)))
    low = np.floor(place).astype(int)
    part = (place - low)[..., None]
    window = padded[low + 1] * (1 - part) + padded[low + 2] * part
    return (window * np.exp(-0.5 * (reach / TAPER) ** 2)[:, None]).reshape(len(times), -1)


def _predict(sound: Float[np.ndarray, "n window"], lips: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Ridge regression of `lips` on `sound`, each contiguous block predicted from the others."""
    sound, lips = sound - sound.mean(0), lips - lips.mean()
    edges = np.linspace(0, len(lips), BLOCKS + 1).astype(int)
    guess = np.empty(len(lips))
    whole, target = sound.T @ sound, sound.T @ lips
    stiffness = RIDGE * np.trace(whole) / len(whole) * np.eye(len(whole)) + 1e-9 * np.eye(len(whole))
    for start, end in pairwise(edges):
        own, its = sound[start:end], lips[start:end]
        guess[start:end] = own @ np.linalg.solve(whole - own.T @ own + stiffness, target - own.T @ its)
    return guess


def _correlations(guesses: Float[np.ndarray, "lags n"], lips: Float[np.ndarray, " n"]) -> Float[np.ndarray, " lags"]:
    guesses, lips = guesses - guesses.mean(1, keepdims=True), lips - lips.mean()
    norm = np.linalg.norm(guesses, axis=1) * np.linalg.norm(lips)
    return guesses @ lips / np.maximum(norm, 1e-12)


def _best_lag(curve: Float[np.ndarray, " lags"]) -> float:
    """Where the curve is highest, between its points: a parabola through its top."""
    top = int(np.argmax(curve))
    near = slice(max(0, top - 3), top + 4)
    a, b, _ = np.polyfit(LAGS_S[near], curve[near], 2)
    return float(np.clip(-b / (2 * a), LAGS_S[near][0], LAGS_S[near][-1])) if a < 0 else float(LAGS_S[top])
