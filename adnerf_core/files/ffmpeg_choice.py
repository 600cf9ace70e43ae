"""Which ffmpeg is run: the one that imageio-ffmpeg brings, unless the operator names another, which must pass a check.

Versions of ffmpeg differ in what they print and in what their builds contain, so an ffmpeg that happens to be on the PATH is not used:
the same files would be read differently on two machines (docs/decisions/0030-one-ffmpeg.md).
"""

from __future__ import annotations

import os
import re
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Literal

import imageio_ffmpeg

from adnerf_core.errors import MissingBackend
from adnerf_core.files.video_formats import MP4, VideoFormat, format_for

SETTING = "ADNERF_FFMPEG"
"""The variable in which the operator names another ffmpeg. The service's settings have it too (storage/settings.py)."""

ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_ALL", "CUDA_VISIBLE_DEVICES")
"""The environment variables that ffmpeg gets: those that any program may need to run, and which GPU this process may use. Ours also
holds database passwords and storage keys, which a process that parses untrusted files must not see."""

TRIAL_SECONDS = 20
"""How long an ffmpeg may take to list what it has, s. It takes well under a second; the rest allows for a cold disk."""

Kind = Literal["encoders", "decoders", "muxers", "demuxers", "filters"]
NEEDED: dict[Kind, frozenset[str]] = {
    "encoders": frozenset({*MP4.encoders, "flac", "pcm_s16le"}),
    "decoders": frozenset({"h264", "hevc", "vp9", "aac", "mp3", "opus", "vorbis", "flac"}),
    "muxers": frozenset({"mp4", "flac", "nut", "framecrc", "rawvideo", "s16le", "null"}),
    "demuxers": frozenset({"mov", "matroska", "avi", "mpegts", "wav", "mp3", "flac", "ogg", "aac", "nut"}),
    "filters": frozenset({"aformat", "apad", "aresample", "asplit", "atrim", "channelmap"})
    | {"bwdif", "crop", "format", "fps", "pad", "scale", "setparams", "setpts", "split", "tonemap", "zscale"},
}
"""What a named ffmpeg must have, by the options that list it: what our command lines contain, and the codecs of most files.
WebM's encoders are not needed for everything; writable_format() checks them."""


@lru_cache(maxsize=4)
def checked_ffmpeg(named: str) -> str:
    """Returns the path of the ffmpeg to run: `named`, or that of imageio-ffmpeg if `named` is empty.

    Raises:
        MissingBackend: if there is none, or the named one does not run or lacks something.
    """
    if not named:
        try:
            path = imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError as error:
            raise MissingBackend(
                "There is no ffmpeg for this machine in imageio-ffmpeg.", f"Set {SETTING} to the path of an ffmpeg."
            ) from error
        if Path(path).is_relative_to(Path(imageio_ffmpeg.__file__).parent):
            return path
        named = path  # imageio-ffmpeg has none for this machine, or a variable of its own names another
    runs = bool(listed(named, "encoders"))
    missing = [name for kind, names in NEEDED.items() for name in sorted(names - listed(named, kind))] if runs else []
    if missing or not runs:
        raise MissingBackend(
            f"The ffmpeg {named} lacks {', '.join(missing)}." if runs else f"The ffmpeg {named} does not run.",
            f"Unset {SETTING} for the ffmpeg that is packaged, or set it to the path of one that has all of them.",
        )
    return named


def ffmpeg_path() -> str:
    """Returns the path of the ffmpeg that is run. Raises MissingBackend; see checked_ffmpeg()."""
    return checked_ffmpeg(os.environ.get(SETTING, ""))


@lru_cache(maxsize=4)
def version_of(command: str) -> str:
    """Returns the version of an ffmpeg as it states it, such as `7.0.2-static`; `unknown` if it states none."""
    stated = re.match(r"ffmpeg version (\S+)", _output(command, "-version"))
    return stated[1] if stated else "unknown"


def ffmpeg_version() -> str:
    """Returns the version of the ffmpeg that is run and whose it is, such as `9.0.2, packaged`; or why there is none."""
    named = os.environ.get(SETTING, "")
    try:
        path = checked_ffmpeg(named)
    except MissingBackend as error:
        return f"none: {error.message}"
    return f"{version_of(path)}, {f'named by {SETTING}' if named else 'packaged'}"


def writable_format(path: Path) -> VideoFormat:
    """Returns the format that the suffix of `path` names, if this machine's ffmpeg can write it.

    Raises:
        ValueError: if no format has this suffix.
        MissingBackend: if ffmpeg lacks one of the encoders.
    """
    container = format_for(path)
    missing = [name for name in container.encoders if name not in listed(ffmpeg_path(), "encoders")]
    if missing:
        raise MissingBackend(
            f"This ffmpeg cannot write {container.format.upper()}: it lacks {' and '.join(missing)}.",
            f"Unset {SETTING} for the ffmpeg that is packaged, which has them, or ask for the format mp4.",
        )
    return container


@lru_cache(maxsize=16)
def listed(command: str, kind: Kind) -> frozenset[str]:
    """Returns the names of the encoders, filters and so on that an ffmpeg has; nothing if it does not work."""
    rows = re.findall(r"^ *[A-Z.|]{1,7} +(\S+)", _output(command, f"-{kind}"), re.M)
    return frozenset(name for row in rows for name in row.split(","))


def bare_environment() -> dict[str, str]:
    """Returns the environment of a process that reads untrusted files."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


def _output(command: str, option: str) -> str:
    """What an ffmpeg prints for an option that lists something; empty if it does not work."""
    try:
        return subprocess.run(
            [command, "-hide_banner", option],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=bare_environment(),
            timeout=TRIAL_SECONDS,
            check=True,
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError):
        return ""
