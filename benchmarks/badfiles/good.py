"""Small valid files of every accepted format, which spoil.py damages; and unusual files, made with options of ffmpeg."""

from __future__ import annotations

import io
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from adnerf_core.config import FPS
from adnerf_core.files import ffmpeg
from tests.adnerf_core import clips

SECONDS = 1.2
"""Length of most files: long enough for several frames, short enough to make hundreds."""
PICTURES = ("-f", "lavfi", "-i", "testsrc=size={size}:rate=25:duration={seconds}")
"""ffmpeg arguments of a test picture as the video source."""
SPEECH = ("-f", "lavfi", "-i", "aevalsrc='0.3*sin(440*t)':sample_rate=16000:duration={seconds}")
"""ffmpeg arguments of a tone as the audio source."""
EXACT = ("-fflags", "+bitexact", "-flags", "+bitexact", "-map_metadata", "-1", "-threads", "1")
"""ffmpeg arguments that make equal calls write equal bytes."""
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
CONTAINERS = {
    "mp4": H264,
    "mov": H264,
    "mkv": H264,
    "webm": ("-c:v", "libvpx", "-b:v", "200k", "-c:a", "libopus"),
    "avi": ("-c:v", "mjpeg", "-c:a", "pcm_s16le"),
    "ts": H264,
    "wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
}
"""Encoder options of each video format."""
WAVES = ("-filter_complex", "[0:a]showwaves=s=64x48[v]", "-map", "[v]", "-map", "0:a")
"""ffmpeg arguments that draw the sound as a video."""


