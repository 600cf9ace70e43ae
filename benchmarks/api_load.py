"""Measures the cost of the API: `python -m benchmarks.api_load [--requests N] [--upload-mib N] [--jobs N] [--json FILE]`.

One API process gets one request at a time, first on an idle machine, then during a large upload while a busy process occupies
each processor, as workers do. The wall time is the latency for a client; the CPU time is that of the API alone, and is valid on a
busy machine too. Then `--jobs` subjects are sent, and the memory of the process is recorded.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url

from storage.database import migrations
from storage.database.engine import Database
from storage.settings import Settings, environment_of
from tests.servers import free_port

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "api_load.json"
MIB = 1 << 20
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
"""Unit of the CPU times in /proc, seconds."""
MP4_HEAD = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
"""First bytes of an MP4: the API accepts a file that begins with them, and only the job reads the rest."""
FORM = {"preset": "draft", "consent": "nobody: a benchmark"}
"""Form fields of POST /v1/subjects."""


def main() -> None:
    """Parses the command line, measures, and prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300, help="requests of each kind (default: %(default)s)")
    parser.add_argument("--upload-mib", type=int, default=500, help="size of the upload, MiB (default: %(default)s)")
    parser.add_argument(
        "--jobs", type=int, default=1000, help="subjects to send for the measurement of memory (default: %(default)s)"
    )
    parser.add_argument(
        "--database-url", default="", help="URL of an empty database (default: SQLite in a temporary folder)"
    )
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the figures (default: %(default)s)")
    args = parser.parse_args()
    figures = measure(args.requests, args.upload_mib, args.jobs, args.database_url)
    show(figures)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(requests: int, upload_mib: int, jobs: int, database_url: str = "") -> dict[str, Any]:
    """Makes all measurements; returns the figures, times in milliseconds and memory in MiB."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="api-load-")))
        api = stack.enter_context(serving(Settings(data_dir=folder, database_url=database_url)))
        figures: dict[str, Any] = {
            "machine": {"processors": os.cpu_count(), "python": platform.python_version()},
            "database": make_url(database_url).get_backend_name() if database_url else "sqlite",
            "start_cpu_s": round(api.cpu_s(), 2),
        }
        api.submit()
        figures["alone"] = costs(api, requests)
        with spinning():
            figures["load_average"] = round(os.getloadavg()[0], 1)
            figures["upload"], figures["at_once"] = with_upload(api, folder / "large.mp4", upload_mib, requests)
        figures["submit"] = submissions(api, jobs)
        return figures


class Api:
    """A running API process.

    Attributes:
        process: the process, for its CPU time and memory.
        client: an HTTP client of it.
    """

    def __init__(self, process: subprocess.Popen, url: str):
        self.process = process
        self.client = httpx.Client(base_url=url, timeout=600, trust_env=False)

    def cpu_s(self) -> float:
        """Returns the CPU time that the process has used, seconds."""
        ticks = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]  # utime, stime
        return sum(map(int, ticks)) * TICK_S

    def memory_mib(self, field: str = "VmRSS") -> float:
        """Returns the current resident memory of the process, MiB; for the field `VmHWM`, its peak."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024, 1)

    def submit(self) -> dict[str, Any]:
        """Sends a subject whose video has a few bytes; returns the subject."""
        response = self.client.post("/v1/subjects", data=FORM, files={"video": ("a.mp4", MP4_HEAD + bytes(4096))})
        return response.raise_for_status().json()


@contextmanager
def serving(settings: Settings) -> Iterator[Api]:
    """Runs an API process with `settings` inside the block; creates the tables if there are none."""
    with closing(Database(settings.database)) as database:
        migrations.upgrade(database)
    port = free_port()
    command = [sys.executable, "-m", "api", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=environment_of(settings), stderr=subprocess.DEVNULL) as process:
        try:
            api = Api(process, f"http://127.0.0.1:{port}")
            while not answers(api.client):
                if process.poll() is not None:
                    raise RuntimeError(f"the API ended with status {process.returncode}")
                time.sleep(0.1)
            with closing(api.client):
                yield api
        finally:
            process.terminate()


def answers(client: httpx.Client) -> bool:
    """Returns whether the process accepts requests."""
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


@contextmanager
def spinning() -> Iterator[None]:
    """Occupies all processors inside the block, with one busy process for each."""
    spinners = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    for spinner in spinners:
        spinner.start()
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.join()


def _spin() -> None:
    while True:
        pass


