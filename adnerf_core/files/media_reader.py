"""Decodes the pictures and the sound of media files, as streams.

A file has one timeline, whose zero is the container's start; pictures and sound keep the offset to each other that they have
there. A damaged or truncated file counts as far as it can be decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ffmpeg
import numpy as np
from ffmpeg.nodes import FilterableStream, OutputStream
from jaxtyping import Float, UInt8

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.errors import NoAudio, NotMedia, NoVideo
from adnerf_core.files.ffmpeg_process import THREADS, file_url, running, untrusted_input
from adnerf_core.files.media_info import MAX_SECONDS, MediaInfo, probe
from adnerf_core.files.video_formats import FOOTAGE, footage_size

MIN_RATE = 4000
"""Lowest sampling rate that is accepted, Hz: telephones use 8000, and speech needs 2 kHz of bandwidth to be intelligible. A header
that claims 1 Hz would also turn a file of a few kilobytes into hours of sound."""

SCALING = "bicubic+accurate_rnd+full_chroma_int"
"""Flags of ffmpeg's scaler: bicubic, with exact rounding and chroma at full resolution, since the colours are learnt from."""

MIN_SHIFT_S = -0.02
"""Bound of the shift that centres pictures on their times, s: half a picture at 25 a second. For files with a variable rate the
mean rate says little about single pictures, and a larger shift would misplace them."""

SEEK_MARGIN_S = 1.0
"""How much earlier than asked ffmpeg seeks, s, so that the picture which is still shown at the start time is decoded too."""

READ_BYTES = 1 << 20
"""Size of the pieces in which sound is read: half a minute at SAMPLE_RATE, little beside what the models take."""

SOUNDTRACK_RATE = 48000
"""Sampling rate of the sound of written videos, Hz: the usual one of video, and the highest that Opus has."""


