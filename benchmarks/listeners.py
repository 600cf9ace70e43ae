"""Measures the cost of many clients that follow jobs by server-sent events.

    python -m benchmarks.listeners [--listeners 500] [--jobs 50] [--seconds 10] [--json out.json]

Starts the API as a process of its own and opens connections that follow jobs. Prints, without and with these connections: the
latency of a request for a job, and the CPU time and memory of the API, both while nothing happens and while every job reports
progress once a second, as workers do. Finally prints how long it takes until all connections have received a change.
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

LATENCY_REQUESTS = 100
"""Requests per measurement of the latency; with fewer, the 99th percentile would be the maximum."""


class Service:
    """The API with a database of its own and `count` running jobs."""

    def __init__(self, api: Api, database: Database, count: int):
        self.api, self.database = api, database
        self.jobs = [self._running_job() for _ in range(count)]

    def _running_job(self) -> Job:
        self.api.submit()
        with self.database.session() as session:
            return jobs.claim(session, "benchmark", lease_s=3600)

    def report_progress(self, progress: float) -> None:
        """Sends a heartbeat with this progress, 0..1, for every job."""
        with self.database.session() as session:
            for job in self.jobs:
                jobs.heartbeat(session, job.id, job.attempt, jobs.JobProgress("track", progress, 60.0), lease_s=3600)

    def latency(self) -> dict[str, float]:
        """Returns the median and 99th percentile of the latency of a request for a job, ms."""
        times = []
        for number in range(LATENCY_REQUESTS):
            start = time.perf_counter()
            self.api.client.get(f"/v1/jobs/{self.jobs[number % len(self.jobs)].id}").raise_for_status()
            times.append(1000 * (time.perf_counter() - start))
        return {"p50_ms": round(median(times), 1), "p99_ms": round(quantiles(times, n=100)[98], 1)}

    def load(self, seconds: float, progress: bool = False) -> dict[str, float]:
        """Waits `seconds`; returns the API's CPU time, as a share of one core, and its memory.

        Args:
            seconds: duration of the measurement.
            progress: whether all jobs report progress once a second.
        """
        cpu_before, start = self.api.cpu_s(), time.monotonic()
        while (elapsed := time.monotonic() - start) < seconds:
            if progress:
                self.report_progress(elapsed / seconds)
            time.sleep(1)
        share = (self.api.cpu_s() - cpu_before) / (time.monotonic() - start)
        return {"core_share": round(share, 3), "memory_mib": self.api.memory_mib()}


async def _follow(port: int, job_id: str, events: asyncio.Queue[str]) -> None:
    """Follows one job; puts the name of every event into `events`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    try:
        while line := await reader.readline():
            if line.startswith(b"event: "):
                events.put_nowait(line[7:].decode().strip())
    finally:
        writer.close()


async def measure(service: Service, listeners: int, seconds: float) -> dict[str, Any]:
    """Measures without connections, and then with `listeners` connections, spread evenly over the jobs; returns the figures."""
    figures: dict[str, Any] = {"alone": await asyncio.to_thread(service.latency)}
    figures["alone"] |= await asyncio.to_thread(service.load, seconds)
    events: asyncio.Queue[str] = asyncio.Queue()
    followers = [
        asyncio.create_task(
            _follow(service.api.client.base_url.port, service.jobs[number % len(service.jobs)].id, events)
        )
        for number in range(listeners)
    ]
    for _ in followers:
        await events.get()
    figures["followed"] = await asyncio.to_thread(service.latency)
    figures["followed"] |= await asyncio.to_thread(service.load, seconds)
    figures["told"] = await asyncio.to_thread(service.load, seconds, progress=True)
    await asyncio.sleep(2)  # the events of the last change arrive
    while not events.empty():
        events.get_nowait()
    start = time.perf_counter()
    await asyncio.to_thread(service.report_progress, 1.0)
    for _ in followers:
        await events.get()
    figures["all_have_heard_s"] = round(time.perf_counter() - start, 2)
    for task in followers:
        task.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    return figures


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Parses the command line, measures, and prints the figures; returns them."""
    parser = argparse.ArgumentParser("python -m benchmarks.listeners", description=__doc__.split("\n")[0])
    parser.add_argument("--listeners", type=int, default=500, help="connections (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=50, help="running jobs (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="duration of each measurement of the load (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="listeners-") as folder:
        settings = Settings(data_dir=Path(folder), address_rate_limit="off", event_streams=args.listeners)
        with serving(settings) as api, closing(Database(settings.database)) as database:
            service = Service(api, database, args.jobs)
            figures = {"listeners": args.listeners, "jobs": args.jobs}
            figures |= asyncio.run(measure(service, args.listeners, args.seconds))
    print(json.dumps(figures, indent=2))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return figures


if __name__ == "__main__":
    main()
