"""SyncJudge: tells from a face's sound and lips how far apart they are in time, and how certain that is.

It is learnt on the training part of a subject's own footage. Unlike metrics.sync_offset it needs no true lips to compare with, so it
judges a rendering and its footage alike, and it shares no weights with the audio encoder that drives the rendering.

It has the place of SyncNet (Chung and Zisserman, "Out of time", 2016), whose networks map sound and mouth to vectors that are close where
both belong together. Here the maps are linear and found in closed form, by canonical correlation analysis (Hotelling, 1936). A minute of
footage teaches networks no more, with mouth crops or with distances (docs/fidelity.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view

from adnerf_core.audio.mel import BANDS
from adnerf_core.audio.windows import STEPS_PER_FRAME, windows
from adnerf_core.evaluation.metrics import SYNC_LAGS
from adnerf_core.face.lip_pca import mouth_distances

POOL = 4
"""Neighbouring mel bands that are averaged. All 80 bands find the offset hardly more often (.94 of windows of a second
instead of .91), and take thirty times as long to learn from."""
REACH = 2
"""Frames of lips on either side: .2 s in all, as SyncNet has. With 1 or 4 fewer windows of a second are judged right."""
DISTANCES = 3
"""Numbers that mouth_distances returns for a frame."""
RIDGE = {"sound": 1.0, "lips": 0.1}
"""Penalties of the analysis, over the mean variance of an input. Of .3, 1 and 3 for the sound, .3 and 1 do equally well."""
DIRECTIONS = 8
"""Pairs of directions that are kept. With four, true pairs of sound and lips are told from false ones half as well (docs/fidelity.md)."""
CORRELATIONS = (0.02, 0.95)
"""Least and largest correlation of a pair: beyond, a few frames would decide the score."""
MIN_SPREAD = 0.1
"""Least standard deviation that an input is divided by, over the median of all inputs: bands that are nearly silent are no evidence."""
LEAST_CHANGE = 1e-6
"""Standard deviation up to which an input is constant but for rounding."""
MIN_FRAMES = 200
"""Frames that a judge is learnt from at least (8 s): with fewer than it has weights, it would know chance alone."""
MIN_JUDGED = 25
"""Frames that are judged at least: of windows of one second, one in ten is judged wrong, of two seconds next to none."""


class Verdict(NamedTuple):
    """How far sound and lips are apart.

    Attributes:
        offset: how much later the lips are than the sound that belongs to them, frames; negative if they are early.
        confidence: the score at this offset minus the median score over all of SYNC_LAGS, nats per frame.
    """

    offset: float
    confidence: float


class _Directions(NamedTuple):
    mean: Float[ndarray, " inputs"]
    scale: Float[ndarray, " inputs"]
    weights: Float[ndarray, "inputs pairs"]

    def __call__(self, rows: Float[ndarray, "n inputs"]) -> Float[ndarray, "n pairs"]:
        return (rows - self.mean) / self.scale @ self.weights


class SyncJudge(NamedTuple):
    """Maps sound and lips to numbers of which each pair has correlation `correlation` where both belong together, and 0 elsewhere."""

    sound: _Directions
    lips: _Directions
    correlation: Float[ndarray, " pairs"]

    def scores(
        self, mel: Float[ndarray, "steps bands"], landmarks: Float[ndarray, "n 478 axes"], first: int
    ) -> Float[ndarray, "n lags"]:
        """Scores how well each frame's lips fit the sound at each of SYNC_LAGS.

        With numbers u of the sound and v of the lips that have variance 1 and correlation r, the score is the logarithm of their joint
        density over that of unrelated ones, both Gaussian, summed over the pairs, without what depends on r alone:

            (r u v - r^2 (u^2 + v^2) / 2) / (1 - r^2).

        Args:
            mel: of the whole sound.
            landmarks: of consecutive frames; NaN where no face was found.
            first: number of the first of these frames in the sound.

        Returns:
            The scores, nats; NaN where lips or sound are unknown.
        """
        frames = first + np.arange(len(landmarks))
        sound, lips = self.sound(sound_windows(mel)), self.lips(lip_windows(landmarks))
        weight = self.correlation / (1 - self.correlation**2)
        result = np.full((len(frames), len(SYNC_LAGS)), np.nan)
        for number, lag in enumerate(SYNC_LAGS):
            heard = frames - lag  # late lips belong to earlier sound
            known = (heard >= 0) & (heard < len(sound))
            u, v = sound[heard[known]], lips[known]
            result[known, number] = (u * v - self.correlation * (u**2 + v**2) / 2) @ weight
        return result

    def judge(
        self, mel: Float[ndarray, "steps bands"], landmarks: Float[ndarray, "n 478 axes"], first: int
    ) -> Verdict | None:
        """Judges how far `landmarks` are from their sound; the arguments are those of `scores`.

        Returns:
            The verdict; None if fewer than MIN_JUDGED frames have lips and sound. Lags at which half as many have them do not count: at the end
            of a recording, early lips would belong to sound that is not there.
        """
        scores = self.scores(mel, landmarks, first)
        known = np.isfinite(scores).sum(0)
        if known.max() < MIN_JUDGED:
            return None
        counts = known > MIN_JUDGED // 2
        curve = np.nanmean(scores[:, counts], 0)
        top = int(np.argmax(curve))
        return Verdict(float(np.array(SYNC_LAGS)[counts][top]), float(curve[top] - np.median(curve)))


def _vary(rows: Float[ndarray, "n inputs"]) -> bool:
    """Tells whether most inputs change. Where there is no speech, or the face is frozen, there are no directions to find."""
    return bool(np.quantile(rows.std(0), 0.25) > LEAST_CHANGE)


def learn_judge(mel: Float[ndarray, "steps bands"], landmarks: Float[ndarray, "frames 478 axes"]) -> SyncJudge | None:
    """Learns a judge from a face and its sound, which are in time.

    Args:
        mel: of the sound.
        landmarks: of each frame, from the first on; NaN where no face was found.

    Returns:
        The judge; None if there are fewer than MIN_FRAMES, or if in one half of them nothing is heard or moves.
    """
    sound, lips = sound_windows(mel), lip_windows(landmarks)
    frames = np.flatnonzero(np.isfinite(lips).all(1)[: len(sound)])
    halves = np.array_split(frames, 2)
    if len(frames) < MIN_FRAMES or not all(_vary(sound[half]) and _vary(lips[half]) for half in halves):
        return None
    unseen = [_unseen_correlation(sound, lips, *pair) for pair in (halves, halves[::-1])]
    correlation = np.mean(unseen, 0).clip(*CORRELATIONS)
    return SyncJudge(*_directions(sound[frames], lips[frames]), correlation)


def sound_windows(mel: Float[ndarray, "steps bands"]) -> Float[ndarray, "frames inputs"]:
    """Returns the sound around each frame: LENGTH steps of BANDS / POOL bands."""
    pooled = torch.from_numpy(mel.reshape(len(mel), BANDS // POOL, POOL).mean(-1))
    frames = len(mel) // STEPS_PER_FRAME
    return windows(pooled, torch.arange(frames)).reshape(frames, -1).double().numpy()


def lip_windows(landmarks: Float[ndarray, "frames 478 axes"]) -> Float[ndarray, "frames inputs"]:
    """Returns the mouth's distances in REACH frames around each frame, in the unit of `landmarks`; NaN where one is unknown."""
    padded = np.pad(mouth_distances(landmarks).astype(np.float64), ((REACH, REACH), (0, 0)), constant_values=np.nan)
    return sliding_window_view(padded, 2 * REACH + 1, axis=0).reshape(len(landmarks), -1)


