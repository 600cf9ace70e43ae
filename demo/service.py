"""Starts and stops the service for the demo."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from adnerf_client import AdnerfError, Client, Unreachable

START_S, STOP_S = 120.0, 45.0
"""How long the service may take to start (torch is loaded from a cold disk at worst) and to stop (a training step and its checkpoint
are finished), s."""

POLL_S = 0.7
"""Interval at which the start is checked, s."""

PATIENCE_S = 20.0
"""How long the service may be unreachable, s: about as long as a process that crashed takes to be restarted."""


class ServiceLost(AdnerfError):
    """The demo's service does not run."""

    code = "service_lost"


@contextmanager
def service(data: Path, log: Path) -> Iterator[Client]:
    """Runs `adnerf serve` on a free port, and stops it in the end, whatever happens.

    Args:
        data: the folder of its data.
        log: the file for its output.

    Yields:
        A client of the service.

    Raises:
        ServiceLost: if the service does not start, or stops answering.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Without ADNERF_ variables, so that the demo runs on the defaults (SQLite, local files) on any machine.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADNERF_")}
    command = [sys.executable, "-m", "adnerf", "serve", "--data-dir", str(data), "--port", str(port)]
    with log.open("wb") as output:
        # In a session of its own, so that Ctrl-C reaches the demo only, which then stops the service cleanly.
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(process, url)
            with Client(url, patience_s=PATIENCE_S) as client:
                yield client
        except Unreachable as error:
            raise ServiceLost(f"The service does not answer ({error.detail}).", f"Look into {log}.") from error
        finally:
            _stop(process)


def _wait_until_ready(process: subprocess.Popen, url: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServiceLost("The service ended while it started.", "Its log says why.")
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(POLL_S)
    raise ServiceLost(f"The service did not start within {START_S:.0f} s.", "Its log says why.")


def _stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