def costs(api: Api, requests: int) -> dict[str, dict[str, float]]:
    """Measures each kind of request; returns the figures by the name of the kind."""
    job = api.client.get("/v1/jobs?limit=1").json()["items"][0]["links"]["self"]
    etag = {"If-None-Match": api.client.get(job).headers["etag"]}
    kinds: dict[str, Callable[[], httpx.Response]] = {
        "poll a job, unchanged (304)": lambda: api.client.get(job, headers=etag),
        "poll a job (200)": lambda: api.client.get(job),
        "list 50 jobs": lambda: api.client.get("/v1/jobs?limit=50"),
        "health": lambda: api.client.get("/healthz"),
        "figures for Prometheus": lambda: api.client.get("/metrics"),
    }
    return {name: cost(api, send, requests) for name, send in kinds.items()}


def cost(
    api: Api, send: Callable[[], httpx.Response], requests: int, more: Callable[[], bool] = lambda: False
) -> dict[str, float]:
    """Measures one kind of request.

    Args:
        api: the API process.
        send: sends one request.
        requests: number of requests.
        more: while it returns true, further requests are sent.

    Returns:
        Median and 99th percentile of the wall time, and the API's CPU time per request, all in milliseconds.
    """
    walls, cpu_before = [], api.cpu_s()
    while len(walls) < requests or more():
        start = time.perf_counter()
        response = send()
        walls.append(time.perf_counter() - start)
        if response.is_error:
            raise RuntimeError(f"{response.request.url.path}: {response.status_code}")
    walls.sort()
    return {
        "p50_ms": round(1000 * walls[len(walls) // 2], 2),
        "p99_ms": round(1000 * walls[len(walls) * 99 // 100], 2),
        "cpu_ms": round(1000 * (api.cpu_s() - cpu_before) / len(walls), 2),
    }


def with_upload(api: Api, path: Path, mib: int, requests: int) -> tuple[dict[str, float], dict[str, float]]:
    """Sends a reference video of `mib` MiB and polls a job meanwhile; returns the figures of the upload and of the polling."""
    with path.open("wb") as file:
        file.write(MP4_HEAD)
        file.truncate(mib * MIB)
    durations: list[float] = []

    def send() -> None:
        start = time.perf_counter()
        with path.open("rb") as video, httpx.Client(base_url=api.client.base_url, timeout=600) as client:
            client.post("/v1/subjects", data=FORM, files={"video": ("large.mp4", video)}).raise_for_status()
        durations.append(time.perf_counter() - start)

    job = api.client.get("/v1/jobs?limit=1").json()["items"][0]["links"]["self"]
    etag = {"If-None-Match": api.client.get(job).headers["etag"]}
    memory_before = api.memory_mib()
    sender = threading.Thread(target=send)
    sender.start()
    polling = cost(api, lambda: api.client.get(job, headers=etag), requests, sender.is_alive)
    sender.join()
    path.unlink()
    if not durations:
        raise RuntimeError("the upload failed")
    upload = {
        "mib": mib,
        "seconds": round(durations[0], 2),
        "mib_per_s": round(mib / durations[0], 1),
        "memory_before_mib": memory_before,
        "memory_peak_mib": api.memory_mib("VmHWM"),
    }
    return upload, {name: polling[name] for name in ("p50_ms", "p99_ms")}


def submissions(api: Api, jobs: int) -> dict[str, Any]:
    """Sends `jobs` subjects; returns the CPU time of each and the memory, measured six times."""
    memory, cpu_before = {0: api.memory_mib()}, api.cpu_s()
    for number in range(1, jobs + 1):
        api.submit()
        if number % max(1, jobs // 5) == 0:
            memory[number] = api.memory_mib()
    return {"cpu_ms": round(1000 * (api.cpu_s() - cpu_before) / jobs, 2), "memory_mib_by_jobs": memory}


def show(figures: dict[str, Any]) -> None:
    """Prints the figures as a table."""
    table = Table("request", "p50 ms", "p99 ms", "CPU ms of the API", title="one client", title_justify="left")
    for name, figure in figures["alone"].items():
        table.add_row(name, *(f"{figure[key]:.1f}" for key in ("p50_ms", "p99_ms", "cpu_ms")))
    table.add_row(
        "poll (304), processors busy, upload running", *(f"{value:.1f}" for value in figures["at_once"].values()), ""
    )
    console = Console()
    console.print(table)
    for name in ("database", "start_cpu_s", "load_average", "upload", "submit"):
        console.print(f"{name}: {figures[name]}", highlight=False)


if __name__ == "__main__":
    main()
