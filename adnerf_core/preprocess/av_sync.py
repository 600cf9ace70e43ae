"""The offset between sound and lips, measured in the footage itself.

A small linear predictor of the mouth's opening from the sound is fitted at every lag; the best lag is the one at which it
predicts best. A lag is positive if the sound is late: what the lips do at time t is heard at t + lag. The lips open
LIPS_LEAD_S before their sound is heard, also in footage that is in sync, so the best lag is the offset plus LIPS_LEAD_S.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d

from adnerf_core.audio.mel import RATE, Mel
from adnerf_core.config import FPS, SAMPLE_RATE

LIPS_LEAD_S = 0.05
"""How much earlier the lips open than their sound is heard, s: the best lag in footage of real speakers that is in sync."""

LAGS_S = np.arange(-1.60, 1.701, 0.02)
"""Lags tried, s: half a frame apart. After LIPS_LEAD_S is subtracted they cover 1.65 s each way, as far as wireless microphones and
streaming programs are off."""

NEAR = slice(60, 106)
"""Those of LAGS_S that are tried first: 0.45 s each way, more than recorders are off by. The others are tried if none of these fits."""

BLOCKS = 6
"""Parts of the footage for cross-validation and the jackknife: enough for a standard error, each still seconds long."""

REACH, TAPER = 4, 2.0
"""The predictor uses REACH steps of sound (of 1 / RATE s) on either side, weighted by a Gaussian of TAPER steps. The window is
short, since a predictor that sees half a second of sound predicts equally well at every lag."""

POOL = 4
"""Neighbouring mel bands that are averaged: 20 of them are enough for the opening, and need less footage to fit."""

RIDGE = 0.3
"""The ridge regression's penalty over the mean variance of an input: strong, since neighbouring steps and bands are correlated."""

NUMERICAL_RIDGE = 1e-9
"""Added to the penalty, so that silence, whose variance is 0, gives a prediction of 0 and no division by zero."""

MIN_EVIDENCE, DOUBTFUL_EVIDENCE = 1.2, 1.0
"""Correlation at the best lag, times the square root of the footage's seconds. Unrelated sound reaches 0.95, so above the first
value the offset is used. Below the second, nothing suggests that lips and sound belong together."""

MIN_FAR_EVIDENCE = 1.5
"""The same for offsets beyond NEAR: among three times as many lags, chance reaches more."""

UNRELATED_CORRELATION, UNRELATED_SECONDS = 0.15, 20
"""The lips are said to be unrelated to the sound only below this correlation and for footage longer than this, s. Short footage
can be unlucky, and a refusal must be certain."""

MAX_SPREAD_S = 0.06
"""Largest standard error of an offset that is used, s: a frame and a half. A correction by less certain values could do harm."""

TREND_SIGMA = 2 * FPS
"""Standard deviation, frames, of the smoothing whose result is subtracted from the opening: changes slower than two seconds are
posture or expression, not speech."""

PARABOLA_POINTS = 3
"""Lags on either side of the maximum that the parabola is fitted to: 0.06 s, where the curve is still round."""


@dataclass(frozen=True)
class Offset:
    """The measured offset.

    Attributes:
        lag_s: how late the sound is, s.
        spread_s: its standard error (jackknife), s.
        correlation: of the predicted and the true opening at the best lag.
        reliable: whether the offset should be corrected.
        unrelated: whether lips and sound clearly do not belong together.
    """

    lag_s: float
    spread_s: float
    correlation: float
    reliable: bool
    unrelated: bool


def estimate_av_offset(samples: Float[np.ndarray, " samples"], opening: Float[np.ndarray, " frames"]) -> Offset:
    """Measures how late the sound is.

    Args:
        samples: mono sound at SAMPLE_RATE; sample t belongs to time t / SAMPLE_RATE s.
        opening: the mouth's opening; frame k belongs to time k / FPS s. NaN if unknown.
    """
    frames = np.flatnonzero(np.isfinite(opening))
    lips = np.interp(np.arange(len(opening)), frames, opening[frames])
    lips = (lips - gaussian_filter1d(lips, TREND_SIGMA))[frames]
    mel = Mel()(samples)
    mel = mel.reshape(len(mel), -1, POOL).mean(-1)
    near = _search(mel, frames, lips, LAGS_S[NEAR], MIN_EVIDENCE)
    if near.reliable:
        return near
    far = _search(mel, frames, lips, LAGS_S, MIN_FAR_EVIDENCE)
    return far if far.reliable else near


