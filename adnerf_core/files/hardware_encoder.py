"""Encoding by the GPU (NVENC), where a trial shows that it works; docs/decisions/0032-cuda.md says why decoding stays on the CPU."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

from adnerf_core.files.ffmpeg_choice import TRIAL_SECONDS, bare_environment, ffmpeg_path, listed
from adnerf_core.files.video_formats import VideoFormat

TRIAL_FRAMES = 3
"""Number of the pictures of a trial."""


def hardware_encoder(container: VideoFormat, width: int, height: int) -> Mapping[str, Any] | None:
    """Returns the settings of a GPU's encoder for a format, to be used instead of `container.video`.

    A few pictures are encoded each time: ffmpeg lists the encoder whether or not there is a GPU, many GPUs have none, some refuse more
    than a few videos at once, and each has a least size (NVENC's H.264: 145 px wide, on some GPUs).

    Args:
        container: the format.
        width: of the pictures, px, even.
        height: likewise.

    Returns:
        The settings; None if the format has none, or they do not work now.

    Raises:
        MissingBackend: there is no ffmpeg.
    """
    settings, command = container.hardware, ffmpeg_path()
    if settings is None or settings["c:v"] not in listed(command, "encoders"):
        return None
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", f"{width}x{height}", "-i", "pipe:0"]
    options = [text for name, value in settings.items() for text in (f"-{name}", str(value))]
    try:
        subprocess.run(
            [command, "-hide_banner", "-loglevel", "error", *source, *options, "-f", "null", "-"],
            input=bytes(width * height * 3 // 2 * TRIAL_FRAMES),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=bare_environment(),
            timeout=TRIAL_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return settings