def _directions(
    sound: Float[ndarray, "n inputs"], lips: Float[ndarray, "n distances"]
) -> tuple[_Directions, _Directions]:
    """Finds the pairs of directions that correlate most, by the singular values of the whitened covariance

        Lx^-1 Cxy Ly^-T    with    Lx Lx' = Cxx + ridge,  Ly Ly' = Cyy + ridge.

    Each direction is scaled to variance 1.
    """
    sides, roots = [], []
    for rows, ridge in ((sound, RIDGE["sound"]), (lips, RIDGE["lips"])):
        spread = rows.std(0)
        scale = np.maximum(spread, MIN_SPREAD * np.median(spread))
        standard = (rows - rows.mean(0)) / scale
        covariance = standard.T @ standard / len(rows)
        penalty = ridge * np.trace(covariance) / len(covariance)
        roots.append(np.linalg.cholesky(covariance + penalty * np.eye(len(covariance))))
        sides.append((rows.mean(0), scale, standard))
    (_, _, x), (_, _, y) = sides
    whitened = np.linalg.solve(roots[1], np.linalg.solve(roots[0], x.T @ y / len(x)).T).T
    left, _, right = np.linalg.svd(whitened, full_matrices=False)
    found = []
    for (mean, scale, standard), root, axes in zip(sides, roots, (left, right.T), strict=True):
        weights = np.linalg.solve(root.T, axes[:, :DIRECTIONS])
        found.append(_Directions(mean, scale, weights / (standard @ weights).std(0)))
    return found[0], found[1]


def _unseen_correlation(
    sound: Float[ndarray, "frames inputs"],
    lips: Float[ndarray, "frames distances"],
    learnt: Int[ndarray, " n"],
    unseen: Int[ndarray, " m"],
) -> Float[ndarray, " pairs"]:
    """Returns the correlation of each pair in the frames `unseen`, with directions of the frames `learnt`."""
    of_sound, of_lips = _directions(sound[learnt], lips[learnt])
    u, v = of_sound(sound[unseen]), of_lips(lips[unseen])
    u, v = u - u.mean(0), v - v.mean(0)
    return (u * v).sum(0) / np.maximum(np.linalg.norm(u, axis=0) * np.linalg.norm(v, axis=0), 1e-12)
