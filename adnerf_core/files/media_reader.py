"""Decodes the pictures of videos, as streams: upright, progressive, square pixels, SDR with BT.709's colours.

A file has one timeline, whose zero is the container's start; pictures and sound (sound_reader.py) keep the offset to each other that
they have there. A damaged or truncated file counts as far as it can be decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ffmpeg
import numpy as np
from ffmpeg.nodes import FilterableStream, OutputStream
from jaxtyping import UInt8

from adnerf_core.config import FPS
from adnerf_core.errors import NotMedia, NoVideo
from adnerf_core.files.ffmpeg_process import THREADS, FfmpegProcess, file_url, running, untrusted_input
from adnerf_core.files.interlacing import PROGRESSIVE
from adnerf_core.files.media_info import MAX_SECONDS, MediaInfo, probe
from adnerf_core.files.timeline import beside_sound, merged
from adnerf_core.files.video_formats import FOOTAGE, FOOTAGE_EDGE, footage_size

SCALING = "bicubic+accurate_rnd+full_chroma_int"
"""Flags of ffmpeg's scaler: bicubic, with exact rounding and chroma at full resolution, since the colours are learnt from."""

COLOURS = {"filter": "bicubic", "param_a": 0, "param_b": 0.6}
"""Options of zimg's scaler, which converts planes of YUV: the kernel of ffmpeg's scaler. Its conversions between BT.601 and BT.709 are right to
a third of a level, while ffmpeg's goes through RGB of 8 bits and cuts off what is outside; and it takes a fifth of the time."""

QUICK_SCALING = "bilinear"
"""Those for pictures that are only looked at: colours are off by a level or two."""

MIN_SHIFT_S = -0.02
"""Bound of the shift that centres pictures on their times, s: half a picture at 25 a second. For files with a variable rate the
mean rate says little about single pictures, and a larger shift would misplace them."""

SEEK_MARGIN_S = 1.0
"""How much earlier than asked ffmpeg seeks, s, so that the picture which is still shown at the start time is decoded too."""

MIN_INTERLACED_EDGE = 16
"""Smallest edge of pictures that are deinterlaced, px: the filter refuses tiny ones, and nobody films them interlaced."""

HDR_WHITE, HDR_PEAK, HDR_KNEE = 203, 1000 / 203, 0.75
"""Converting HDR to SDR: the luminance, cd/m2, that becomes white (that of graphics and paper by ITU-R BT.2408); the brightest light of
HLG and of most PQ video over it; and the part of white up to which nothing is changed. Brighter parts are compressed."""


OTHER_MATRICES = ("ycgco", "ycgco-re", "ycgco-ro")
"""Matrices that ffmpeg's scaler does not know, by ffmpeg's names: those of recordings of screens."""