def _search(
    mel: Float[np.ndarray, "steps bands"],
    frames: Int[np.ndarray, " n"],
    lips: Float[np.ndarray, " n"],
    lags: Float[np.ndarray, " lags"],
    min_evidence: float,
) -> Offset:
    """The best of some lags, s, for the `lips` of some `frames`."""
    predictions = np.stack([_predict(_windows(mel, frames / FPS + lag), lips) for lag in lags])
    block = np.linspace(0, BLOCKS, len(frames), endpoint=False).astype(int)
    kept = [block != b for b in range(BLOCKS)]
    without = np.array([_best_lag(_correlations(predictions[:, keep], lips[keep]), lags) for keep in kept])
    spread = float(np.sqrt((BLOCKS - 1) * np.var(without)))
    curve = _correlations(predictions, lips)
    correlation, evidence = float(curve.max()), float(curve.max() * np.sqrt(len(frames) / FPS))
    lag = _best_lag(curve, lags)
    inside = lags[2] < lag < lags[-3]  # a maximum at the end of the range is none
    long = len(frames) > UNRELATED_SECONDS * FPS
    return Offset(
        lag_s=lag - LIPS_LEAD_S,
        spread_s=spread,
        correlation=correlation,
        reliable=bool(evidence > min_evidence and spread < MAX_SPREAD_S and inside),
        unrelated=bool(evidence < DOUBTFUL_EVIDENCE and correlation < UNRELATED_CORRELATION and long),
    )


def shift_audio(samples: Float[np.ndarray, " samples"], lag_s: float, frames: int) -> Float[np.ndarray, " aligned"]:
    """Moves sound that is `lag_s` late to its place, and cuts it or pads it with silence to `frames` frames."""
    start, length = round(lag_s * SAMPLE_RATE), frames * SAMPLE_RATE // FPS
    aligned = np.zeros(length, np.float32)
    first, last = max(0, -start), min(length, len(samples) - start)
    if last > first:
        aligned[first:last] = samples[start + first : start + last]
    return aligned


def _windows(mel: Float[np.ndarray, "steps bands"], times: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n window"]:
    """Tapered windows of `mel` around times, s; interpolated between steps, silence beyond the ends."""
    offsets = np.arange(-REACH, REACH + 1)
    # The centre of a step is half a step after its start.
    position = np.clip(times[:, None] * RATE - 0.5 + offsets, -1, len(mel))
    padded = np.pad(mel, ((1, 2), (0, 0)))
    low = np.floor(position).astype(int)
    fraction = (position - low)[..., None]
    window = padded[low + 1] * (1 - fraction) + padded[low + 2] * fraction
    return (window * np.exp(-0.5 * (offsets / TAPER) ** 2)[:, None]).reshape(len(times), -1)


def _predict(sound: Float[np.ndarray, "n window"], lips: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Ridge regression of `lips` on `sound`; each contiguous block is predicted from the others.

    With S the sound and y the lips, the weights for block b are (S'S - S_b'S_b + penalty)^-1 (S'y - S_b'y_b): the sums over
    all blocks are computed once, and those over the block are subtracted.
    """
    sound, lips = sound - sound.mean(0), lips - lips.mean()
    edges = np.linspace(0, len(lips), BLOCKS + 1).astype(int)
    prediction = np.empty(len(lips))
    gram, moment = sound.T @ sound, sound.T @ lips
    penalty = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram)) + NUMERICAL_RIDGE * np.eye(len(gram))
    for start, end in pairwise(edges):
        part, target = sound[start:end], lips[start:end]
        prediction[start:end] = part @ np.linalg.solve(gram - part.T @ part + penalty, moment - part.T @ target)
    return prediction


def _correlations(
    predictions: Float[np.ndarray, "lags n"], lips: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " lags"]:
    """Pearson's correlation of the predictions at each lag with the true opening."""
    predictions, lips = predictions - predictions.mean(1, keepdims=True), lips - lips.mean()
    norm = np.linalg.norm(predictions, axis=1) * np.linalg.norm(lips)
    return predictions @ lips / np.maximum(norm, 1e-12)  # a constant prediction has correlation 0


def _best_lag(curve: Float[np.ndarray, " lags"], lags: Float[np.ndarray, " lags"]) -> float:
    """The lag at which the curve is highest, s; between the lags tried, by a parabola through the maximum."""
    top = int(np.argmax(curve))
    near = slice(max(0, top - PARABOLA_POINTS), top + PARABOLA_POINTS + 1)
    a, b, _ = np.polyfit(lags[near], curve[near], 2)
    return float(np.clip(-b / (2 * a), lags[near][0], lags[near][-1])) if a < 0 else float(lags[top])
