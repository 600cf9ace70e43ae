"""Encodes videos and writes WAV files."""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path

import ffmpeg
import numpy as np
from ffmpeg.nodes import FilterableStream
from jaxtyping import Float

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.errors import NotMedia
from adnerf_core.files.ffmpeg_choice import writable_format
from adnerf_core.files.ffmpeg_process import THREADS, file_url, running
from adnerf_core.files.media_reader import SCALING
from adnerf_core.files.run_dir import atomic, temporary_beside
from adnerf_core.files.sound_reader import write_soundtrack
from adnerf_core.files.video_formats import VideoFormat

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

    Raises:
        MissingBackend: if ffmpeg lacks an encoder.
        DiskFull: if the video does not fit on the disk.
        NoAudio, NotMedia, MediaTooLarge, MediaTooLong: for `audio`, as stream_audio() does.
        ValueError: without frames, for frames of unequal shape, or for another suffix of `path`.
    """
    container = container or writable_format(path)
    if audio is not None and soundtrack is None:
        with temporary_beside(Path(path).with_suffix(".flac")) as decoded:  # before the frames are drawn
            write_soundtrack(audio, decoded)
            return write_video(path, frames, fps=fps, soundtrack=decoded, duration_s=duration_s, container=container)
    sound = None if soundtrack is None else ffmpeg.input(file_url(soundtrack))["a:0"]
    frames = islice(frames, None if duration_s is None else max(1, round(duration_s * fps)))
    with atomic(Path(path)) as temporary:
        silent = temporary.with_name(f"{temporary.stem}.silent{temporary.suffix}")
        try:
            count = _encode(silent, frames, fps, container)
            streams = [ffmpeg.input(file_url(silent))["v"]]
            if sound is not None:
                streams.append(sound.filter("apad", whole_dur=count / fps).filter("atrim", end=count / fps))
            options = {"c:v": "copy", **container.audio, **container.muxing}
            output = ffmpeg.output(*streams, file_url(temporary), format=container.format, **options)
            with running(output.global_args("-copyts")) as child:
                if child.wait() != 0:
                    raise child.error() or NotMedia("The sound of the file cannot be used.")
        finally:
            silent.unlink(missing_ok=True)
    return count


def _raw_pictures(shape: tuple[int, ...], fps: float) -> FilterableStream:
    """The pictures that come through the pipe as arrays of `shape`, as YUV 4:2:0 (with alpha, if they have it)."""
    planar, alpha = len(shape) == 2, shape[2:] == (4,)
    size = (shape[1], shape[0] * 2 // 3 if planar else shape[0])
    pixels = "yuv420p" if planar else "rgba" if alpha else "rgb24"
    pictures = ffmpeg.input("pipe:0", framerate=fps, format="rawvideo", pix_fmt=pixels, video_size=size)
    if not planar:
        # Players read untagged video as BT.709 or BT.601 as they like, so convert to one of them and tag it.
        pictures = pictures.filter("pad", "ceil(iw/2)*2", "ceil(ih/2)*2").filter(
            "scale", flags=SCALING, out_color_matrix="bt709", out_range="tv"
        )
    tags = dict.fromkeys(("color_primaries", "color_trc", "colorspace"), "bt709")
    return pictures.filter("format", "yuva420p" if alpha else "yuv420p").filter("setparams", range="tv", **tags)


def _encode(path: Path, frames: Iterable[np.ndarray], fps: float, container: VideoFormat) -> int:
    """Encodes frames into a file without sound; returns their number."""
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
    options = {**container.video, **(container.alpha if alpha else {}), "threads": THREADS, **tags}
    count = 0
    output = ffmpeg.output(pictures, file_url(path), format=container.format, **options)
    with running(output, stdin=subprocess.PIPE) as child:
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
