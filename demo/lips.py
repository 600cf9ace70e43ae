"""A mouth model for the synthetic speaker: from phonemes to how far the mouth opens, and how round it is.

It differs from audio_pretraining/phoneme_mouth_model.py, which predicts three distances measured in real faces: this one
closes the lips completely on m, b and p, and has the two parameters by which the speaker is drawn.
"""

from __future__ import annotations

import numpy as np

from demo.speech import Phoneme

SHAPES: dict[str, tuple[float, float]] = {
    **dict.fromkeys("ɑaæʌ", (1.0, -0.1)),
    **dict.fromkeys("ɐɜə", (0.55, 0.0)),
    **dict.fromkeys("ɛe", (0.7, -0.5)),
    **dict.fromkeys("ɪi", (0.4, -0.8)),
    **dict.fromkeys("ɔɒ", (0.8, 0.6)),
    "o": (0.55, 0.8),
    **dict.fromkeys("ʊu", (0.35, 1.0)),
    "w": (0.2, 1.0),
    **dict.fromkeys("mbp", (0.0, 0.0)),
    **dict.fromkeys("fv", (0.1, -0.2)),
    **dict.fromkeys("szʒʃ", (0.15, 0.1)),
    **dict.fromkeys("tdnlɾθð", (0.28, -0.1)),
    **dict.fromkeys("kɡŋhʔx", (0.35, 0.0)),
    **dict.fromkeys("ɹrɚɝ", (0.3, 0.5)),
    "j": (0.3, -0.6),
}
"""(opening 0..1, rounding -1 spread .. 1 round) of every sound of English voices, by the first letter of its IPA name. The values are
estimates by eye."""

REST = (0.06, 0.0)
"""The same for pauses: the lips hardly apart."""

CLOSED = frozenset("mbp")
"""Sounds on which the lips touch."""

SECOND_HALF = {"aɪ": "ɪ", "eɪ": "ɪ", "ɔɪ": "ɪ", "aʊ": "ʊ", "oʊ": "ʊ"}
"""Diphthongs and the sound in which they end."""

LEAD_S = 0.04
"""How much earlier the lips move than they are heard, s: a frame, about as in real speech."""

REACH_S = 0.05
"""Standard range in time, s, over which sounds blend (coarticulation)."""

PART_S = 0.1
"""Length of the parts, s, into which long sounds are split, so that they count for as long as they last."""

LAST_S = 0.2
"""Length assumed for the last phoneme, which no other one ends, s."""

CLOSING_S = 0.05
"""How long the lips take to open fully after they have touched, s."""


def mouth_track(phonemes: list[Phoneme], times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the movement of the mouth while it says `phonemes`.

    It is an average of the sounds' shapes, weighted by exp(-(distance in time / REACH_S)^2), multiplied by a gate that closes
    the lips on m, b and p whatever the neighbours are.

    Args:
        phonemes: in order of time.
        times: times of the speech, [n], s.

    Returns:
        The opening (0..1) and the rounding (-1..1) at `times`, [n] each.
    """
    centers, halves, shapes, closed = [], [], [], []
    for (name, start), end in zip(phonemes, [p.start for p in phonemes[1:]] + [None], strict=True):
        length = LAST_S if end is None else end - start
        if length <= 0:
            continue
        ending = SECOND_HALF.get(name[:2])
        parts = [name[:1], ending] if ending else [name[:1]] * max(1, round(length / PART_S))
        for index, part in enumerate(parts):
            centers.append(start + length * (index + 0.5) / len(parts) - LEAD_S)
            halves.append(length / len(parts) / 2)
            shapes.append(SHAPES.get(part, REST))
            closed.append(part in CLOSED)
    distance = np.abs(times[:, None] - np.array(centers))
    beyond = np.maximum(0.0, distance - 0.5 * np.array(halves))
    weights = np.exp(-((beyond / REACH_S) ** 2))
    # The small constant weight of REST brings the mouth to rest before the first and after the last sound.
    blend = (weights @ np.array(shapes) + 1e-3 * np.array(REST)) / (weights.sum(1, keepdims=True) + 1e-3)
    opened = np.clip((distance - np.array(halves) * 0.6) / CLOSING_S, 0.0, 1.0)
    gate = opened[:, np.array(closed)].min(1, initial=1.0)
    return blend[:, 0] * gate**2 * (3 - 2 * gate), blend[:, 1]
