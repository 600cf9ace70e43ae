"""The functions that run ffmpeg, under one name: `ffmpeg.probe`, `ffmpeg.read_frames`, `ffmpeg.write_video` and so on.

Probing is in media_info.py, decoding in media_reader.py, encoding in media_writer.py; all three run ffmpeg through
ffmpeg_process.py, which holds the limits, and nothing else in the core starts it.
"""

from __future__ import annotations

from adnerf_core.files.ffmpeg_process import ffmpeg_path, writable_format
from adnerf_core.files.media_info import MediaInfo, probe
from adnerf_core.files.media_reader import extract_audio, read_frames, stream_audio
from adnerf_core.files.media_writer import write_video, write_wav

__all__ = [
    "MediaInfo",
    "extract_audio",
    "ffmpeg_path",
    "probe",
    "read_frames",
    "stream_audio",
    "writable_format",
    "write_video",
    "write_wav",
]
