"""The speech codes of a video, which determine the lips, one for each frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from adnerf_core.audio.inference import encode_pieces, encode_stream
from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.errors import AudioTooShort, MediaTooLong
from adnerf_core.files import ffmpeg
from adnerf_core.synthesis.subject import Subject
from adnerf_core.threads import ahead

MIN_AUDIO_S = 0.3
"""Shortest audio that is rendered, s (7 or 8 frames). Shorter audio does not hold a syllable, so it is more likely sent by mistake."""
MAX_AUDIO_S = 7200.0
"""Longest audio that is rendered at once, s: a crash would lose hours of work."""
SILENT_FRAME = 10
"""Frame of a second of silence whose speech code a mouth at rest has; the encoder sees silence on both sides of it."""
READ_BYTES = 1 << 20
"""Size of the pieces in which decoded sound is read again: half a minute."""
HEARD_AHEAD = FPS
"""Codes that are there before they are needed: the time in which a second is rendered is enough to hear the next part of the sound."""


@dataclass(frozen=True)
class SpeechCodes:
    """The codes of a number of frames, which can be drawn once: each is computed when it is drawn."""

    count: int
    codes: Iterator[Tensor]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Tensor]:
        return islice(self.codes, self.count)


Codes = SpeechCodes | Float[Tensor, "frames code"]
"""The codes of a video, 25 a second: of speech, or all at once."""


def speech_codes(subject: Subject, audio: Path, decoded: Path, soundtrack: Path | None = None) -> SpeechCodes:
    """Decodes an audio file, and returns its speech codes. The sound is heard in chunks by a thread of its own while the codes are drawn.

    Args:
        subject: the subject that speaks.
        audio: a media file with an audio stream.
        decoded: where to keep the decoded samples until all codes are drawn; two hours of them take 230 MB.
        soundtrack: if given, the audio is also stored there while it is decoded, for ffmpeg.write_video.

    Raises:
        AudioTooShort, MediaTooLong, NotMedia, NoAudio, MissingBackend: see render.
    """
    samples = 0
    with decoded.open("wb") as file:
        for piece in ffmpeg.stream_audio(audio, soundtrack=soundtrack):
            samples += len(piece)
            if samples > MAX_AUDIO_S * SAMPLE_RATE:
                raise MediaTooLong(
                    f"The audio is longer than {MAX_AUDIO_S:.0f} s, the longest that is rendered at once."
                )
            file.write((piece * 32768).astype("<i2").tobytes())  # ffmpeg decodes 16 bits, so nothing is lost
    if samples < MIN_AUDIO_S * SAMPLE_RATE:
        raise AudioTooShort(f"The audio is {samples / SAMPLE_RATE:.2f} s long; at least {MIN_AUDIO_S} s are needed.")
    heard = encode_pieces(subject.model, subject.extractor, _pieces(decoded), subject.poses.device, soon=True)
    return SpeechCodes(max(1, round(samples * FPS / SAMPLE_RATE)), ahead(chain.from_iterable(heard), HEARD_AHEAD))


def _pieces(decoded: Path) -> Iterator[Float[np.ndarray, " samples"]]:
    with decoded.open("rb") as file:
        while data := file.read(READ_BYTES):
            yield np.frombuffer(data, "<i2").astype(np.float32) / 32768


def silent_codes(subject: Subject, duration_s: float) -> Float[Tensor, "frames code"]:
    """Returns the speech codes of a mouth at rest, 25 a second: that of silence, the same in every frame.

    Raises:
        ValueError: `duration_s` is not between MIN_AUDIO_S and MAX_AUDIO_S.
    """
    if not MIN_AUDIO_S <= duration_s <= MAX_AUDIO_S:
        raise ValueError(f"a duration of {duration_s:g} s is not between {MIN_AUDIO_S:g} and {MAX_AUDIO_S:g} s")
    silence = np.zeros(SAMPLE_RATE, np.float32)
    codes = encode_stream(subject.model, subject.extractor, iter([silence]), subject.poses.device)
    return codes[SILENT_FRAME].expand(round(duration_s * FPS), -1)
