"""Runs ffmpeg with limits.

The files that we read are uploaded by strangers, so each run is restricted: the input format and protocol must be on an
allow-list (a playlist renamed to .mp4 cannot open other files), the number of pixels, the CPU time and the memory are
limited, arguments are passed without a shell, paths are absolute `file:` URLs, and the environment holds no secrets. The
process talks to us through pipes: it is killed when the caller stops reading, and it ends by itself (end of file or broken
pipe) if our process dies.
"""

from __future__ import annotations

import re
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import ffmpeg
from ffmpeg.nodes import FilterableStream, OutputStream

from adnerf_core.errors import DiskFull, MediaTooLarge, MediaTooLong, NotMedia
from adnerf_core.files.ffmpeg_choice import bare_environment, ffmpeg_path

MAX_PIXELS = 4096 * 4096
"""Largest number of pixels of a picture: twice those of a 4K video, and what fits MEMORY_BYTES with a margin."""

MEMORY_BYTES = 3 << 30
"""Address space of one ffmpeg process. Decoding pictures of MAX_PIXELS with 10 bits takes a third of it."""

CPU_SECONDS = 3600
"""CPU time of one ffmpeg process, s: far more than decoding the longest file takes. It is no limit on the wall time, because
the consumer of the frames may be slow."""

INPUT_FORMATS = "mov,matroska,avi,mpegts,asf,wav,w64,aiff,caf,au,mp3,flac,ogg,aac,ac3,eac3,amr"
"""ffmpeg's demuxers that are allowed. `mov` and `matroska` stand for their whole families (MP4, M4A, 3GP; WebM), `asf` for WMV and
WMA. Playlists and text formats, which name further files, are left out on purpose. errors.ACCEPTED_MEDIA names them to people."""

THREADS = 2
"""Threads of a decoder, encoder or filter graph. Each thread holds frame buffers of its own, so that the memory of a machine
with many cores would grow without this limit."""

LOG_BYTES = 1 << 18
"""How much of the start of ffmpeg's log, which describes the input, and of its end is read: damaged data can cause warnings without
end."""

OUT_OF_MEMORY = r"Cannot allocate memory|get_buffer\(\) failed|Resource temporarily unavailable"
"""What ffmpeg writes when it reaches MEMORY_BYTES."""


CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
"""Signals that end a program for a fault of its own."""


class FfmpegProcess(subprocess.Popen):
    """A running ffmpeg with limits on its memory and CPU time."""

    def __init__(self, command: list[str], stdin: int | IO[bytes], log: IO[bytes], limits_memory: bool = True):
        super().__init__(command, stdin=stdin, stdout=subprocess.PIPE, stderr=log, env=bare_environment())
        self._log = log
        # Set from outside, right after the start: Python code between fork and exec is unsafe in a process with threads.
        for limit, value in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_SECONDS))[
            not limits_memory :
        ]:
            resource.prlimit(self.pid, limit, (value, value))

    def log(self) -> str:
        """Returns the first and the last LOG_BYTES of what ffmpeg wrote to its standard error."""
        end = self._log.seek(0, 2)
        self._log.seek(0)
        start = self._log.read(LOG_BYTES)
        self._log.seek(max(len(start), end - LOG_BYTES))
        return (start + self._log.read()).decode(errors="replace")

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
        if -self.returncode in CRASHES:
            return NotMedia("ffmpeg crashed on this file.", "Convert it to an MP4 or WAV file, and send that.")
        return None


@contextmanager
def running(
    output: OutputStream,
    *,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    loglevel: str = "error",
    limits_memory: bool = True,
) -> Iterator[FfmpegProcess]:
    """Runs a graph of ffmpeg-python; when the block ends, the process has ended too, by force if need be.

    Without `limits_memory` it must read nothing but what we made: the driver of a GPU reserves more address space than MEMORY_BYTES.
    """
    arguments = f"-hide_banner -nostats -loglevel {loglevel} -y -filter_complex_threads {THREADS}".split()
    command = output.global_args(*arguments).compile(cmd=ffmpeg_path())
    with tempfile.TemporaryFile() as log:
        child = FfmpegProcess(command, stdin, log, limits_memory)
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
