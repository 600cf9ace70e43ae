"""Sound that is not the person's: what is heard while the lips are still, such as an interviewer's questions or music.

Learnt from as it is, it would teach that the mouth rests while somebody speaks. So it is silenced: silence is what resting lips go with.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation, binary_erosion, maximum_filter1d, minimum_filter1d

from adnerf_core.config import FPS, SAMPLE_RATE

STILL_FRAMES = round(1.6 * FPS)
"""Shortest time that the lips must be still, frames: in speech, the lips move in every second."""

STILL_RANGE, USUAL_QUANTILE = 0.3, 0.75
"""Range of the mouth's opening in such a time, over its usual range (that quantile), below which the lips are still. While the person of
the reference clip speaks, it is 0.58 at least, and 0.74 for drawn speakers (docs/footage.md)."""

MIN_KNOWN = 0.8
"""Share of the frames in which the opening must be known."""

MARGIN_FRAMES = round(0.3 * FPS)
"""Frames after the lips stop and before they start that are left as they are: a word dies away, and a breath comes before one."""

AUDIBLE_DB = 20.0
"""How far below the person's own speech other sound is audible: what is softer is the noise of the room."""

JOINED_FRAMES = round(0.4 * FPS)
"""Pauses between words, frames, that belong to what is heard."""


def still_lips(opening: Float[np.ndarray, " frames"]) -> Bool[np.ndarray, " frames"]:
    """Marks the frames in which the mouth (its opening, NaN if unknown) rests for STILL_FRAMES or longer."""
    known = np.isfinite(opening)
    if len(opening) < 2 * STILL_FRAMES or not known.any():
        return np.zeros(len(opening), bool)
    filled = np.interp(np.arange(len(opening)), np.flatnonzero(known), opening[known])
    spread = maximum_filter1d(filled, STILL_FRAMES) - minimum_filter1d(filled, STILL_FRAMES)
    share = np.convolve(known, np.ones(STILL_FRAMES) / STILL_FRAMES, "same")
    usual = np.quantile(spread[known], USUAL_QUANTILE)
    middle = (spread < STILL_RANGE * usual) & (share >= MIN_KNOWN)
    return binary_dilation(middle, np.ones(STILL_FRAMES)) & known


def offscreen(
    samples: Float[np.ndarray, " samples"], opening: Float[np.ndarray, " frames"]
) -> Bool[np.ndarray, " frames"]:
    """Marks the frames in which something is heard that is not the person.

    Args:
        samples: the sound, SAMPLE_RATE samples a second, in sync with the lips.
        opening: the mouth's opening, NaN if unknown.
    """
    still, hop = still_lips(opening), SAMPLE_RATE // FPS
    level = 10 * np.log10(np.mean(samples[: len(opening) * hop].reshape(-1, hop) ** 2, axis=1) + 1e-12)
    speaking = ~still & np.isfinite(opening)
    if not still.any() or not speaking.any():
        return np.zeros(len(opening), bool)
    own = np.quantile(level[speaking], USUAL_QUANTILE)
    meanwhile = binary_erosion(still, np.ones(2 * MARGIN_FRAMES + 1))
    return meanwhile & binary_dilation(meanwhile & (level > own - AUDIBLE_DB), np.ones(2 * JOINED_FRAMES + 1))


def silenced(
    samples: Float[np.ndarray, " samples"], frames: Bool[np.ndarray, " frames"]
) -> Float[np.ndarray, " samples"]:
    """Returns the sound without that of the marked frames; it fades over a frame."""
    at = (np.arange(len(samples)) * FPS) / SAMPLE_RATE - 0.5
    return (samples * (1 - np.interp(at, np.arange(len(frames)), frames.astype(float)))).astype(np.float32)
