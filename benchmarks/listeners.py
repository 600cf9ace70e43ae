"""What it costs that many follow jobs by server-sent events.

    python -m benchmarks.listeners [--listeners 500] [--jobs 50] [--seconds 10] [--json out.json]

Starts the API as a process of its own, lets that many connections follow jobs, and prints, without and with them: how long
a request for a job takes, and the processor time and memory of the API while nothing happens and while every job tells of
progress once a second, as workers do. Last, how long a change takes until everybody has heard it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.api_load import Api, serving
from storage.database.engine import Database
from storage.database.models import Job
from storage.settings import Settings
from storage.tables import jobs

ASKED = 100
"""Requests of which the latency is told."""


class Service:
    """The API on a database of its own, with some jobs that run."""

    def __init__(self, api: Api, database: Database, count: int):
        self.api, self.database = api, database
        self.jobs = [self._running_job() for _ in range(count)]

    def _running_job(self) -> Job:
        self.api.submit()
        with self.database.session() as session:
            return jobs.claim(session, "benchmark", lease_s=3600)

    def tell(self, progress: float) -> None:
        """Every job has come so far."""
        with self.database.session() as session:
            for job in self.jobs:
                jobs.heartbeat(session, job.id, job.attempt, jobs.JobProgress("track", progress, 60.0), lease_s=3600)

    def latency(self) -> dict[str, float]:
        """Of a request for a job, ms."""
        times = []
        for number in range(ASKED):
            begun = time.perf_counter()
            self.api.client.get(f"/v1/jobs/{self.jobs[number % len(self.jobs)].id}").raise_for_status()
            times.append(1000 * (time.perf_counter() - begun))
        return {"p50_ms": round(median(times), 1), "p99_ms": round(quantiles(times, n=100)[98], 1)}

    def load(self, seconds: float, tell: bool = False) -> dict[str, float]:
        """Processor time, as a share of one core, and memory."""
        before, begun = self.api.cpu_s(), time.monotonic()
        while (passed := time.monotonic() - begun) < seconds:
            if tell:
                self.tell(passed / seconds)
            time.sleep(1)
        share = (self.api.cpu_s() - before) / (time.monotonic() - begun)
        return {"core_share": round(share, 3), "memory_mib": self.api.memory_mib()}


async def _listen(port: int, job_id: str, heard: asyncio.Queue[str]) -> None:
    """Follows one job; every event's name goes into `heard`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    try:
        while line := await reader.readline():
            if line.startswith(b"event: "):
                heard.put_nowait(line[7:].decode().strip())
    finally:
        writer.close()


async def measure(service: Service, listeners: int, seconds: float) -> dict[str, Any]:
    """The figures, with that many listeners, shared out among the jobs."""
    figures: dict[str, Any] = {"alone": await asyncio.to_thread(service.latency)}
    figures["alone"] |= await asyncio.to_thread(service.load, seconds)
    heard: asyncio.Queue[str] = asyncio.Queue()
    following = [
        asyncio.create_task(
            _listen(service.api.client.base_url.port, service.jobs[number % len(service.jobs)].id, heard)
        )
        for number in range(listeners)
    ]
    for _ in following:
        await heard.get()
    figures["followed"] = await asyncio.to_thread(service.latency)
    figures["followed"] |= await asyncio.to_thread(service.load, seconds)
    figures["told"] = await asyncio.to_thread(service.load, seconds, tell=True)
    await asyncio.sleep(2)
    while not heard.empty():
        heard.get_nowait()
    begun = time.perf_counter()
    await asyncio.to_thread(service.tell, 1.0)
    for _ in following:
        await heard.get()
    figures["all_have_heard_s"] = round(time.perf_counter() - begun, 2)
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    return figures


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures, prints, and returns the figures."""
    parser = argparse.ArgumentParser("python -m benchmarks.listeners", description=__doc__.split("\n")[0])
    parser.add_argument("--listeners", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=50, help="that are followed (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each look at the load (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="listeners-") as folder:
        settings = Settings(data_dir=Path(folder), address_rate_limit="off")
        with serving(settings) as api, closing(Database(settings.database)) as database:
            service = Service(api, database, given.jobs)
            figures = {"listeners": given.listeners, "jobs": given.jobs}
            figures |= asyncio.run(measure(service, given.listeners, given.seconds))
    print(json.dumps(figures, indent=2))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")
    return figures


if __name__ == "__main__":
    main()
