"""From phonemes to the mouth: dominance functions (Cohen and Massaro, "Modeling coarticulation in synthetic visual speech", 1993).

The mouth is described by three distances that can be measured in a face (lip_pca.mouth_distances).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from demo.speech import Phoneme

# By the first letter of a phoneme's IPA name: opening between the inner lips, height over the outer lips and width of the mouth, each
# 0..1, and the phoneme's strength, with which it prevails over its neighbours. Set by hand; the values of i, f, v, s, ʃ, h and schwa
# were corrected after a comparison with real speakers.
SHAPES: dict[str, tuple[float, float, float, float]] = {
    **dict.fromkeys("aɑæɐäʌ", (1.00, 1.00, 0.50, 1.0)),
    **dict.fromkeys("ɛe", (0.75, 0.75, 0.70, 1.0)),
    **dict.fromkeys("ɔɒ", (0.75, 0.85, 0.25, 1.0)),
    **dict.fromkeys("oøœɤ", (0.50, 0.70, 0.10, 1.0)),
    **dict.fromkeys("uʊyʏɯʉɵ", (0.28, 0.50, 0.00, 1.0)),
    **dict.fromkeys("iɪᵻɨ", (0.45, 0.45, 0.85, 0.8)),
    **dict.fromkeys("əɜɚɝ", (0.50, 0.55, 0.45, 0.5)),
    **dict.fromkeys("wɥʍ", (0.15, 0.40, 0.00, 1.2)),
    **dict.fromkeys("mbpɓ", (0.00, 0.05, 0.45, 3.0)),
    **dict.fromkeys("fvɱʋβɸ", (0.12, 0.20, 0.45, 2.0)),
    **dict.fromkeys("szɕʑ", (0.25, 0.35, 0.60, 1.2)),
    **dict.fromkeys("ʃʒʂʐ", (0.25, 0.50, 0.15, 1.2)),
    **dict.fromkeys("tdnlɫɾθðɬɲʎʈɖɳɭ", (0.35, 0.40, 0.55, 0.7)),
    **dict.fromkeys("kɡgŋxɣqχcɟ", (0.45, 0.45, 0.50, 0.4)),
    **dict.fromkeys("hɦʔħʕç", (0.55, 0.55, 0.50, 0.2)),
    **dict.fromkeys("rɹʁʀɻ", (0.35, 0.50, 0.30, 0.6)),
    **dict.fromkeys("jʲ", (0.40, 0.42, 0.75, 0.7)),
}
PAUSE = (0.25, 0.30, 0.45, 0.8)
"""Shape and strength of a pause: people who go on speaking keep the mouth half open."""
PAUSE_WEIGHT = 1e-4
"""Strength of the pause at all times: it decides where no phoneme is near, and is negligible elsewhere."""
GLIDES = {
    "aɪ": "ɪ",
    "eɪ": "ɪ",
    "ɔɪ": "ɪ",
    "aʊ": "ʊ",
    "oʊ": "ʊ",
    "əʊ": "ʊ",
    "ɔø": "ø",
    "tʃ": "ʃ",
    "dʒ": "ʒ",
    "ts": "s",
    "tɕ": "ɕ",
}
"""Diphthongs and affricates, and the phoneme that each ends as."""
LEAD_S = (0.060, 0.045, 0.015)
"""Time by which opening, height and width of the mouth run ahead of the audio, s: measured in footage of people who speak."""
DECAY_S = 0.055
"""Time constant with which a phoneme's influence decays before and after it, s: about the length of a short phoneme, so that its
influence reaches the neighbours and little further."""
LAST_S = 0.3
"""Assumed length of the last phoneme, s: the voices give starts only. It is a pause, so more would make no difference."""


def synthesize_mouth(phonemes: list[Phoneme], times: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n axes"]:
    """Computes opening, height and width of the mouth, about 0..1, while `phonemes` are spoken.

    Phoneme i with strength a_i and target s_i is spoken from b_i to e_i. With d_i(t) the time between t and that interval,

        w_i(t) = a_i exp(-d_i(t + lead) / DECAY_S),    mouth(t) = sum_i w_i(t) s_i / sum_i w_i(t).

    Args:
        phonemes: in order of time.
        times: the times to compute the mouth at, s.
    """
    starts, ends, shapes = _segments(phonemes)
    curves = []
    for axis, lead in enumerate(LEAD_S):
        at = times[:, None] + lead
        distance = np.maximum(np.maximum(starts - at, at - ends), 0)
        weights = shapes[:, 3] * np.exp(-distance / DECAY_S)
        curves.append((weights @ shapes[:, axis] + PAUSE_WEIGHT * PAUSE[axis]) / (weights.sum(1) + PAUSE_WEIGHT))
    return np.stack(curves, 1).astype(np.float32)


def _segments(
    phonemes: list[Phoneme],
) -> tuple[Float[np.ndarray, " segments"], Float[np.ndarray, " segments"], Float[np.ndarray, "segments 4"]]:
    """Starts, ends (s), and shapes with strengths of the segments that `phonemes` consist of: two for a glide, else one."""
    starts, ends, shapes = [], [], []
    for phoneme, following in zip(phonemes, [*phonemes[1:], None], strict=True):
        end = phoneme.start + LAST_S if following is None else following.start
        if end <= phoneme.start:
            continue
        parts = [phoneme.name, GLIDES[phoneme.name[:2]]] if phoneme.name[:2] in GLIDES else [phoneme.name]
        edges = np.linspace(phoneme.start, end, len(parts) + 1)
        starts += list(edges[:-1])
        ends += list(edges[1:])
        shapes += [SHAPES.get(part[:1], PAUSE) for part in parts]
    return np.array(starts), np.array(ends), np.array(shapes)
