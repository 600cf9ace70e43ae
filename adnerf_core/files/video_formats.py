"""The video formats that are written: their codecs, and the settings of encoders and muxers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class VideoFormat:
    """A kind of video file. All settings are options of ffmpeg.

    Attributes:
        format: ffmpeg's name of the container.
        video: video encoder and its settings.
        audio: audio encoder and its settings.
        muxing: settings of the container.
        alpha: further video settings for pictures with an alpha channel; None if the format has none.
    """

    format: str
    video: Mapping[str, Any]
    audio: Mapping[str, Any]
    muxing: Mapping[str, Any]
    alpha: Mapping[str, Any] | None = None

    @property
    def encoders(self) -> tuple[str, str]:
        """The names of the encoders that ffmpeg must have."""
        return self.video["c:v"], self.audio["c:a"]


MP4 = VideoFormat(
    format="mp4",
    # CRF 18 is hard to tell from the original; `veryfast` keeps encoding a small part of rendering.
    video={"c:v": "libx264", "preset": "veryfast", "crf": 18},
    audio={"c:a": "aac", "b:a": "160k"},
    muxing={"movflags": "+faststart"},  # playback starts before the download has ended
)
WEBM = VideoFormat(
    format="webm",
    # Constant quality needs a bit rate of 0. `realtime` takes a fifth of the time for an eighth more bytes.
    video={"c:v": "libvpx-vp9", "crf": 22, "b:v": 0, "deadline": "realtime", "cpu-used": 5, "row-mt": 1, "g": 50},
    audio={"c:a": "libopus", "b:a": "96k"},
    muxing={},
    # The alpha channel is a second video stream; hidden reference frames would make the two fall out of step.
    alpha={"auto-alt-ref": 0},
)
FORMATS = {".mp4": MP4, ".webm": WEBM}


def format_for(path: Path) -> VideoFormat:
    """Returns the format that the suffix of `path` names. Raises ValueError for another suffix."""
    try:
        return FORMATS[Path(path).suffix.lower()]
    except KeyError:
        raise ValueError(f"{Path(path).name}: videos are written as {' or '.join(FORMATS)}") from None
