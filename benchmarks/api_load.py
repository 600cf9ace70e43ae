"""What the API costs: `python -m benchmarks.api_load [--requests N] [--upload-mib N] [--jobs N] [--json FILE]`.

One API process, asked one request at a time, at first alone and then with everything at once: a spinning process for each
processor, as busy workers are, and a large upload. Wall time is what a client waits; CPU time is what the API itself
spends on a request, and holds on a busy machine too. Then so many subjects are sent, and the process's memory is noted.
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
HEAD = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
FORM = {"preset": "draft", "consent": "nobody: a benchmark"}


def main() -> None:
    """Parses the command line, measures, prints, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300, help="of each sort (default: %(default)s)")
    parser.add_argument("--upload-mib", type=int, default=500, help="size of the upload (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1000, help="subjects sent for the memory (default: %(default)s)")
    parser.add_argument("--database-url", default="", help="default: SQLite in a temporary folder")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go (default: %(default)s)")
    given = parser.parse_args()
    figures = measure(given.requests, given.upload_mib, given.jobs, given.database_url)
    show(figures)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(requests: int, upload_mib: int, jobs: int, database_url: str = "") -> dict[str, Any]:
    """All figures: times in milliseconds, memory in MiB."""
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
    """An API process, as a client and as its supervisor see it."""

    def __init__(self, process: subprocess.Popen, url: str):
        self.process = process
        self.client = httpx.Client(base_url=url, timeout=600, trust_env=False)

    def cpu_s(self) -> float:
        """The processor time that it has used."""
        spent = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, spent)) * TICK_S

    def memory_mib(self, what: str = "VmRSS") -> float:
        """Its memory now; with `VmHWM` the most that it ever had."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024, 1)

    def submit(self) -> dict[str, Any]:
        """A subject of a few bytes."""
        answer = self.client.post("/v1/subjects", data=FORM, files={"video": ("a.mp4", HEAD + bytes(4096))})
        return answer.raise_for_status().json()


@contextmanager
def serving(settings: Settings) -> Iterator[Api]:
    """The API on `settings`, with fresh tables where there are none."""
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
    """Whether the process takes requests."""
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


@contextmanager
def spinning() -> Iterator[None]:
    """All processors busy, by processes that do nothing else."""
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
    """What each sort of request costs."""
    job = api.client.get("/v1/jobs?limit=1").json()["items"][0]["links"]["self"]
    etag = {"If-None-Match": api.client.get(job).headers["etag"]}
    sorts: dict[str, Callable[[], httpx.Response]] = {
        "poll a job, unchanged (304)": lambda: api.client.get(job, headers=etag),
        "poll a job (200)": lambda: api.client.get(job),
        "list 50 jobs": lambda: api.client.get("/v1/jobs?limit=50"),
        "health": lambda: api.client.get("/healthz"),
        "figures for Prometheus": lambda: api.client.get("/metrics"),
    }
    return {name: cost(api, ask, requests) for name, ask in sorts.items()}


def cost(
    api: Api, ask: Callable[[], httpx.Response], requests: int, going_on: Callable[[], bool] = lambda: False
) -> dict[str, float]:
    """Wall time p50 and p99, and the API's CPU time, of one request; more are made while something is `going_on`."""
    walls, before = [], api.cpu_s()
    while len(walls) < requests or going_on():
        begun = time.perf_counter()
        answer = ask()
        walls.append(time.perf_counter() - begun)
        if answer.is_error:
            raise RuntimeError(f"{answer.request.url.path}: {answer.status_code}")
    walls.sort()
    return {
        "p50_ms": round(1000 * walls[len(walls) // 2], 2),
        "p99_ms": round(1000 * walls[len(walls) * 99 // 100], 2),
        "cpu_ms": round(1000 * (api.cpu_s() - before) / len(walls), 2),
    }


def with_upload(api: Api, path: Path, mib: int, requests: int) -> tuple[dict[str, float], dict[str, float]]:
    """Sends a reference video of `mib` MiB, and polls beside it: what the upload cost, and what polling took."""
    with path.open("wb") as file:
        file.write(HEAD)
        file.truncate(mib * MIB)
    lasted: list[float] = []

    def send() -> None:
        begun = time.perf_counter()
        with path.open("rb") as video, httpx.Client(base_url=api.client.base_url, timeout=600) as client:
            client.post("/v1/subjects", data=FORM, files={"video": ("large.mp4", video)}).raise_for_status()
        lasted.append(time.perf_counter() - begun)

    job = api.client.get("/v1/jobs?limit=1").json()["items"][0]["links"]["self"]
    etag = {"If-None-Match": api.client.get(job).headers["etag"]}
    before = api.memory_mib()
    sender = threading.Thread(target=send)
    sender.start()
    polled = cost(api, lambda: api.client.get(job, headers=etag), requests, sender.is_alive)
    sender.join()
    path.unlink()
    if not lasted:
        raise RuntimeError("the upload failed")
    upload = {
        "mib": mib,
        "seconds": round(lasted[0], 2),
        "mib_per_s": round(mib / lasted[0], 1),
        "memory_before_mib": before,
        "memory_peak_mib": api.memory_mib("VmHWM"),
    }
    return upload, {name: polled[name] for name in ("p50_ms", "p99_ms")}


def submissions(api: Api, jobs: int) -> dict[str, Any]:
    """Sends `jobs` subjects, and notes the memory six times on the way."""
    memory, spent = {0: api.memory_mib()}, api.cpu_s()
    for number in range(1, jobs + 1):
        api.submit()
        if number % max(1, jobs // 5) == 0:
            memory[number] = api.memory_mib()
    return {"cpu_ms": round(1000 * (api.cpu_s() - spent) / jobs, 2), "memory_mib_by_jobs": memory}


def show(figures: dict[str, Any]) -> None:
    """Prints the figures."""
    table = Table("request", "p50 ms", "p99 ms", "CPU ms of the API", title="one client", title_justify="left")
    for name, one in figures["alone"].items():
        table.add_row(name, *(f"{one[key]:.1f}" for key in ("p50_ms", "p99_ms", "cpu_ms")))
    table.add_row(
        "poll (304), processors busy, upload running", *(f"{value:.1f}" for value in figures["at_once"].values()), ""
    )
    console = Console()
    console.print(table)
    for name in ("database", "start_cpu_s", "load_average", "upload", "submit"):
        console.print(f"{name}: {figures[name]}", highlight=False)


if __name__ == "__main__":
    main()