def read_frames(
    path: Path,
    *,
    info: MediaInfo | None = None,
    crop: tuple[int, int, int, int] | None = None,
    size: tuple[int, int] | None = None,
    fps: float = FPS,
    start_s: float = 0.0,
    duration_s: float | None = None,
    footage: Path | None = None,
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Streams the pictures of a video as RGB, upright, with square pixels.

    Picture k is the one nearest to `start_s` + k / `fps` on the file's timeline. If the pictures start later than the sound,
    the first one is repeated up to its time.

    Args:
        path: the file.
        info: what probe() returned for it; without it the file is probed.
        crop: (x, y, width, height), px of a picture as shown, inside it; the whole picture by default.
        size: (width, height) to which the crop is scaled; its own size by default.
        fps: pictures per second.
        start_s: time of the first picture, s.
        duration_s: how much is read at most, s.
        footage: where to store the same pictures, uncropped, at footage_size(), for playing. They are written by the same decoding,
            and complete when the stream has ended.

    Raises:
        NotMedia: if nothing can be decoded.
        NoVideo: if the file has no pictures.
        DiskFull: if `footage` does not fit on the disk.
        MediaTooLarge, MediaTooLong: at the limits of probe() and of the process.
    """
    info = info or probe(path)
    if not info.has_video:
        raise NoVideo("The video has no pictures.")
    width, height = size or (crop or (0, 0, info.width, info.height))[2:]
    number = max(1, round((MAX_SECONDS if duration_s is None else duration_s) * fps))
    pictures = _pictures(path, info, fps, start_s)
    if footage is not None:
        split = pictures.filter_multi_output("split")
        pictures, stored = split[0], split[1]
    options = {"format": "rawvideo", "pix_fmt": "rgb24", "threads": THREADS, "frames:v": number}
    output = ffmpeg.output(_cropped(pictures, info, crop, size), "pipe:1", **options)
    if footage is not None:
        output = ffmpeg.merge_outputs(output, _footage_output(stored, info, footage, number))
    count = 0
    with running(output.global_args("-copyts")) as child:
        while True:
            frame = np.empty((height, width, 3), np.uint8)
            if child.stdout.readinto(memoryview(frame).cast("B")) < frame.nbytes:
                break
            count += 1
            yield frame
        child.wait()
        if error := child.error():
            raise error
    if count == 0:
        raise NotMedia("No picture of the video can be decoded.")


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
    source = open_audio(path, info)
    if soundtrack is not None:
        split = source.filter_multi_output("asplit")
        source, copied = split[0], split[1]
    speech = on_timeline(source, info).filter(
        "aformat", sample_rates=SAMPLE_RATE, channel_layouts="mono", sample_fmts="s16"
    )
    output = ffmpeg.output(speech, "pipe:1", format="s16le", t=duration_s)
    if soundtrack is not None:
        copy = soundtrack_of(copied, info)
        output = ffmpeg.merge_outputs(output, ffmpeg.output(copy, file_url(soundtrack), format="flac", t=duration_s))
    empty = True
    with running(output.global_args("-copyts")) as child:
        while chunk := child.stdout.read(READ_BYTES):
            empty = False
            yield np.frombuffer(chunk, np.int16, count=len(chunk) // 2).astype(np.float32) / 32768
        child.wait()
        if error := child.error():
            raise error
    if empty:
        raise NotMedia("No sound of the file can be decoded.")


def extract_audio(
    path: Path, *, info: MediaInfo | None = None, duration_s: float = MAX_SECONDS
) -> Float[np.ndarray, " samples"]:
    """Returns all of stream_audio() as one array."""
    return np.concatenate(list(stream_audio(path, info=info, duration_s=duration_s)))


def open_audio(path: Path, info: MediaInfo) -> FilterableStream:
    """Opens the first audio stream of a file.

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
    return untrusted_input(path)["a:0"]


def on_timeline(source: FilterableStream, info: MediaInfo) -> FilterableStream:
    """Moves an audio stream to its file's timeline: it starts at time zero, and gaps are filled with silence."""
    return source.filter("asetpts", f"PTS-({info.start_s})/TB").filter("aresample", **{"async": 1}, first_pts=0)


def soundtrack_of(source: FilterableStream, info: MediaInfo) -> FilterableStream:
    """Converts an audio stream to what the encoders of write_video() take: 48 kHz, one or two channels, 16 bit.

    The samples become integers because a sound file may hold NaN, which the encoders refuse.
    """
    resampled = on_timeline(source, info).filter("aformat", sample_rates=SOUNDTRACK_RATE, channel_layouts="mono|stereo")
    return resampled.filter("aformat", sample_fmts="s16")


def _pictures(path: Path, info: MediaInfo, fps: float, start_s: float) -> FilterableStream:
    """The pictures of a video from `start_s` on, `fps` a second, upright and with square pixels."""
    # The filter `fps` shows the last picture of the half-open step around k / fps. Shifted by half a step, less half a
    # picture of the file, this is the nearest one.
    shift = max(MIN_SHIFT_S, 0.5 / fps - 0.5 / info.fps) if info.fps else 0.0
    # No seeking to the very start: a Matroska file whose end, and with it the index, is cut off cannot do that.
    seek = {"ss": start_s - SEEK_MARGIN_S} if start_s > SEEK_MARGIN_S else {}
    return (
        untrusted_input(path, **seek)["V:0"]
        .filter("setpts", f"PTS-({info.start_s - shift})/TB")
        .filter("fps", fps, start_time=start_s)
        .filter("setpts", "N/FRAME_RATE/TB")
        .filter("scale", info.width, info.height, flags=SCALING)
    )


def _cropped(
    pictures: FilterableStream,
    info: MediaInfo,
    crop: tuple[int, int, int, int] | None,
    size: tuple[int, int] | None,
) -> FilterableStream:
    """A part of `pictures`, scaled to `size`."""
    if crop is not None:
        x, y, width, height = crop
        if min(x, y) < 0 or min(width, height) < 1 or x + width > info.width or y + height > info.height:
            raise ValueError(f"crop {crop} is not inside {info.width}x{info.height}")
        pictures = pictures.filter("crop", width, height, x, y, exact=1)
    return pictures if size is None else pictures.filter("scale", *size, flags=SCALING)


def _footage_output(pictures: FilterableStream, info: MediaInfo, path: Path, number: int) -> OutputStream:
    """Stores `number` of `pictures` as footage for playing: SDR, BT.709, tagged as such."""
    width, height = footage_size(info.width, info.height)
    if max(info.width - width, info.height - height) <= 1:  # an odd edge: nothing is scaled
        pictures = pictures.filter("crop", width, height, 0, 0, exact=1)
    pictures = (
        pictures.filter("scale", width, height, flags=SCALING, out_color_matrix="bt709", out_range="tv")
        .filter("format", "yuv420p")
        .filter("setparams", color_primaries="bt709", color_trc="bt709", colorspace="bt709", range="tv")
    )
    tags = dict.fromkeys(("colorspace", "color_primaries", "color_trc"), "bt709")
    return ffmpeg.output(
        pictures,
        file_url(path),
        format=FOOTAGE.format,
        threads=THREADS,
        **FOOTAGE.video,
        **tags,
        **{"frames:v": number},
    )
