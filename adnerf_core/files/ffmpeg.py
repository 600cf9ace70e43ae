"""The functions that run ffmpeg, under one name: `ffmpeg.probe`, `ffmpeg.read_frames`, `ffmpeg.write_video` and so on.

Which ffmpeg is run is in ffmpeg_choice.py. Probing is in media_info.py (with packets.py and sound_choice.py), decoding in
media_reader.py and sound_reader.py, encoding in media_writer.py; all run ffmpeg through ffmpeg_process.py, which holds the limits, and
nothing else in the core starts it.
"""

from __future__ import annotations

from adnerf_core.files.ffmpeg_choice import ffmpeg_path, ffmpeg_version, writable_format
from adnerf_core.files.hardware_encoder import hardware_encoder
from adnerf_core.files.media_info import MediaInfo, probe
from adnerf_core.files.media_reader import read_frames
from adnerf_core.files.media_writer import write_video, write_wav
from adnerf_core.files.sound_reader import extract_audio, stream_audio

__all__ = [
    "MediaInfo",
    "extract_audio",
    "ffmpeg_path",
    "ffmpeg_version",
    "hardware_encoder",
    "probe",
    "read_frames",
    "stream_audio",
    "writable_format",
    "write_video",
    "write_wav",
]
