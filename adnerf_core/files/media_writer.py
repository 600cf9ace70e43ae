"""Encodes videos and writes WAV files."""

from __future__ import annotations

import subprocess
import threading
import wave
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

import ffmpeg
import numpy as np
from ffmpeg.nodes import FilterableStream
from jaxtyping import Float

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.errors import NotMedia
from adnerf_core.files.ffmpeg_choice import writable_format
from adnerf_core.files.ffmpeg_process import THREADS, FfmpegProcess, file_url, running
from adnerf_core.files.fragments import TakesPieces, copy_pieces
from adnerf_core.files.hardware_encoder import hardware_encoder
from adnerf_core.files.media_reader import SCALING
from adnerf_core.files.run_dir import atomic, temporary_beside
from adnerf_core.files.sound_reader import write_soundtrack
from adnerf_core.files.video_formats import MP4, WATCHED, WATCHED_X264, VideoFormat

WAV_PIECE = 1 << 20
"""Samples that write_wav() converts at a time, so that hours of sound are not copied as a whole."""


def write_wav(path: Path, samples: Float[np.ndarray, " samples"], rate: int = SAMPLE_RATE) -> None:
    """Writes samples of -1..1 (values beyond are clipped) as a mono 16-bit WAV, atomically. Raises DiskFull."""
    with atomic(Path(path)) as temporary, wave.open(str(temporary), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", None))
        for start in range(0, len(samples), WAV_PIECE):
            piece = np.clip(np.asarray(samples[start : start + WAV_PIECE]) * 32768, -32768, 32767)
            file.writeframesraw(np.rint(piece).astype("<i2").tobytes())


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: float = FPS,
    audio: Path | None = None,
    soundtrack: Path | None = None,
    duration_s: float | None = None,
    container: VideoFormat | None = None,
    watch: TakesPieces | None = None,
    hardware: bool = False,
) -> int:
    """Encodes frames as a video, atomically, and returns their number.

    Frames are encoded as they come, so the memory does not grow with the length. An odd width or height gets one more column
    or row of black. The sound is cut, or padded with silence, to the length of the pictures.

    Args:
        path: .mp4 (H.264 yuv420p, AAC, faststart) or .webm (VP9, Opus).
        frames: uint8, all alike: [height, width, 3] RGB; for WebM also [height, width, 4] with straight (not premultiplied) alpha; or
            [height * 3 / 2, width], planes of YUV (see yuv.py), which are not converted.
        fps: frames per second.
        audio: any file with sound, used from its time zero on.
        soundtrack: instead of `audio`, a file that stream_audio() wrote: neither probed nor decoded from the source again.
        duration_s: if given, the video ends after round(`duration_s` * `fps`) frames, but has at least one.
        container: what writable_format(`path`) returned, if the caller has called it.
        watch: receives the video as a fragmented MP4 while it is encoded, sound included: the same encoding, with more key frames. For
            MP4 of a given `duration_s`.
        hardware: encode on a GPU if that works here (see hardware_encoder.py); else, and with alpha, on the CPU.

    Raises:
        MissingBackend: if ffmpeg lacks an encoder.
        DiskFull: if the video does not fit on the disk.
        NoAudio, NotMedia, MediaTooLarge, MediaTooLong: for `audio`, as stream_audio() does.
        ValueError: without frames, for frames of unequal shape, for another suffix of `path`, or where `watch` is not possible.
    """
    container = container or writable_format(path)
    if watch is not None and (container is not MP4 or duration_s is None):
        raise ValueError("only an MP4 of a known length can be watched while it is written")
    if audio is not None and soundtrack is None:
        with temporary_beside(Path(path).with_suffix(".flac")) as decoded:  # before the frames are drawn
            write_soundtrack(audio, decoded)
            known = {"fps": fps, "duration_s": duration_s, "container": container, "watch": watch, "hardware": hardware}
            return write_video(path, frames, soundtrack=decoded, **known)
    count = None if duration_s is None else max(1, round(duration_s * fps))
    with atomic(Path(path)) as temporary:
        encoded = temporary.with_name(f"{temporary.stem}.encoded{temporary.suffix}")
        try:
            frames = islice(frames, count)
            if watch is None:
                count = _encode(encoded, frames, fps, container, hardware)
                streams = [ffmpeg.input(file_url(encoded))["v"], *_sound(soundtrack, count / fps)]
                _mux(temporary, streams, container, {"c:v": "copy", **container.audio})
            else:
                count = _encode(encoded, frames, fps, container, hardware, _sound(soundtrack, count / fps), watch)
                _mux(temporary, [ffmpeg.input(file_url(encoded))], container, {"c": "copy"})
        finally:
            encoded.unlink(missing_ok=True)
    return count


