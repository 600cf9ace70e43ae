"""Looking at one strange file, in a process of its own with limits: `python -m worker.provenance.inspection FILE < order.json`.

The order has `chains` (certificates by serial number), `manifest` (a file that lies beside, or null) and `mark_key` (hex; it
comes by stdin so that no list of processes shows it). The findings are JSON on stdout: `credentials` as worker.provenance.content_credentials
`read` tells them, and `mark`: null, or `number`, `score`, `false_alarm`; or an `error` (code, message, remedy) where the file
cannot be looked at.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.settings import bare_environment

log = logging.getLogger(__name__)

MEMORY_BYTES = 4 << 30
"""Address space of the process; each ffmpeg that it starts has a limit of its own."""
CPU_S = 180
"""CPU time of the process, s."""
WALL_S = 240.0
"""Time for all of it, s."""

TOO_MUCH = {
    "code": "file_too_complex",
    "message": "Looking at the file took more time or memory than is given to one.",
    "remedy": "Send a shorter part of it, or one with fewer pixels.",
}


def inspect(file: Path, order: Mapping[str, Any]) -> dict[str, Any]:
    """What is found in `file`, looked at by a process of its own; it does not outlive this one's wait for it.

    It gets no settings and no secrets but those in the order.
    """
    command = [sys.executable, "-m", __name__, str(file)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # A session of its own: its ffmpeg is in the same group.
    with subprocess.Popen(command, **pipes, env=bare_environment(), start_new_session=True) as child:
        try:
            out, complaint = child.communicate(json.dumps(order).encode(), timeout=WALL_S)
        except subprocess.TimeoutExpired:
            return {"error": TOO_MUCH}
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode != 0:
        log.warning(
            "looking at a file ended with status %d: %s", child.returncode, complaint.decode(errors="replace")[-2000:]
        )
        return {"error": TOO_MUCH}
    return json.loads(out)


def inspect_here(file: Path, order: Mapping[str, Any]) -> dict[str, Any]:
    """The same in this process, whose limits are set."""
    from adnerf_core.errors import MediaError
    from adnerf_core.watermark.detect import detect
    from worker.provenance.content_credentials import read

    manifest = Path(order["manifest"]).read_bytes() if order["manifest"] else None
    credentials = read(file, order["chains"], manifest)
    try:
        found = detect(file, bytes.fromhex(order["mark_key"]))
    except MediaError as error:
        if not credentials["present"]:
            return {"error": {"code": error.code, "message": error.message, "remedy": error.remedy}}
        found = None
    mark = found and {"number": found.number, "score": found.score, "false_alarm": found.false_alarm}
    return {"credentials": credentials, "mark": mark}


if __name__ == "__main__":
    for limit, value in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_CORE, 0)):
        _, most = resource.getrlimit(limit)
        resource.setrlimit(limit, (value, most))  # ffmpeg is given limits of its own, which may be higher
    json.dump(inspect_here(Path(sys.argv[1]), json.load(sys.stdin)), sys.stdout)
