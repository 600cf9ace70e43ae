"""Watches a video while it is rendered: the segments of its stream, one after the other, are one fragmented MP4."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from adnerf_client.connection import Connection, parse
from adnerf_client.errors import BadUse, Lost, NotFound
from adnerf_client.models import Video
from adnerf_client.waiting import job_error

LOOK_S = 0.5
"""Seconds between two looks at a playlist, which gets a segment for every second of video."""


def watch(connection: Connection, path: str) -> Iterator[bytes]:
    """Yields a video, as fragmented MP4, while it is rendered; waits until its rendering begins.

    Args:
        connection: The connection to the service.
        path: Path of the video at the service.

    Raises:
        BadUse: The video is ready already, or cannot be watched.
        JobFailed, JobCancelled: The rendering ended without a video.
        Lost: The worker was lost; the next attempt begins from the start, with other segments.
        NotFound: The video was deleted.
    """
    playlist = _playlist_of(connection, path)
    known: list[str] = []
    while True:
        try:
            text = connection.send("GET", playlist).text
        except NotFound as error:
            _playlist_of(connection, path)  # says what became of the video
            raise Lost("The worker was lost.", "Watch the video again: it is rendered once more.") from error
        pieces = [*re.findall(r'#EXT-X-MAP:URI="([^"]+)"', text), *re.findall(r"^[^#\s].*$", text, re.MULTILINE)]
        for piece in pieces[len(known) :]:
            with connection.stream(f"{path}/{piece}") as response:
                yield response.read()
        known = pieces
        if "#EXT-X-ENDLIST" in text:
            return
        time.sleep(LOOK_S)


def _playlist_of(connection: Connection, path: str) -> str:
    """Waits for the stream of a video, and returns the path of its playlist."""
    while True:
        answer = connection.send("GET", path)
        video = parse(Video, answer)
        if link := answer.json()["links"].get("stream"):
            return link
        if video.state in ("failed", "cancelled"):
            raise job_error(video, video.job)
        if video.state == "ready" or video.options.format == "webm":
            raise BadUse(
                "The video cannot be watched while it is rendered, or not any more.", "Download it once it is ready."
            )
        time.sleep(LOOK_S)
