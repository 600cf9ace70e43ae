"""Decodes the sound of media files, as a stream on the file's timeline.

Two processes work in a row. The first decodes the file and gives every piece its time; it keeps nothing from piece to piece, because
ffmpeg begins all its filters anew where the number of channels or the rate changes. The second puts the pieces onto the timeline.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import ffmpeg
import numpy as np
from ffmpeg.nodes import FilterableStream, OutputStream
from jaxtyping import Float

from adnerf_core.config import SAMPLE_RATE
from adnerf_core.errors import NoAudio, NotMedia
from adnerf_core.files.ffmpeg_process import file_url, running, untrusted_input
from adnerf_core.files.media_info import MAX_SECONDS, MediaInfo, probe
from adnerf_core.files.sound_choice import decoded
from adnerf_core.files.timeline import beside_pictures, merged

MIN_RATE = 4000
"""Lowest sampling rate that is accepted, Hz: telephones use 8000, and speech needs 2 kHz of bandwidth to be intelligible. A header
that claims 1 Hz would also turn a file of a few kilobytes into hours of sound."""

READ_BYTES = 1 << 20
"""Size of the pieces in which sound is read: half a minute at SAMPLE_RATE, little beside what the models take."""

SOUNDTRACK_RATE = 48000
"""Sampling rate of the sound of written videos, Hz: the usual one of video, and the highest that Opus has."""

TIMED = ("mov", "matroska", "avi", "mpegts", "asf", "ogg")
"""Formats that store times, by ffmpeg's names. In the others the samples alone are the times, so that nothing has to be moved."""

SYNC = {"async": 1000, "min_comp": 0.004, "min_hard_comp": 0.02, "flags": "res"}
"""How sound is kept at its times. From 20 ms off, silence is put in or sound is left out: half a picture, below what viewers notice. From
4 ms on, which no rounding of times reaches, it is stretched, by up to 1000 samples a second: the clocks of recorders differ by less.
Resampling (`res`) is on from the start, because versions before 6 stretch too much where it is turned on later."""


def stream_audio(
    path: Path,
    *,
    info: MediaInfo | None = None,
    duration_s: float = MAX_SECONDS,
    soundtrack: Path | None = None,
) -> Iterator[Float[np.ndarray, " samples"]]:
    """Streams the sound of a file in pieces, float32, -1..1, mono, SAMPLE_RATE samples per second.

    Sample t of the whole stream belongs to time t / SAMPLE_RATE s of the file's timeline; if the sound starts later, the
    stream starts with silence.

    Args:
        path: the file.
        info: what probe() returned for it; without it the file is probed.
        duration_s: how much is read at most, s.
        soundtrack: where to store the same sound for write_video(), as FLAC with SOUNDTRACK_RATE and one or two channels.
            It is written by the same decoding, and complete when the stream has ended. FLAC is lossless and takes about
            half the space of the samples.

    Raises:
        NotMedia: if nothing can be decoded, or the sampling rate is below MIN_RATE.
        NoAudio: if the file has no sound.
        DiskFull: if `soundtrack` does not fit on the disk.
        MediaTooLarge, MediaTooLong: at the limits of probe() and of the process.
    """
    info = info or probe(path)
    empty = True
    with ExitStack() as stack:
        decoder = stack.enter_context(running(_decoding(path, info, duration_s)))
        placer = stack.enter_context(running(_placing(info, duration_s, soundtrack), stdin=decoder.stdout))
        decoder.stdout.close()  # so that the decoder ends when the other process does
        while chunk := placer.stdout.read(READ_BYTES):
            empty = False
            yield np.frombuffer(chunk, np.int16, count=len(chunk) // 2).astype(np.float32) / 32768
        placer.wait()
        decoder.wait()
        if error := decoder.error() or placer.error():
            raise error
    if empty:
        raise NotMedia("No sound of the file can be decoded.")


def extract_audio(
    path: Path, *, info: MediaInfo | None = None, duration_s: float = MAX_SECONDS
) -> Float[np.ndarray, " samples"]:
    """Returns all of stream_audio() as one array."""
    return np.concatenate(list(stream_audio(path, info=info, duration_s=duration_s)))


def write_soundtrack(path: Path, out: Path, *, duration_s: float = MAX_SECONDS) -> None:
    """Writes the sound of a file as stream_audio() does with `soundtrack`. Raises the same errors."""
    for _ in stream_audio(path, duration_s=duration_s, soundtrack=out):
        pass


def _decoding(path: Path, info: MediaInfo, duration_s: float) -> OutputStream:
    """The first process: decodes one track to pieces with times.

    Raises:
        NoAudio: if the file has no sound.
        NotMedia: if the sampling rate is below MIN_RATE, or there is no file.
    """
    if not info.has_audio:
        raise NoAudio("The audio has no sound.")
    if info.sample_rate < MIN_RATE:
        raise NotMedia(
            f"The audio is sampled at {info.sample_rate} Hz; speech needs at least {MIN_RATE} Hz.",
            "Send audio sampled at 8 kHz or more.",
        )
    source = untrusted_input(path)
    sound = decoded(source[f"a:{info.audio_track - 1}"], info.sample_rate, info.channels)
    if info.channel is not None:
        sound = sound.filter("channelmap", map=f"{('FL', 'FR')[info.channel]}-FC", channel_layout="mono")
    sound = sound.filter("atrim", start=0)  # NUT has no negative times
    pieces = ffmpeg.output(sound, "pipe:1", format="nut", acodec="pcm_s16le", t=duration_s)
    return merged(info, pieces, *beside_pictures(source, info, duration_s))


def _placing(info: MediaInfo, duration_s: float, soundtrack: Path | None) -> OutputStream:
    """The second process: puts the pieces onto the timeline, which starts at zero; gaps are filled with silence."""
    placed = ffmpeg.input("pipe:0", format="nut").filter(
        "aresample", **(SYNC if info.container in TIMED else {}), first_pts=0
    )
    if soundtrack is not None:
        split = placed.filter_multi_output("asplit")
        placed = split[0]
    speech = _converted(placed, SAMPLE_RATE, "mono")
    output = ffmpeg.output(speech, "pipe:1", format="s16le", t=duration_s)
    if soundtrack is not None:
        layout = "mono" if info.channels == 1 or info.channel is not None else "stereo"
        copy = _converted(split[1], SOUNDTRACK_RATE, layout)
        output = ffmpeg.merge_outputs(output, ffmpeg.output(copy, file_url(soundtrack), format="flac", t=duration_s))
    return output.global_args("-copyts")


def _converted(source: FilterableStream, rate: int, layout: str) -> FilterableStream:
    return source.filter("aresample", rematrix_maxval=1).filter(
        "aformat", sample_rates=rate, channel_layouts=layout, sample_fmts="s16"
    )
