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

SMALL_PX, SMALL_STILL_FRAMES = 128, 3 * FPS
"""The same for faces below this height, px of the source: of lips of a few pixels, small openings are not seen. In one of 20 drawn people, of
83 px, they seemed to rest for 1.7 s of speech (docs/footage.md)."""

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


def still_lips(opening: Float[np.ndarray, " frames"], face_px: float) -> Bool[np.ndarray, " frames"]:
    """Marks the frames in which the mouth rests for STILL_FRAMES, in small faces SMALL_STILL_FRAMES, or longer; arguments as in offscreen()."""
    known, least = np.isfinite(opening), STILL_FRAMES if face_px >= SMALL_PX else SMALL_STILL_FRAMES
    if len(opening) < 2 * least or not known.any():
        return np.zeros(len(opening), bool)
    filled = np.interp(np.arange(len(opening)), np.flatnonzero(known), opening[known])
    spread = maximum_filter1d(filled, least) - minimum_filter1d(filled, least)
    share = np.convolve(known, np.ones(least) / least, "same")
    usual = np.quantile(spread[known], USUAL_QUANTILE)
    middle = (spread < STILL_RANGE * usual) & (share >= MIN_KNOWN)
    return binary_dilation(middle, np.ones(least)) & known


def offscreen(
    samples: Float[np.ndarray, " samples"], opening: Float[np.ndarray, " frames"], face_px: float
) -> Bool[np.ndarray, " frames"]:
    """Marks the frames in which something is heard that is not the person.

    Args:
        samples: the sound, SAMPLE_RATE samples a second, in sync with the lips.
        opening: the mouth's opening, NaN if unknown.
        face_px: height of the face in the source, px.
    """
    still, hop = still_lips(opening, face_px), SAMPLE_RATE // FPS
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
