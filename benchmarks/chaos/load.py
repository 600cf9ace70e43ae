"""Load: what the API's clients wait for while workers use up the processors and a large upload runs, and its memory."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.chaos.clients import SUBJECT, Client
from benchmarks.chaos.outcome import Outcome, percentiles
from benchmarks.chaos.stage import Servers, Stage

MIB = 1 << 20
BUSY = {"steps": 1_000_000, "spin": 0.2}
GROWTH_MIB = 32
"""More memory than so much is not flat."""


def load(
    on: Servers,
    folder: Path,
    *,
    upload_mib: int,
    requests: int,
    jobs: int,
    busy_workers: int = os.cpu_count() or 1,
    **settings: Any,
) -> Outcome:
    """Workers that use up a processor each; one upload beside polling; then so many subjects sent."""
    outcome = Outcome("load")
    folder_store = {"store_url": ""}  # the upload shall not fill the memory of a toy store
    stage = Stage(on, folder, **settings | folder_store)
    try:
        url = stage.api(machine="a")
        client = Client(url)
        workers = [f"worker-{number}" for number in range(busy_workers)]
        busy = [stage.until(lambda: client.subject(**BUSY))["jobs"][0]["id"] for _ in workers]
        for name in workers:
            stage.worker(name)
        stage.until(lambda: {step.job_id for step in stage.steps()} == set(busy))
        pid = stage.programs["api"].process.pid
        before = memory_mib(pid)
        with Upload(url, folder / "large.mp4", upload_mib) as upload:
            polled = [poll(client, busy[0]) for _ in range(requests)]
            lasted = upload.wait()
        after = memory_mib(pid)
        outcome.figures = {
            "processors": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 1),
            "busy_workers": len(workers),
            "upload_mib": upload_mib,
            "upload_s": round(lasted, 1),
            "poll_s": percentiles(polled, 50, 99),
            "memory_mib_before_the_upload": before,
            "memory_mib_after_it": after,
        }
        for name in workers:
            stage.remove(name)
        outcome.figures["memory_mib_by_jobs"] = memory = {}
        for number in range(jobs + 1):
            if number % max(1, jobs // 5) == 0:
                memory[number] = memory_mib(pid)
            if number < jobs:
                stage.until(lambda: client.subject(steps=1))
        client.close()
    finally:
        stage.close()
    outcome.hold(upload.status == 202, f"the upload was answered with {upload.status}")
    outcome.hold(after - before < GROWTH_MIB, f"an upload took {after - before} MiB")
    settled = list(memory.values())[1:]  # the first jobs fill caches and pools
    outcome.hold(settled[-1] - settled[0] < GROWTH_MIB, f"jobs took {settled[-1] - settled[0]} MiB")
    return outcome


class Upload:
    """A reference video of so many MiB, sent from a thread of its own while the block runs."""

    def __init__(self, url: str, path: Path, mib: int):
        self.url, self.path = url, path
        self.status: int | None = None
        with path.open("wb") as file:
            file.write(b"\0\0\0\x18ftypmp42")
            file.truncate(mib * MIB)
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Upload:
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self.path.unlink()

    def wait(self) -> float:
        """The seconds that it took, once it is over."""
        self._thread.join()
        return self._lasted

    def _send(self) -> None:
        with self.path.open("rb") as file:
            answer = httpx.post(f"{self.url}/v1/subjects", data=SUBJECT, files={"video": file}, timeout=600)
        self.status = answer.status_code
        self._lasted = time.monotonic() - self._begun


def poll(client: Client, job_id: str) -> float:
    """The seconds that one look at a job takes."""
    begun = time.monotonic()
    if client.read(f"/v1/jobs/{job_id}") is None:
        raise RuntimeError("the API did not answer")
    return time.monotonic() - begun


def memory_mib(pid: int) -> float:
    """What a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)