UNSCALED_MATRICES = (*OTHER_MATRICES, "bt2020c", "ictcp")
"""Matrices with which ffmpeg's scaler takes no pictures at all."""


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
    exact: bool = True,
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
        exact: whether the pictures that are returned are scaled and rounded exactly, to be learnt from; else in a third of the time.

    Raises:
        NotMedia: if nothing can be decoded, or its colours would be wrong.
        NoVideo: if the file has no pictures.
        DiskFull: if `footage` does not fit on the disk.
        MediaTooLarge, MediaTooLong: at the limits of probe() and of the process.
    """
    info = info or probe(path)
    _require_pictures(info)
    width, height = size or (crop or (0, 0, info.width, info.height))[2:]
    number = max(1, round((MAX_SECONDS if duration_s is None else duration_s) * fps))
    # No seeking to the very start: a Matroska file whose end, and with it the index, is cut off cannot do that.
    seek_s = max(0.0, start_s - SEEK_MARGIN_S)
    source = untrusted_input(path, **({"ss": seek_s} if seek_s else {}))
    whole = info.width, info.height
    if footage is not None and crop is None and max(width, height) <= FOOTAGE_EDGE < max(whole):
        whole = footage_size(*whole)  # nothing larger is wanted, and a 4K picture is scaled once
    pictures = _pictures(source, info, whole, fps, start_s, seek_s)
    if footage is not None:
        split = pictures.filter_multi_output("split")
        pictures, stored = split[0], split[1]
    options = {"format": "rawvideo", "pix_fmt": "rgb24", "threads": THREADS, "frames:v": number}
    cut = (crop or (0, 0, *whole))[2:]
    shown = _rgb(_cropped(pictures, info, crop), info, cut, (width, height), exact)
    outputs = [ffmpeg.output(shown, "pipe:1", **options)]
    if footage is not None:
        outputs.append(_footage_output(stored, info, whole, footage, number))
    outputs += beside_sound(source, info, number / fps)
    with running(merged(info, *outputs)) as child:
        yield from _raw_frames(child, height, width)


def _require_pictures(info: MediaInfo) -> None:
    """Raises NoVideo if a file has no pictures, and NotMedia if their colours would be wrong."""
    if not info.has_video:
        raise NoVideo("The video has no pictures.")
    if info.proprietary:
        raise NotMedia(
            "The video is Dolby Vision without a base layer (profile 5), whose colors other programs cannot read.",
            "Export it as SDR, HLG or HDR10, and send that.",
        )


def _raw_frames(child: FfmpegProcess, height: int, width: int) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Yields the pictures that ffmpeg writes as rgb24; raises what made it fail, or NotMedia if it has written none."""
    count = 0
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


def _pictures(
    source: FilterableStream, info: MediaInfo, size: tuple[int, int], fps: float, start_s: float, seek_s: float
) -> FilterableStream:
    """The pictures of a video from `start_s` on, `fps` a second, scaled to `size`; `source` begins at `seek_s`."""
    # The filter `fps` shows the last picture of the half-open step around k / fps. Shifted by half a step, less half a
    # picture of the file, this is the nearest one.
    shift = max(MIN_SHIFT_S, 0.5 / fps - 0.5 / info.fps) if info.fps else 0.0
    pictures = source[f"V:{info.video_stream}"]
    if info.fields != PROGRESSIVE and min(info.width, info.height) >= MIN_INTERLACED_EDGE:
        # Where only the file tells, pictures that are not marked as interlaced pass through.
        found = {"parity": info.fields, "deint": "all"} if info.fields else {"deint": "interlaced"}
        pictures = pictures.filter("bwdif", mode="send_frame", **found)
    pictures = (
        pictures.filter("setpts", f"PTS+({seek_s + shift})/TB")
        .filter("fps", fps, start_time=start_s)
        .filter("setpts", "N/FRAME_RATE/TB")
    )
    if info.hdr:
        pictures = _sdr(pictures, info)
    elif info.wide_gamut or info.matrix in OTHER_MATRICES:
        pictures = _bt709(pictures, info)
    elif info.untagged_hd:
        pictures = pictures.filter("setparams", colorspace="bt709")  # ffmpeg would take BT.601
    return pictures.filter("scale", *size, flags=SCALING)


def _sdr(pictures: FilterableStream, info: MediaInfo) -> FilterableStream:
    """Converts HDR pictures to RGB with BT.709's primaries and transfer function; a picture of paper stays as bright as in SDR."""
    tagged = _tagged(pictures, info, "bt2020", "bt2020nc")
    light = tagged.filter("zscale", transfer="linear", npl=HDR_WHITE).filter("format", "gbrpf32le")
    toned = light.filter("zscale", primaries="bt709").filter(
        "tonemap", "mobius", param=HDR_KNEE, desat=0, peak=HDR_PEAK
    )
    return toned.filter("zscale", transfer="bt709", range="full").filter("format", "gbrp")


