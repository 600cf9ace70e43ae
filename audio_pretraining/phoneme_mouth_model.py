"""From phonemes to lips: dominance curves (Cohen and Massaro, 1993) for three distances that can be measured in a face."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from demo.speech import Phoneme

# Opening between the inner lips, height of the mouth over the outer lips, and width of the mouth, each 0..1, and how
# strongly the sound insists on them; by the first letter of its IPA name.
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
"""Between sentences the mouth stays half open."""
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
"""Sounds that move, and where to."""
LEAD_S = (0.060, 0.045, 0.015)
"""How far opening, height and width run ahead of the sound, s: measured in footage of people who speak."""
REACH_S = 0.055
"""How quickly a sound's hold on the lips fades outside of its time, s."""
AXES = len(LEAD_S)


def mouth(phonemes: list[Phoneme], times: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n axes"]:
    """Opening, height and width of the mouth, about 0..1, at `times`, s, of a speech."""
    starts, ends, shapes = [], [], []
    for phoneme, following in zip(phonemes, [*phonemes[1:], None], strict=True):
        end = phoneme.start + 0.3 if following is None else following.start
        if end <= phoneme.start:
            continue
        parts = [phoneme.name, GLIDES[phoneme.name[:2]]] if phoneme.name[:2] in GLIDES else [phoneme.name]
        edges = np.linspace(phoneme.start, end, len(parts) + 1)
        starts += list(edges[:-1])
        ends += list(edges[1:])
        shapes += [SHAPES.get(part[:1], PAUSE) for part in parts]
    starts, ends, shapes = np.array(starts), np.array(ends), np.array(shapes)
    curves = []
    for axis, lead in enumerate(LEAD_S):
        at = times[:, None] + lead
        outside = np.maximum(np.maximum(starts - at, at - ends), 0)
        holds = shapes[:, 3] * np.exp(-outside / REACH_S)
        curves.append((holds @ shapes[:, axis] + 1e-4 * PAUSE[axis]) / (holds.sum(1) + 1e-4))
    return np.stack(curves, 1).astype(np.float32)
