"""From phonemes to the movement of a mouth: how far it opens, and how round it gets."""

from __future__ import annotations

import numpy as np

from demo.speech import Phoneme

# (opening 0..1, rounding -1 spread .. 1 round) of every sound that English voices use, by its first IPA letter.
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
REST = (0.06, 0.0)
CLOSED = frozenset("mbp")
SECOND_HALF = {"aɪ": "ɪ", "eɪ": "ɪ", "ɔɪ": "ɪ", "aʊ": "ʊ", "oʊ": "ʊ"}

LEAD_S = 0.04
"""The lips move before they are heard, s."""

REACH_S = 0.05
"""How far in time a sound pulls at its neighbours, s."""


def mouth_track(phonemes: list[Phoneme], times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Opening (0..1) and rounding (-1..1) of the mouth, [n] each, at `times` [n], s, of the speech.

    Neighbouring sounds blend into each other; on m, b and p the lips close whatever the neighbours are.
    """
    centers, halves, shapes, closed = [], [], [], []
    for (name, start), end in zip(phonemes, [p.start for p in phonemes[1:]] + [None], strict=True):
        length = 0.2 if end is None else end - start
        if length <= 0:
            continue
        # Diphthongs move; whatever else is long is held, and so counts several times.
        parts = (
            [name[:1], SECOND_HALF[name[:2]]] if name[:2] in SECOND_HALF else [name[:1]] * max(1, round(length / 0.1))
        )
        for index, part in enumerate(parts):
            centers.append(start + length * (index + 0.5) / len(parts) - LEAD_S)
            halves.append(length / len(parts) / 2)
            shapes.append(SHAPES.get(part, REST))
            closed.append(part in CLOSED)
    distance = np.abs(times[:, None] - np.array(centers))
    beyond = np.maximum(0.0, distance - 0.5 * np.array(halves))
    # The floor lets far times (before the first and after the last sound) come to rest.
    weights = np.exp(-((beyond / REACH_S) ** 2))
    blend = (weights @ np.array(shapes) + 1e-3 * np.array(REST)) / (weights.sum(1, keepdims=True) + 1e-3)
    gate = np.clip((distance - np.array(halves) * 0.6) / 0.05, 0.0, 1.0)[:, np.array(closed)].min(1, initial=1.0)
    return blend[:, 0] * gate**2 * (3 - 2 * gate), blend[:, 1]