def _mux(path: Path, streams: Sequence[FilterableStream], container: VideoFormat, codecs: Mapping[str, str]) -> None:
    """Writes encoded pictures, and their sound, as a finished file."""
    output = ffmpeg.output(*streams, file_url(path), format=container.format, **codecs, **container.muxing)
    with running(output.global_args("-copyts")) as child:
        if child.wait() != 0:
            raise child.error() or NotMedia("The sound of the file cannot be used.")


def _sound(soundtrack: Path | None, seconds: float) -> list[FilterableStream]:
    """The sound of a file, cut or padded with silence; none without a file."""
    if soundtrack is None:
        return []
    sound = ffmpeg.input(file_url(soundtrack))["a:0"]
    return [sound.filter("apad", whole_dur=seconds).filter("atrim", end=seconds)]


def _picture_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Returns width and height of pictures that are given as arrays of `shape`."""
    return shape[1], shape[0] * 2 // 3 if len(shape) == 2 else shape[0]


def _raw_pictures(shape: tuple[int, ...], fps: float) -> FilterableStream:
    """The pictures that come through the pipe as arrays of `shape`, as YUV 4:2:0 (with alpha, if they have it)."""
    planar, alpha, size = len(shape) == 2, shape[2:] == (4,), _picture_size(shape)
    pixels = "yuv420p" if planar else "rgba" if alpha else "rgb24"
    pictures = ffmpeg.input("pipe:0", framerate=fps, format="rawvideo", pix_fmt=pixels, video_size=size)
    if not planar:
        # Players read untagged video as BT.709 or BT.601 as they like, so convert to one of them and tag it.
        pictures = pictures.filter("pad", "ceil(iw/2)*2", "ceil(ih/2)*2").filter(
            "scale", flags=SCALING, out_color_matrix="bt709", out_range="tv"
        )
    tags = dict.fromkeys(("color_primaries", "color_trc", "colorspace"), "bt709")
    return pictures.filter("format", "yuva420p" if alpha else "yuv420p").filter("setparams", range="tv", **tags)


def _encode(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: float,
    container: VideoFormat,
    hardware: bool,
    sound: Sequence[FilterableStream] = (),
    watch: TakesPieces | None = None,
) -> int:
    """Encodes frames into a file; returns their number. If it is watched, it is fragmented, and has the sound as well."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    shape, alpha = first.shape, first.ndim == 3 and first.shape[2] == 4
    if alpha and container.alpha is None:
        raise ValueError(f"{container.format} has no alpha channel")
    pictures = _raw_pictures(shape, fps)
    # The tags again for the encoder: newer versions of ffmpeg take them from the pictures, older ones from the options.
    tags = dict.fromkeys(("colorspace", "color_primaries", "color_trc"), "bt709")
    size = (edge + edge % 2 for edge in _picture_size(shape))
    by_gpu = hardware_encoder(container, *size) if hardware and not alpha else None
    video = by_gpu or {**container.video, **(container.alpha if alpha else {})}
    options = {**video, "threads": THREADS, **tags}
    count = 0
    if watch is None:
        output = ffmpeg.output(pictures, file_url(path), format=container.format, **options)
    else:
        options |= {**(container.audio if sound else {}), **WATCHED, **({} if by_gpu else WATCHED_X264)}
        output = ffmpeg.output(pictures, *sound, "pipe:1", format=container.format, **options)
    with running(output, stdin=subprocess.PIPE, limits_memory=by_gpu is None) as child, _copied(child, path, watch):
        try:
            for frame in chain([first], frames):
                if frame.shape != shape or frame.dtype != np.uint8:
                    raise ValueError(f"frame {count} is {frame.shape} {frame.dtype}; {shape} uint8 is needed")
                child.stdin.write(np.ascontiguousarray(frame).data)
                count += 1
            child.stdin.close()
        except BrokenPipeError:  # ffmpeg has ended early: its exit status and log say why
            pass
        if child.wait() != 0:
            raise child.error() or OSError(f"ffmpeg could not encode {path.name}: {child.log()[-500:]}")
    return count


@contextmanager
def _copied(child: FfmpegProcess, path: Path, watch: TakesPieces | None) -> Iterator[None]:
    """While the block runs, what `child` writes is copied to `path` and given to `watch`; without one, it writes the file itself."""
    if watch is None:
        yield
        return
    failures: list[OSError] = []

    def copy() -> None:
        try:
            with path.open("wb") as file:
                copy_pieces(child.stdout, file, watch)
        except OSError as error:  # the disk is full
            failures.append(error)
            child.kill()

    thread = threading.Thread(target=copy, name=f"pieces of {path.name}", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        child.kill()  # else it would never be read to its end
        raise
    finally:
        thread.join()
        if failures:
            raise failures[0]
