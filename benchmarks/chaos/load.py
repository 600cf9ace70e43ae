"""Experiment with load: latency and memory of the API during a large upload while workers occupy all processors."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.chaos.clients import SUBJECT, Client
from benchmarks.chaos.outcome import Outcome, percentiles
from benchmarks.chaos.service import Servers, Service

MIB = 1 << 20
BUSY = {"steps": 1_000_000, "spin": 0.2}
"""Orders for the stub core: a job that occupies a processor for longer than the experiment."""
GROWTH_MIB = 32
"""Growth of the API's memory that is still accepted as constant, MiB: buffers, and fragments of the allocator."""


def load(
    backends: Servers,
    folder: Path,
    *,
    upload_mib: int,
    requests: int,
    jobs: int,
    busy_workers: int = os.cpu_count() or 1,
    **settings: Any,
) -> Outcome:
    """Measures the API beside busy workers: one upload while a job is polled, then the memory while many subjects are sent.

    Args:
        backends: the servers.
        folder: for all files of the service.
        upload_mib: size of the upload, MiB.
        requests: number of polls during the upload.
        jobs: number of subjects to send after it.
        busy_workers: number of workers, each of which occupies a processor.
        settings: settings of the service that differ from the defaults.
    """
    outcome = Outcome("load")
    folder_store = {"store_url": ""}  # a second server would need processors as well
    service = Service(backends, folder, **settings | folder_store)
    try:
        url = service.api(machine="a")
        client = Client(url)
        workers = [f"worker-{number}" for number in range(busy_workers)]
        busy_jobs = [service.until(lambda: client.subject(**BUSY))["jobs"][0]["id"] for _ in workers]
        for name in workers:
            service.worker(name)
        service.until(lambda: {step.job_id for step in service.steps()} == set(busy_jobs))
        pid = service.programs["api"].process.pid
        memory_before = memory_mib(pid)
        with Upload(url, folder / "large.mp4", upload_mib) as upload:
            latencies = [poll(client, busy_jobs[0]) for _ in range(requests)]
            upload_s = upload.wait()
        memory_after = memory_mib(pid)
        outcome.figures = {
            "processors": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 1),
            "busy_workers": len(workers),
            "upload_mib": upload_mib,
            "upload_s": round(upload_s, 1),
            "poll_s": percentiles(latencies, 50, 99),
            "memory_mib_before_the_upload": memory_before,
            "memory_mib_after_it": memory_after,
        }
        for name in workers:
            service.remove(name)
        outcome.figures["memory_mib_by_jobs"] = memory = _memory_by_jobs(service, client, pid, jobs)
        client.close()
    finally:
        service.close()
    outcome.check(upload.status == 202, f"the upload was answered with {upload.status}")
    growth = memory_after - memory_before
    outcome.check(growth < GROWTH_MIB, f"an upload took {growth} MiB")
    settled = list(memory.values())[1:]  # the first jobs fill caches and pools
    outcome.check(settled[-1] - settled[0] < GROWTH_MIB, f"jobs took {settled[-1] - settled[0]} MiB")
    return outcome


def _memory_by_jobs(service: Service, client: Client, pid: int, jobs: int) -> dict[int, float]:
    """Sends `jobs` subjects; returns the memory of process `pid`, MiB, after each fifth of them."""
    memory = {}
    for number in range(jobs + 1):
        if number % max(1, jobs // 5) == 0:
            memory[number] = memory_mib(pid)
        if number < jobs:
            service.until(lambda: client.subject(steps=1))
    return memory


class Upload:
    """Sends a reference video of `mib` MiB in a thread of its own, which the end of the block waits for."""

    def __init__(self, url: str, path: Path, mib: int):
        self.url, self.path = url, path
        self.status: int | None = None
        with path.open("wb") as file:
            file.write(b"\0\0\0\x18ftypmp42")
            file.truncate(mib * MIB)
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Upload:
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self.path.unlink()

    def wait(self) -> float:
        """Waits for the end of the upload; returns its duration, seconds."""
        self._thread.join()
        return self._seconds

    def _send(self) -> None:
        with self.path.open("rb") as file:
            response = httpx.post(f"{self.url}/v1/subjects", data=SUBJECT, files={"video": file}, timeout=600)
        self.status = response.status_code
        self._seconds = time.monotonic() - self._start


def poll(client: Client, job_id: str) -> float:
    """Requests a job; returns the latency, seconds."""
    start = time.monotonic()
    if client.read(f"/v1/jobs/{job_id}") is None:
        raise RuntimeError("the API did not answer")
    return time.monotonic() - start


def memory_mib(pid: int) -> float:
    """Returns the resident memory of a process, MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)
