"""Reads a script aloud into a file, and notes when each passage is said."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from adnerf_core.errors import MediaTooLong, NothingToSay
from adnerf_core.files.media_writer import write_wav
from adnerf_core.progress import Progress, silent
from adnerf_core.speech.engine import Speaker
from adnerf_core.speech.script import passages

SHORTEST_S = 0.5
"""Length to which the speech of a very short script is lengthened by silence, s: a video needs 0.3 s of sound."""
LONGEST_S = 7200.0
"""Longest speech, s: as long as the longest audio that is rendered. A voice that never ends would fill the memory."""
SILENCE = 0.003
"""Amplitude below which the start and the end of a passage are silence: 50 dB below full scale, softer than any letter."""
EDGE_S = 0.05
"""Silence that is left before and after the speech of a passage, s, so that no soft letter is cut."""


class SpokenPassage(NamedTuple):
    """A passage, and the times at which it begins and ends, s."""

    start_s: float
    end_s: float
    text: str


def speak(
    speaker: Speaker, script: str, out: Path, *, speed: float = 1.0, progress: Progress = silent
) -> list[SpokenPassage]:
    """Writes the speech of a script as a mono WAV.

    Args:
        speaker: the voice.
        script: the text; see script.py for its pauses.
        out: the file.
        speed: 1 is the voice's own pace.
        progress: receives the stage "speech", in passages.

    Returns:
        When each passage is said. A passage of which the voice can read nothing is left out.

    Raises:
        NothingToSay: the voice can read nothing of the script.
        MediaTooLong: the speech lasts longer than LONGEST_S.
        MissingBackend: the voice's program or server is not there, or fails.
        DiskFull: the disk has no space left.
    """
    parts = passages(script)
    rate, pieces, spoken, at = 0, [], [], 0
    for k, part in enumerate(parts):
        progress("speech", k, len(parts))
        sound = speaker(part.text, speed) if part.text else None
        if sound is not None and len(samples := _trimmed(sound.samples, sound.rate)):
            rate = sound.rate
            spoken.append(SpokenPassage(at / rate, (at + len(samples)) / rate, part.text))
            pieces.append(samples)
            at += len(samples)
        if rate and k + 1 < len(parts):
            pieces.append(np.zeros(round(part.pause_s / speed * rate), np.float32))
            at += len(pieces[-1])
        if at > LONGEST_S * rate:
            raise MediaTooLong(f"The speech lasts longer than {LONGEST_S / 3600:.0f} h.", "Shorten the script.")
    if not spoken:
        raise NothingToSay("The voice can say nothing of this script.")
    pieces.append(np.zeros(max(0, round(SHORTEST_S * rate) - at), np.float32))
    write_wav(out, np.concatenate(pieces), rate)
    progress("speech", len(parts), len(parts))
    return spoken


def _trimmed(samples: Float[np.ndarray, " samples"], rate: int) -> Float[np.ndarray, " left"]:
    """Returns the samples without the silence at both ends; empty if all is silence. So pauses are those of the script."""
    (loud,) = np.nonzero(np.abs(samples) > SILENCE)
    if not len(loud):
        return samples[:0]
    edge = round(EDGE_S * rate)
    return samples[max(0, loud[0] - edge) : loud[-1] + edge + 1].astype(np.float32)
