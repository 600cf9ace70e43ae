"""One timeline for the pictures and the sound of a file, though they are read by separate processes.

ffmpeg counts times from the start of the file. Where the times of an MPEG transport stream or an Ogg file start again, because several
recordings were joined, it lets them go on; both depend on the streams that it reads. So such a file is read with the same two streams
each time, and the one that is not wanted is copied to nowhere.
"""

from __future__ import annotations

import ffmpeg
from ffmpeg.nodes import FilterableStream, OutputStream

from adnerf_core.files.media_info import RESTARTING, MediaInfo, continuing


def merged(info: MediaInfo, *outputs: OutputStream) -> OutputStream:
    """Returns one command line for `outputs` of one input, in which its times go on where they start again."""
    return ffmpeg.merge_outputs(*outputs).global_args(*continuing(info.part_s))


def beside_pictures(source: FilterableStream, info: MediaInfo, seconds: float) -> list[OutputStream]:
    """Outputs to add to one that reads the sound: the pictures of the first `seconds`, if the timeline depends on them."""
    return (
        _nowhere(source, f"V:{info.video_stream}", seconds) if info.has_video and info.container in RESTARTING else []
    )


def beside_sound(source: FilterableStream, info: MediaInfo, seconds: float) -> list[OutputStream]:
    """Outputs to add to one that reads pictures, likewise."""
    return (
        _nowhere(source, f"a:{info.audio_track - 1}", seconds)
        if info.has_audio and info.container in RESTARTING
        else []
    )


def _nowhere(source: FilterableStream, stream: str, seconds: float) -> list[OutputStream]:
    return [ffmpeg.output(source[stream], "pipe:2", format="null", codec="copy", t=seconds)]
