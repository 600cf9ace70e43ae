"""The playlist of a stream, in the form of HLS (RFC 8216 and its successor, draft-pantos-hls-rfc8216bis)."""

from __future__ import annotations

from itertools import count, takewhile
from urllib.parse import urlencode

from adnerf_core.config import FPS, SEGMENT_FRAMES
from adnerf_core.files.fragments import frames_before
from api.services.streams import Stream
from storage.tables import streams

MEDIA_TYPE = "application/vnd.apple.mpegurl"
SEQUENCE = 100_000
"""Distance between the numbers of the first segments of two attempts: more than an attempt has, which renders two hours at most. To a
player that asks without naming an attempt, a new one looks like later segments, and is never taken for those that it has."""


def playlist(stream: Stream, access: str | None = None) -> str:
    """Returns the media playlist of a stream. It only grows: its first lines stay the same until the attempt ends.

    `access` is that of the link by which it is read; the segments are then read by the same.
    """
    folder, query = f"stream/{stream.attempt}", f"?{urlencode({'access': access})}" if access else ""
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{SEGMENT_FRAMES // FPS}",
        f"#EXT-X-MEDIA-SEQUENCE:{stream.attempt * SEQUENCE}",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "#EXT-X-START:TIME-OFFSET=0",  # else players begin where the rendering is
        f'#EXT-X-MAP:URI="{folder}/{streams.HEADER}{query}"',
    ]
    for number in takewhile(lambda number: frames_before(number) < stream.frames, count()):
        frames = min(stream.frames, frames_before(number + 1)) - frames_before(number)
        lines += [f"#EXTINF:{frames / FPS:.2f},", f"{folder}/{streams.segment(number)}{query}"]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if stream.ended else []), ""])
