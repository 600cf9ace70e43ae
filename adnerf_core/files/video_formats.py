"""What a video file is made of: containers with their codecs and the settings they are written with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class VideoFormat:
    """One kind of video file.

    video, audio: ffmpeg's encoders and their settings; alpha: what comes on top for pictures with an alpha channel, None where
    the format has none; muxing: settings of the file itself.
    """

    format: str
    video: Mapping[str, Any]
    audio: Mapping[str, Any]
    muxing: Mapping[str, Any]
    alpha: Mapping[str, Any] | None = None

    @property
    def encoders(self) -> tuple[str, str]:
        """The encoders that ffmpeg must have."""
        return self.video["c:v"], self.audio["c:a"]


MP4 = VideoFormat(
    format="mp4",
    video={"c:v": "libx264", "preset": "veryfast", "crf": 18},
    audio={"c:a": "aac", "b:a": "160k"},
    muxing={"movflags": "+faststart"},
)
WEBM = VideoFormat(
    format="webm",
    # Constant quality needs a bit rate of 0; `realtime` costs a fifth of the time, for an eighth more bytes.
    video={"c:v": "libvpx-vp9", "crf": 22, "b:v": 0, "deadline": "realtime", "cpu-used": 5, "row-mt": 1, "g": 50},
    audio={"c:a": "libopus", "b:a": "96k"},
    muxing={},
    # The alpha channel is a second stream of pictures; hidden reference frames would put the two out of step.
    alpha={"auto-alt-ref": 0},
)
CONTAINERS = {".mp4": MP4, ".webm": WEBM}


def format_for(path: Path) -> VideoFormat:
    """The container that a file's name asks for. Raises ValueError for an ending that is not written."""
    try:
        return CONTAINERS[Path(path).suffix.lower()]
    except KeyError:
        raise ValueError(f"{Path(path).name}: videos are written as {' or '.join(CONTAINERS)}") from None