def encode(name: str, *arguments: str, seconds: float = SECONDS, size: str = "64x48") -> bytes:
    """Runs ffmpeg and returns the file that it writes; equal calls return equal bytes.

    Args:
        name: name of the file, whose extension selects the format.
        arguments: options of ffmpeg, in which `{seconds}` and `{size}` are replaced.
        seconds: length of the sources.
        size: width x height of the sources, px.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        options = [argument.format(seconds=seconds, size=size) for argument in arguments]
        command = [ffmpeg.ffmpeg_path(), "-loglevel", "error", *options, *EXACT, str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return path.read_bytes()


def film(name: str, *arguments: str, **more) -> bytes:
    """Makes a video with a moving test picture and a tone."""
    return encode(name, *PICTURES, *SPEECH, *arguments, **more)


def speech(name: str, *arguments: str, **more) -> bytes:
    """Makes an audio file with a tone."""
    return encode(name, *SPEECH, *arguments, **more)


def picture(kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options) -> bytes:
    """Makes an image file of the format `kind` of Pillow."""
    out = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert(mode).save(out, kind, **options)
    return out.getvalue()


def leaping(kind: str, seconds: float = 500) -> bytes:
    """Makes a video whose timestamps jump by `seconds` after ten frames, in the format `kind` of CONTAINERS."""
    leap = f"setpts='PTS+gt(N,9)*{seconds}/TB'"
    return film(f"a.{kind}", *CONTAINERS[kind], "-vf", leap, "-fps_mode", "vfr")


def films() -> dict[str, bytes]:
    """Returns valid videos by format."""
    return {
        **{kind: film(f"a.{kind}", *codecs) for kind, codecs in CONTAINERS.items()},
        "fragmented": film("a.mp4", *H264, "-movflags", "frag_keyframe+empty_moov"),
    }


def people() -> dict[str, bytes]:
    """Returns videos by format that a subject can be made of, so that damaged ones reach the later stages of preprocessing."""
    opening = clips.syllables(9 * FPS)
    with tempfile.TemporaryDirectory() as folder:
        mp4 = clips.write(Path(folder) / "a.mp4", clips.speaker(opening), clips.voice(opening))
        others = {kind: encode(f"a.{kind}", "-i", str(mp4), *CONTAINERS[kind]) for kind in ("mkv", "webm", "avi")}
        return {"mp4": mp4.read_bytes(), **others}


def speeches() -> dict[str, bytes]:
    """Returns valid audio files by format."""
    return {
        "wav": speech("a.wav", seconds=0.4),
        "mp3": speech("a.mp3", seconds=0.4),
        "flac": speech("a.flac", seconds=0.4),
        "ogg": speech("a.ogg", "-c:a", "libvorbis", seconds=0.4),
        "m4a": speech("a.m4a", seconds=0.4),
        "aac": speech("a.aac", seconds=0.4),
        **{kind: speech(f"a.{kind}", seconds=0.4) for kind in ("aiff", "caf", "au", "w64", "ac3", "eac3", "wma")},
    }


def pictures() -> dict[str, bytes]:
    """Returns valid images by format."""
    return {"png": picture("PNG"), "jpeg": picture("JPEG"), "webp": picture("WEBP")}


def odd_films() -> dict[str, bytes]:
    """Returns unusual videos that ffmpeg can write, by name."""
    silent = ("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-shortest")
    return {
        "pictures only": encode("a.mp4", *PICTURES, *H264),
        "sound only": speech("a.m4a"),
        "two pixels": film("a.mp4", *H264, size="2x2"),
        "odd size": film("a.avi", "-c:v", "mjpeg", "-c:a", "pcm_s16le", size="63x47"),
        "a line": film("a.mkv", "-c:v", "ffv1", size="4096x1"),
        "a column": film("a.mkv", "-c:v", "png", size="1x4096"),
        "1000 pictures a second": film("a.mp4", *H264, "-r", "1000"),
        "a picture in ten seconds": film("a.mp4", *H264, "-r", "0.1", seconds=30),
        "wide pixels": film("a.mov", "-c:v", "mjpeg", "-vf", "setsar=255:max=65535"),
        "absurd pixels": film("a.mov", "-c:v", "mjpeg", "-vf", "setsar=32000:max=65535"),
        "thin pixels": film("a.mov", "-c:v", "mjpeg", "-vf", "setsar=1/32000:max=65535"),
        "starts late": film("a.mp4", *H264, "-output_ts_offset", "5000"),
        "starts before zero": film("a.mkv", *H264, "-output_ts_offset", "-0.7", "-avoid_negative_ts", "disabled"),
        "sound long after": film("a.mkv", *H264, "-af", "asetpts=PTS+30/TB"),
        "variable rate": film("a.mkv", *H264, "-vf", "setpts='if(mod(N,7),PTS,PTS+0.03/TB)'", "-fps_mode", "vfr"),
        "a hole of four hours": film("a.mkv", *H264, "-vf", "setpts='PTS+gt(N,9)*14400/TB'", "-fps_mode", "vfr"),
        **{f"a hole of eight minutes, {kind}": leaping(kind) for kind in CONTAINERS},
        "turned": encode("a.mp4", "-display_rotation", "90", *PICTURES, *SPEECH, *H264),
        "grey, 16 bit": film("a.mkv", "-c:v", "ffv1", "-pix_fmt", "gray16le"),
        "with alpha": film("a.mov", "-c:v", "png", "-pix_fmt", "rgba"),
        "raw": film("a.avi", "-c:v", "rawvideo", "-pix_fmt", "bgr24", "-c:a", "pcm_s16le"),
        "old codec": film("a.avi", "-c:v", "msmpeg4v2", "-c:a", "adpcm_ms"),
        "eight channels": film("a.mkv", *H264, "-c:a", "pcm_s16le", "-ac", "8"),
        "8 kHz": film("a.mkv", *H264, "-c:a", "pcm_alaw", "-ar", "8000"),
        "many streams": encode("a.mkv", *PICTURES, *SPEECH, *["-map", "0:v"] * 8, *["-map", "1:a"] * 24, *H264),
        "long title": film("a.mp4", *H264, "-movflags", "use_metadata_tags", "-metadata", "title=" + "A" * 100_000),
        "silent": encode("a.mp4", *PICTURES, *silent, *H264, seconds=8.2),
        "nobody": film("a.mp4", *H264, seconds=8.2),
        "gif": encode("a.gif", *PICTURES),
        "y4m": encode("a.y4m", *PICTURES, "-pix_fmt", "yuv420p"),
        "flv": film("a.flv", "-ar", "44100"),
        "mpeg program": film("a.mpg", "-ar", "44100"),
        "sound as pictures": encode("a.mkv", *SPEECH, *WAVES, "-c:v", "png"),
    }


def odd_speeches() -> dict[str, bytes]:
    """Returns unusual audio files that ffmpeg can write, by name."""
    return {
        "pictures only": encode("a.mp4", *PICTURES, *H264),
        "a film": film("a.mp4", *H264, seconds=0.4),
        "sixteen channels": speech("a.wav", "-ac", "16", seconds=0.4),
        "float": speech("a.wav", "-c:a", "pcm_f64le", seconds=0.4),
        "384 kHz": speech("a.wav", "-ar", "384000", seconds=0.4),
        "100 Hz": speech("a.wav", "-ar", "100", seconds=0.4),
        "a moment": speech("a.wav", seconds=0.01),
        "starts late": speech("a.mkv", "-output_ts_offset", "2", seconds=0.4),
        "a hole of four hours": speech("a.mkv", "-af", "asetpts='PTS+gt(N,5)*14400/TB'", seconds=1),
        "opus": speech("a.ogg", "-c:a", "libopus", "-ar", "48000", seconds=0.4),
        "with a cover": encode(
            "a.mp3", *SPEECH, "-f", "lavfi", "-i", "color=red:s=64x64:d=0.04", "-map", "0", "-map", "1"
        ),
    }
