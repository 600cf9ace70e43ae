"""Inspects one untrusted file in a separate process with limits: `python -m worker.provenance.inspection FILE < order.json`.

The order holds `chains` (certificates by serial number), `manifest` (path of a separate manifest, or null) and `mark_key` (hex;
it is passed by stdin so that process lists do not show it). The result is JSON on stdout: `credentials` as
content_credentials.read returns them, and `mark`: null, or `number`, `score`, `false_alarm`; or an `error` (code, message,
remedy) if the file cannot be inspected.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.settings import bare_environment
from worker.niceness import be_nice

log = logging.getLogger(__name__)

MEMORY_BYTES = 4 << 30
"""Address space of the process: bounds what a hostile file can make a parser allocate. Each ffmpeg that it starts has a limit of its
own."""
CPU_S = 180
"""CPU seconds of the process: a hostile file cannot occupy a core for longer."""
WALL_S = 240.0
"""Wall clock seconds for the whole inspection, ffmpeg included; below the lease of a verification."""
NICENESS = 5
"""Niceness of the process: beside requests, for which clients wait, it gets a quarter of the processor, and on one that is idle all of it."""
LOOK_S = 0.2
"""Seconds between two looks at `stopping`, well below the time that a worker has to stop."""

TOO_MUCH = {
    "code": "file_too_complex",
    "message": "The inspection of the file took more time or memory than the service allows for one file.",
    "remedy": "Send a shorter part of it, or one with fewer pixels.",
}


FAILED = {
    "code": "inspection_failed",
    "message": "The inspection of the file ended unexpectedly.",
    "remedy": "Send it re-encoded as MP4 (H.264); if it happens again, report the verification's id to the operator.",
}
MEMORY_WORDS = (b"MemoryError", b"memory allocation of")
"""What Python and the reader of content credentials, which is written in Rust, say last when they get no more memory."""


class Stopped(Exception):
    """The inspection was ended because its worker stops."""


def inspect(file: Path, order: Mapping[str, Any], stopping: threading.Event) -> dict[str, Any]:
    """Inspects `file` in a separate process, which is killed with its children when this call ends.

    The process receives no settings and no secrets except those in the order.

    Args:
        file: the untrusted file.
        order: see the top of this module.
        stopping: ends the inspection when it is set.

    Returns:
        The result, see the top of this module.

    Raises:
        Stopped: `stopping` was set.
    """
    command = [sys.executable, "-m", __name__, str(file)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # A new session, so that its ffmpeg is in the same process group.
    with subprocess.Popen(command, **pipes, env=bare_environment(), start_new_session=True) as child:
        try:
            result = _communicate(child, json.dumps(order).encode(), stopping)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if result is None:
        return {"error": TOO_MUCH}
    out, stderr = result
    if child.returncode == 0:
        return json.loads(out)
    said = stderr[-2000:]
    log.warning("the inspection of a file ended with status %d: %s", child.returncode, said.decode(errors="replace"))
    return {"error": _reason(child.returncode, said)}


def _reason(status: int, said: bytes) -> dict[str, str]:
    """Returns the error of an inspection that ended with this status, and `said` this last."""
    # The kernel ends it by SIGXCPU when its time is used up, and by SIGKILL when the machine has no memory.
    exhausted = status in (-signal.SIGXCPU, -signal.SIGKILL) or any(words in said for words in MEMORY_WORDS)
    return TOO_MUCH if exhausted else FAILED


def _communicate(child: subprocess.Popen, order: bytes, stopping: threading.Event) -> tuple[bytes, bytes] | None:
    """Returns output and error output of `child`; None if it takes longer than WALL_S. Raises Stopped."""
    deadline = time.monotonic() + WALL_S
    given: bytes | None = order
    while not stopping.is_set():
        try:
            return child.communicate(given, timeout=min(LOOK_S, WALL_S))
        except subprocess.TimeoutExpired:
            given = None  # a further call continues with the rest of it
            if time.monotonic() > deadline:
                return None
    raise Stopped


def inspect_here(file: Path, order: Mapping[str, Any]) -> dict[str, Any]:
    """Inspects `file` in this process, whose limits are set already; see `inspect`."""
    from adnerf_core.errors import MediaError
    from adnerf_core.watermark.detect import detect
    from worker.provenance.content_credentials import read

    manifest = Path(order["manifest"]).read_bytes() if order["manifest"] else None
    credentials = read(file, order["chains"], manifest)
    try:
        detection = detect(file, bytes.fromhex(order["mark_key"]))
    except MediaError as error:
        if not credentials["present"]:
            return {"error": {"code": error.code, "message": error.message, "remedy": error.remedy}}
        detection = None
    mark = detection and {
        "number": detection.number,
        "score": detection.score,
        "false_alarm": detection.false_alarm,
    }
    return {"credentials": credentials, "mark": mark}


if __name__ == "__main__":
    be_nice(NICENESS)
    for limit, value in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (value, hard))  # ffmpeg has limits of its own, which may be higher
    json.dump(inspect_here(Path(sys.argv[1]), json.load(sys.stdin)), sys.stdout)
