"""The video formats that are written: their codecs, and the settings of encoders and muxers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adnerf_core.config import FIRST_SEGMENT_FRAMES, SEGMENT_FRAMES


@dataclass(frozen=True)
class VideoFormat:
    """A kind of video file. All settings are options of ffmpeg.

    Attributes:
        format: ffmpeg's name of the container.
        video: video encoder and its settings.
        audio: audio encoder and its settings.
        muxing: settings of the container.
        alpha: further video settings for pictures with an alpha channel; None if the format has none.
        hardware: encoder of a GPU and its settings, instead of `video`; None if there is none.
    """

    format: str
    video: Mapping[str, Any]
    audio: Mapping[str, Any]
    muxing: Mapping[str, Any]
    alpha: Mapping[str, Any] | None = None
    hardware: Mapping[str, Any] | None = None

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
    # NVENC's middle preset, at a constant quality near that of CRF 18. Unmeasured: no device was at hand.
    hardware={"c:v": "h264_nvenc", "preset": "p4", "rc": "vbr", "cq": 19, "b:v": 0, "forced-idr": 1},
)
WATCHED = {
    "g": SEGMENT_FRAMES,
    "sc_threshold": 0,  # no key frames elsewhere
    "force_key_frames": f"expr:eq(n,{FIRST_SEGMENT_FRAMES})",
    # Each fragment begins with a key frame. The header is written late, with the times at which sound and picture begin.
    "movflags": "+frag_keyframe+delay_moov+default_base_moof",
}
"""Further settings of an MP4 that is watched while it is written (fragments.py): where its fragments begin."""
WATCHED_X264 = {"rc-lookahead": 5, "x264-params": "sync-lookahead=0"}
"""Those of the encoder on the CPU: a frame leaves it 8 frames after it came, not 17. At equal size that costs no quality that was
measurable."""
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

GOP_FRAMES = 12
"""Distance of the key frames of footage that is kept, frames: half a second. A frame can only be decoded after those since the last key
frame, and footage is also played backwards."""

FOOTAGE = VideoFormat(
    format="mp4",
    # Key frames are GOP_FRAMES apart, also at cuts, and without B-frames every frame is decoded from earlier ones alone. The pictures are
    # the same with CABAC (`coder` 1), which saves 6 % of the bytes and takes twice as long to decode.
    video={
        "c:v": "libx264",
        "preset": "superfast",
        "coder": 0,
        "crf": 14,
        "g": GOP_FRAMES,
        "keyint_min": GOP_FRAMES,
        "sc_threshold": 0,
        "bf": 0,
    },
    audio=MP4.audio,
    muxing={},
)
"""The footage that a subject is shown in, as it is kept."""

FOOTAGE_EDGE = 1920
"""Longest edge of footage that is kept, px: that of the largest video that is rendered."""


def footage_size(width: int, height: int) -> tuple[int, int]:
    """Returns the even size in which footage of a source of `width` x `height` px is kept, at most FOOTAGE_EDGE px long.

    An odd source loses a column or a row, as 4:2:0 video stores one colour for every 2x2 pixels.
    """
    scale = min(1.0, FOOTAGE_EDGE / max(width, height))
    return max(2, int(width * scale + 0.01) // 2 * 2), max(2, int(height * scale + 0.01) // 2 * 2)


def format_for(path: Path) -> VideoFormat:
    """Returns the format that the suffix of `path` names. Raises ValueError for another suffix."""
    try:
        return FORMATS[Path(path).suffix.lower()]
    except KeyError:
        raise ValueError(f"{Path(path).name}: videos are written as {' or '.join(FORMATS)}") from None
