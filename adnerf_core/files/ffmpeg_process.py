"""Runs ffmpeg with limits, and finds an ffmpeg to run.

The files that we read are uploaded by strangers, so each run is restricted: the input format and protocol must be on an
allow-list (a playlist renamed to .mp4 cannot open other files), the number of pixels, the CPU time and the memory are
limited, arguments are passed without a shell, paths are absolute `file:` URLs, and the environment holds no secrets. The
process talks to us through pipes: it is killed when the caller stops reading, and it ends by itself (end of file or broken
pipe) if our process dies.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO

import ffmpeg
import imageio_ffmpeg
from ffmpeg.nodes import FilterableStream, OutputStream

from adnerf_core.errors import DiskFull, MediaTooLarge, MediaTooLong, MissingBackend, NotMedia
from adnerf_core.files.video_formats import MP4, VideoFormat, format_for

MAX_PIXELS = 4096 * 4096
"""Largest number of pixels of a picture: twice those of a 4K video, and what fits MEMORY_BYTES with a margin."""

MEMORY_BYTES = 3 << 30
"""Address space of one ffmpeg process. Decoding pictures of MAX_PIXELS with 10 bits takes a third of it."""

CPU_SECONDS = 3600
"""CPU time of one ffmpeg process, s: far more than decoding the longest file takes. It is no limit on the wall time, because
the consumer of the frames may be slow."""

TRIAL_SECONDS = 20
"""How long the system's ffmpeg may take to list its encoders, s. It takes well under a second; the rest allows for a cold disk."""

INPUT_FORMATS = "mov,matroska,avi,mpegts,wav,mp3,flac,ogg,aac"
"""ffmpeg's demuxers that are allowed. `mov` and `matroska` stand for their whole families (MP4, M4A, 3GP; WebM). Playlists and
text formats, which name further files, are left out on purpose."""

ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_ALL")
"""The environment variables that ffmpeg gets: those that any program may need to run. Ours also holds database passwords and
storage keys, which a process that parses untrusted files must not see."""

THREADS = 2
"""Threads of a decoder, encoder or filter graph. Each thread holds frame buffers of its own, so that the memory of a machine
with many cores would grow without this limit."""

LOG_BYTES = 1 << 18
"""How much of the end of ffmpeg's log is read, since damaged data can cause warnings without end. The log of a probe, which starts
with the description of the input, is far shorter: a probe decodes nothing."""

OUT_OF_MEMORY = r"Cannot allocate memory|get_buffer\(\) failed|Resource temporarily unavailable"
"""What ffmpeg writes when it reaches MEMORY_BYTES."""


class FfmpegProcess(subprocess.Popen):
    """A running ffmpeg with limits on its memory and CPU time."""

    def __init__(self, command: list[str], stdin: int, log: IO[bytes]):
        super().__init__(command, stdin=stdin, stdout=subprocess.PIPE, stderr=log, env=_environment())
        self._log = log
        # Set from outside, right after the start: Python code between fork and exec is unsafe in a process with threads.
        for limit, value in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_SECONDS)):
            resource.prlimit(self.pid, limit, (value, value))

    def log(self) -> str:
        """Returns the last LOG_BYTES of what ffmpeg wrote to its standard error."""
        end = self._log.seek(0, 2)
        self._log.seek(max(0, end - LOG_BYTES))
        return self._log.read().decode(errors="replace")

    def error(self) -> Exception | None:
        """Returns the error for a limit that was reached or a full disk; None after success or mere damage of the data."""
        log = self.log()
        if re.search(OUT_OF_MEMORY, log):
            return MediaTooLarge("Decoding this file takes too much memory.")
        if self.returncode == 0:
            return None
        if "No space left on device" in log or "Disk quota exceeded" in log:
            return DiskFull("No space left to write a media file.")
        if "Picture size" in log:
            return MediaTooLarge(f"The pictures have more than {MAX_PIXELS} pixels.")
        if self.returncode in (-24, -9):  # SIGXCPU at the soft limit of CPU time, SIGKILL at the hard limit
            return MediaTooLong("Decoding this file takes too long.")
        return None


@contextmanager
def running(
    output: OutputStream, *, stdin: int = subprocess.DEVNULL, loglevel: str = "error"
) -> Iterator[FfmpegProcess]:
    """Runs a graph of ffmpeg-python; when the block ends, the process has ended too, by force if need be."""
    arguments = f"-hide_banner -nostats -loglevel {loglevel} -y -filter_complex_threads {THREADS}".split()
    command = output.global_args(*arguments).compile(cmd=ffmpeg_path())
    with tempfile.TemporaryFile() as log:
        child = FfmpegProcess(command, stdin, log)
        try:
            yield child
        finally:
            child.kill()
            child.stdout.close()
            if child.stdin is not None:
                with suppress(BrokenPipeError):
                    child.stdin.close()
            child.wait()


def untrusted_input(path: Path, **options: object) -> FilterableStream:
    """Opens a file that somebody sent us, with all restrictions.

    Args:
        path: the file.
        options: further input options of ffmpeg, such as `ss`.

    Raises:
        NotMedia: if `path` is empty or no file.
    """
    path = Path(path)
    if not path.is_file() or path.stat().st_size == 0:
        raise NotMedia(f"{path.name} is empty or is not a file.")
    limits = {"max_pixels": MAX_PIXELS, "threads": THREADS}
    allowed = {"protocol_whitelist": "file", "format_whitelist": INPUT_FORMATS}
    return ffmpeg.input(file_url(path), **allowed, **limits, **options)


def file_url(path: Path) -> str:
    """Returns a path in a form that ffmpeg reads as a file and nothing else, whatever characters its name has."""
    return f"file:{Path(path).absolute()}"


def writable_format(path: Path) -> VideoFormat:
    """Returns the format that the suffix of `path` names, if this machine's ffmpeg can write it.

    Raises:
        ValueError: if no format has this suffix.
        MissingBackend: if ffmpeg lacks one of the encoders.
    """
    container = format_for(path)
    missing = [name for name in container.encoders if name not in _encoders(ffmpeg_path())]
    if missing:
        raise MissingBackend(
            f"This ffmpeg cannot write {container.format.upper()}: it lacks {' and '.join(missing)}.",
            "Install an ffmpeg that has them (Debian's has), or ask for the format mp4.",
        )
    return container


@lru_cache(maxsize=1)
def ffmpeg_path() -> str:
    """Returns the system's ffmpeg if it works and can write MP4, else the one that imageio-ffmpeg brings."""
    system = shutil.which("ffmpeg")
    if system is not None and _encoders(system).issuperset(MP4.encoders):
        return system
    return imageio_ffmpeg.get_ffmpeg_exe()


@lru_cache(maxsize=4)
def _encoders(command: str) -> frozenset[str]:
    """The names of the encoders of an ffmpeg; empty if it does not work."""
    try:
        listing = subprocess.run(
            [command, "-hide_banner", "-encoders"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=_environment(),
            timeout=TRIAL_SECONDS,
            check=True,
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError):
        return frozenset()
    return frozenset(re.findall(r"^ [VAS][A-Z.]{5} (\S+)", listing, re.M))


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
