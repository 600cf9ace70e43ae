"""ffmpeg's description of its input: the streams with their sizes, colours and rates.

ffprobe, which would give them as JSON, is not part of imageio-ffmpeg. The tests compare the results between versions of ffmpeg.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FIELD_ORDERS = ("top first", "bottom first", "top coded first (swapped)", "bottom coded first (swapped)")
"""How ffmpeg names the orders of the fields of interlaced pictures."""


@dataclass(frozen=True)
class VideoStream:
    """A video stream as its headers describe it.

    Attributes:
        width: of a picture as it is shown (rotated, with square pixels), px; 0 if it is not known.
        height: likewise.
        stored: width and height of the pictures as they are stored, px.
        fps: frame rate; in Matroska it is that of the usual distance between pictures, and does not show gaps. 0 if unknown.
        pixels: pixel format, such as `yuv420p`.
        full_range: whether black is 0 and white 255, instead of 16 and 235.
        matrix: of the conversion to RGB, such as `bt709`; empty if untagged.
        primaries: likewise.
        transfer: likewise, such as `arib-std-b67` (HLG).
        interlaced: whether the pictures consist of two fields.
        proprietary: whether only Dolby Vision can tell the colours: profile 5, and others without a base layer.
    """

    width: int = 0
    height: int = 0
    stored: tuple[int, int] = (0, 0)
    fps: float = 0.0
    pixels: str = ""
    full_range: bool = False
    matrix: str = ""
    primaries: str = ""
    transfer: str = ""
    interlaced: bool = False
    proprietary: bool = False


@dataclass(frozen=True)
class AudioStream:
    """An audio stream as its headers describe it.

    Attributes:
        rate: samples a second; 0 if it is not known.
        channels: 1 for mono, 2 for anything else.
        default: whether players take it by default.
    """

    rate: int = 0
    channels: int = 2
    default: bool = False


@dataclass(frozen=True)
class Description:
    """A file as its headers describe it.

    Attributes:
        container: name of the demuxer, such as `mov`.
        duration_s: stated length, s; 0 if none is stated.
        videos: video streams without cover pictures, in their order.
        audios: audio streams, in their order.
    """

    container: str
    duration_s: float
    videos: list[VideoStream]
    audios: list[AudioStream]


def parse_description(log: str) -> Description:
    """Parses what ffmpeg prints about its input."""
    text = re.split(r"^Output #0", log, maxsplit=1, flags=re.M)[0]
    container = re.search(r"^Input #0, ([^,]+)", text, re.M)
    stated = re.search(r"^  Duration: (\d+):(\d+):([\d.]+)", text, re.M)
    seconds = (
        sum(float(part) * unit for part, unit in zip(stated.groups(), (3600, 60, 1), strict=True)) if stated else 0
    )
    streams = re.split(r"^ {2,4}(?=Stream #0:\d+)", text, flags=re.M)[1:]
    videos = [s for s in streams if re.match(r"Stream #\S+: Video: ", s) and "(attached pic)" not in s.split("\n")[0]]
    audios = [s for s in streams if re.match(r"Stream #\S+: Audio: ", s)]
    return Description(
        container[1] if container else "",
        float(seconds),
        [_video(stream) for stream in videos],
        [_audio(stream.split("\n")[0]) for stream in audios],
    )


def _audio(line: str) -> AudioStream:
    match = re.search(r"\b([1-9]\d*) Hz(?:, ([^,]+))?", line)
    if match is None:
        return AudioStream()
    mono = re.match(r"mono|1 channels", match[2] or "") is not None
    return AudioStream(int(match[1]), 1 if mono else 2, "(default)" in line)


def _video(stream: str) -> VideoStream:
    line = stream.split("\n")[0]
    found = re.search(r", (?:(\w+)(?:\((.*?)\))?, )?(\d+)x(\d+)(?: \[SAR (\d+):(\d+))?", line)
    if found is None:
        return VideoStream()
    pixels, details = found[1] or "", (found[2] or "").split(", ")
    stored_width, height, aspect_width, aspect_height = (int(number or 1) for number in found.groups()[2:])
    width = max(1, round(stored_width * aspect_width / aspect_height))
    rotation = re.search(r"^\s+display ?matrix: rotation of (-?[\d.]+) degrees", stream, re.M | re.I)
    turned = rotation is not None and round(float(rotation[1])) % 180 == 90
    rate = re.search(r", ([\d.]+)(k?) (?:fps|tbr)", line)
    matrix, primaries, transfer = _colours(details)
    return VideoStream(
        width=height if turned else width,
        height=width if turned else height,
        stored=(stored_width, height),
        fps=float(rate[1]) * (1000 if rate[2] else 1) if rate else 0.0,
        pixels=pixels,
        full_range="pc" in details or pixels.startswith("yuvj"),
        matrix=matrix,
        primaries=primaries,
        transfer=transfer,
        interlaced=any(order in details for order in FIELD_ORDERS),
        proprietary=_is_proprietary(stream),
    )


def _is_proprietary(stream: str) -> bool:
    """Whether a stream is Dolby Vision that is not compatible with anything else: profile 5, or compatibility 0 of those after 8."""
    found = re.search(r"DOVI configuration record: .*profile: (\d+).*compatibility id: (\d+)", stream)
    return found is not None and (found[1] == "5" or (int(found[1]) > 8 and found[2] == "0"))


def _colours(details: list[str]) -> tuple[str, str, str]:
    """The matrix, primaries and transfer function among the details of a pixel format; empty if they are not tagged."""
    for detail in details:
        if detail.count("/") == 2:
            matrix, primaries, transfer = (
                "" if name in ("unknown", "reserved") else name for name in detail.split("/")
            )
            return matrix, primaries, transfer
        if re.match(r"bt\d|smpte|fcc|ycgco|gbr|film|ictcp", detail):  # one name for all three
            return detail, detail, detail
    return "", "", ""
