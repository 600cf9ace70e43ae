"""A running service for the demo, and the little of HTTP that its main job needs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

START_S, STOP_S = 120.0, 45.0
POLL_S = 0.7
ENDS = ("succeeded", "failed", "cancelled")


class DemoFailed(Exception):
    """The demo cannot go on. `code` is the service's stable word, or the demo's own."""

    def __init__(self, code: str, message: str, remedy: str = ""):
        super().__init__(f"{message} {remedy}".strip())
        self.code, self.message, self.remedy = code, message, remedy


@contextmanager
def service(data: Path, log: Path) -> Iterator[Client]:
    """Runs `adnerf serve` on a free port with its data in `data`, and stops it at the end, whatever happens.

    What the service says goes to `log`. Raises DemoFailed where it does not start.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The demo shows the embedded default, whatever else is set up on this machine.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADNERF_")}
    command = [sys.executable, "-m", "worker", "serve", "--data-dir", str(data), "--port", str(port)]
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches the demo alone, which then stops the service in good order.
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            with Client(f"http://127.0.0.1:{port}", lambda: process.poll() is None) as client:
                client.wait_until_ready()
                yield client
        except httpx.TransportError as error:
            raise DemoFailed("service_lost", f"The service does not answer ({error}).", f"Look into {log}.") from error
        finally:
            _stop(process)


def _stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Client:
    """Requests to one service. Every answer that is an error becomes DemoFailed with the service's code and words."""

    def __init__(
        self, base_url: str, alive: Callable[[], bool] = lambda: True, transport: httpx.BaseTransport | None = None
    ):
        self._http = httpx.Client(base_url=base_url, timeout=60, transport=transport, trust_env=False)
        self._alive = alive

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self._http.close()

    def wait_until_ready(self) -> None:
        """Returns once the service takes requests. Raises DemoFailed where it ends, or takes too long."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if not self._alive():
                raise DemoFailed("service_ended", "The service ended while it started.", "Its log says why.")
            try:
                if self._http.get("/readyz").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(POLL_S)
        raise DemoFailed("service_slow", f"The service did not start within {START_S:.0f} s.", "Its log says why.")

    def get(self, path: str) -> dict[str, Any]:
        """The resource at `path`."""
        return _checked(self._http.get(path)).json()

    def create_subject(self, video: Path, preset: str, consent: str) -> dict[str, Any]:
        """Uploads a reference video; returns the Subject."""
        with video.open("rb") as file:
            data = {"name": video.stem, "preset": preset, "consent": consent}
            return _checked(self._http.post("/v1/subjects", data=data, files={"video": (video.name, file)})).json()

    def create_video(self, subject_id: str, audio: Path) -> dict[str, Any]:
        """Uploads speech; returns the Video."""
        with audio.open("rb") as file:
            data = {"subject_id": subject_id}
            return _checked(self._http.post("/v1/videos", data=data, files={"audio": (audio.name, file)})).json()

    def follow(self, path: str, watch: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Waits until all jobs of the subject or video at `path` have ended well; returns the resource.

        `watch` is told of each job again and again, also once after its end. Raises DemoFailed for a job that fails.
        """
        seen: set[str] = set()
        while True:
            resource = self.get(path)
            jobs = resource["jobs"] if "jobs" in resource else [resource["job"]]
            for job in jobs:
                if job["id"] not in seen:
                    watch(job)
                    if job["state"] in ENDS:
                        seen.add(job["id"])
                if job["state"] == "failed":
                    raise DemoFailed(**job["error"])
                if job["state"] == "cancelled":
                    raise DemoFailed("cancelled", f"The {job['kind']} job was cancelled.")
            if resource["state"] == "ready":
                return resource
            if not self._alive():
                raise DemoFailed("service_ended", "The service ended.", "Its log says why.")
            time.sleep(POLL_S)

    def download(self, path: str, to: Path) -> None:
        """Saves the file at `path`, whole or not at all."""
        part = to.with_name(f".{to.name}.part")
        with self._http.stream("GET", path, follow_redirects=True) as answer:
            if answer.is_error:
                answer.read()
            _checked(answer)
            with part.open("wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
        part.replace(to)


def _checked(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is no error. Raises DemoFailed with the problem's words."""
    if answer.is_error:
        try:
            problem = answer.json()
        except ValueError:
            problem = {}
        reason = problem.get("detail") or f"The service answered {answer.status_code}."
        raise DemoFailed(problem.get("code", f"http_{answer.status_code}"), reason)
    return answer
