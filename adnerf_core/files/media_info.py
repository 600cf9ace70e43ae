"""What a media file holds: its streams, their properties, and how long they really are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from adnerf_core.errors import MediaTooLarge, MediaTooLong, NotMedia
from adnerf_core.files.ffmpeg_process import MAX_PIXELS, running, untrusted_input

MAX_SECONDS = 3 * 3600
"""Longest file that is read, s: longer than any footage or audio that is used (600 s and 2 h), so that a recording with
something to cut off still gets a precise answer, and short enough to bound the work of a single request."""

HEADER_TOLERANCE_S = 0.5
"""Difference between the header's and the measured duration up to which the header is taken, since it is the more precise one.
A truncated file is off by more than that; rounding and the last packet's length are off by less."""


@dataclass(frozen=True)
class MediaInfo:
    """What a file holds.

    Attributes:
        duration_s: length of what can be read, s.
        start_s: the container's time at our zero, s.
        has_video: whether there is a video stream (a cover picture is none).
        has_audio: whether there is an audio stream.
        width: width of a picture as it is shown (rotated, with square pixels), px; 0 without video.
        height: height, likewise.
        fps: frame rate as the file states it; in Matroska it is that of the usual distance between pictures, and does not
            show gaps. 0 without video.
        pictures: the number of pictures in the file; 0 without video.
        sample_rate: audio samples per second; 0 without audio.
    """

    duration_s: float
    start_s: float
    has_video: bool
    has_audio: bool
    width: int = 0
    height: int = 0
    fps: float = 0.0
    pictures: int = 0
    sample_rate: int = 0


def probe(path: Path) -> MediaInfo:
    """Reads a file through, without decoding it, and returns what it holds.

    Reading to the end is necessary because headers are wrong in truncated files and missing in browser recordings.

    Raises:
        NotMedia: if ffmpeg cannot read it, or its format is not on the allow-list.
        MediaTooLarge: if its pictures have more than MAX_PIXELS.
        MediaTooLong: if it lasts longer than MAX_SECONDS.
    """
    source = untrusted_input(path)
    copy = ffmpeg.output(source["V:0?"], source["a:0?"], "pipe:1", format="null", codec="copy")
    with running(copy.global_args("-progress", "pipe:1"), loglevel="info") as child:
        progress = child.stdout.read().decode(errors="replace")
        child.wait()
        info = _parse(child.log(), progress)
        if info.width * info.height > MAX_PIXELS:
            raise MediaTooLarge(f"The pictures have {info.width}x{info.height} pixels.")
        if not info.has_video and (error := child.error()):  # pictures too large for ffmpeg to state their size
            raise error
        if not info.has_video and not info.has_audio:
            raise NotMedia("The file is not a video or audio file that can be read.")
    if info.duration_s > MAX_SECONDS:
        raise MediaTooLong(f"The file lasts {info.duration_s / 3600:.1f} h; the limit is {MAX_SECONDS / 3600:.0f} h.")
    return info


def _parse(log: str, progress: str) -> MediaInfo:
    """Parses ffmpeg's description of its input (`log`) and its `-progress` report."""
    description = re.split(r"^Output #0", log, maxsplit=1, flags=re.M)[0]
    header = re.search(r"^  Duration: (?:N/A|(\d+):(\d+):([\d.]+))(?:, start: (-?[\d.]+))?", description, re.M)
    hours, minutes, seconds, start = header.groups() if header else (None,) * 4
    stated = float(hours) * 3600 + float(minutes) * 60 + float(seconds) if hours else 0.0
    ends = re.findall(r"^out_time=(\d+):(\d+):([\d.]+)", progress, re.M)
    measured = sum(float(part) * unit for part, unit in zip(ends[-1], (3600, 60, 1), strict=True)) if ends else 0.0
    duration = stated if abs(stated - measured) < HEADER_TOLERANCE_S else measured
    counts = re.findall(r"^frame=\s*(\d+)", progress, re.M)

    streams = re.split(r"^ {2,4}(?=Stream #0:\d+)", description, flags=re.M)[1:]
    videos = [s for s in streams if re.match(r"Stream #\S+: Video: ", s) and "(attached pic)" not in s.split("\n")[0]]
    rates = [int(match[1]) for s in streams if (match := re.match(r"Stream #\S+: Audio: .*\b([1-9]\d*) Hz", s))]
    width, height, fps = _parse_video_stream(videos[0]) if videos else (0, 0, 0.0)
    pictures = int(counts[-1]) if counts and width else 0
    rate = rates[0] if rates else 0
    return MediaInfo(duration, float(start or 0), width > 0, bool(rates), width, height, fps, pictures, rate)


def _parse_video_stream(stream: str) -> tuple[int, int, float]:
    """Width and height (as shown) and frame rate from ffmpeg's description of a video stream; zeros if it lacks them."""
    line = stream.split("\n")[0]
    dimensions = re.search(r", (\d+)x(\d+)(?: \[SAR (\d+):(\d+))?", line)
    if dimensions is None:
        return 0, 0, 0.0
    width, height, aspect_width, aspect_height = (int(number or 1) for number in dimensions.groups())
    width = max(1, round(width * aspect_width / aspect_height))
    rotation = re.search(r"rotation of (-?[\d.]+) degrees", stream)
    if rotation and round(float(rotation[1])) % 180 == 90:
        width, height = height, width
    rate = re.search(r", ([\d.]+)(k?) (?:fps|tbr)", line)
    return width, height, float(rate[1]) * (1000 if rate[2] else 1) if rate else 0.0