def _bt709(pictures: FilterableStream, info: MediaInfo) -> FilterableStream:
    """Converts SDR pictures to RGB with BT.709's primaries; colours that it does not have become the nearest ones."""
    tagged = _tagged(pictures, info, "bt709", "bt709")
    converted = tagged.filter("zscale", matrix="gbr", primaries="bt709", transfer="bt709", range="full")
    return converted.filter("format", "gbrp")


def _tagged(pictures: FilterableStream, info: MediaInfo, primaries: str, matrix: str) -> FilterableStream:
    """Pictures with all tags that the conversion of colours needs: the given ones where the file has none.

    Pictures larger than footage is kept are scaled down first, if ffmpeg's scaler can, since the conversion is slow.
    """
    if max(info.width, info.height) > FOOTAGE_EDGE and info.matrix not in UNSCALED_MATRICES:
        pictures = pictures.filter("scale", *footage_size(info.width, info.height), flags=SCALING)
    return pictures.filter(
        "setparams",
        color_primaries=info.primaries or primaries,
        color_trc=info.transfer or "bt709",
        colorspace=info.matrix or matrix,
        range="full" if info.full_range else "limited",
    )


def _cropped(pictures: FilterableStream, info: MediaInfo, crop: tuple[int, int, int, int] | None) -> FilterableStream:
    """A part of `pictures`; all by default."""
    if crop is None:
        return pictures
    x, y, width, height = crop
    if min(x, y) < 0 or min(width, height) < 1 or x + width > info.width or y + height > info.height:
        raise ValueError(f"crop {crop} is not inside {info.width}x{info.height}")
    return pictures.filter("crop", width, height, x, y, exact=1)


def _rgb(
    pictures: FilterableStream, info: MediaInfo, cut: tuple[int, int], size: tuple[int, int], exact: bool
) -> FilterableStream:
    """`pictures` of the size `cut`, scaled to `size`, for an output that is RGB."""
    if exact and _zimg_takes(info, *cut, *size):
        # The colours lie in the middle of four pixels, as yuv.py has it and ffmpeg's scaler too.
        pictures = pictures.filter(
            "zscale", *size, **COLOURS, **_described(info), chromalin="center", matrix="gbr", range="full"
        )
        return pictures.filter("format", "gbrp")
    return pictures.filter("scale", *size, flags=SCALING if exact else QUICK_SCALING)


def _zimg_takes(info: MediaInfo, *edges: int) -> bool:
    """Whether zimg converts the pictures, which have these edges before and after: YUV of a known matrix and even edges.

    HDR, and SDR with a wide gamut, are RGB by then.
    """
    return bool(info.plane_matrix) and not (info.hdr or info.wide_gamut or any(edge % 2 for edge in edges))


def _described(info: MediaInfo) -> dict[str, str]:
    """Options that tell zimg what the pictures are."""
    return {"matrixin": info.plane_matrix, "rangein": "full" if info.full_range else "limited"}


def _footage_output(
    pictures: FilterableStream, info: MediaInfo, whole: tuple[int, int], path: Path, number: int
) -> OutputStream:
    """Stores `number` of `pictures` of the size `whole` as footage for playing: SDR, BT.709, tagged as such."""
    width, height = footage_size(info.width, info.height)
    if max(info.width - width, info.height - height) <= 1:  # an odd edge: nothing is scaled
        pictures, whole = pictures.filter("crop", width, height, 0, 0, exact=1), (width, height)
    if _zimg_takes(info, *whole):
        colours = {**COLOURS, **_described(info), "matrix": "bt709", "range": "limited"}
        pictures = pictures.filter("zscale", width, height, **colours)
    else:
        pictures = pictures.filter("scale", width, height, flags=SCALING, out_color_matrix="bt709", out_range="tv")
    pictures = (
        # Square pixels: an edge that was rounded would make them 0.99:1, and readers change the width for it.
        pictures.filter("format", "yuv420p")
        .filter("setparams", color_primaries="bt709", color_trc="bt709", colorspace="bt709", range="tv")
        .filter("setsar", 1)
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
