"""A running service for the demo."""

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
POLL_S = 0.7
PATIENCE_S = 20.0
"""How long a service of this machine may take to come back after a crash of one of its processes."""


class ServiceLost(AdnerfError):
    """The demo's own service does not run."""

    code = "service_lost"


@contextmanager
def service(data: Path, log: Path) -> Iterator[Client]:
    """Runs `adnerf serve` on a free port with its data in `data`, and stops it at the end, whatever happens.

    What the service says goes to `log`. Raises ServiceLost where it does not start, or does not stay.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The demo shows the embedded default, whatever else is set up on this machine.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADNERF_")}
    command = [sys.executable, "-m", "adnerf", "serve", "--data-dir", str(data), "--port", str(port)]
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches the demo alone, which then stops the service in good order.
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
