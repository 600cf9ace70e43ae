"""Measures the database's part of lists, queue positions and claims with many jobs.

    python -m benchmarks.listing [--jobs 100000] [--database postgresql+psycopg://...] [--json out.json]

Fills an empty database (default: a new SQLite file, then a PostgreSQL server of its own), runs the queries of clients and workers,
and prints the cost of each: the shortest wall time of several rounds. CPU time would leave out the database server's own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from api.services import jobs as job_service
from storage.database import migrations, queries
from storage.database.engine import Database
from storage.database.models import LOCAL, Job, Subject, Video, now
from storage.tables import jobs, queue

VIDEOS_PER_SUBJECT = 100
QUEUED_SHARE, RUNNING_JOBS, FAILED_SHARE = 0.1, 8, 0.02
"""Share of queued jobs, number of running jobs, and share of failed ones among those that have ended."""
BATCH_ROWS = 5000
"""Rows per INSERT, which bounds the memory."""
ROUNDS = 15
"""Measurements of each query. The shortest one is the least disturbed by other work of the machine."""


def fill(database: Database, count: int) -> None:
    """Inserts `count` jobs of ready subjects with their videos; QUEUED_SHARE of them are queued. Updates the planner's statistics."""
    start = now() - timedelta(seconds=count)
    rows: dict[type, list[dict]] = {Subject: [], Video: [], Job: []}
    first_running = int(count * (1 - QUEUED_SHARE))
    subject_id = ""
    for number in range(count):
        time_created = start + timedelta(seconds=number)
        ident = f"{number:032x}"
        common = {"owner": LOCAL, "created_at": time_created, "updated_at": time_created}
        if number % (VIDEOS_PER_SUBJECT + 2) == 0:
            subject_id = f"sub_{ident}"
            subject = {"id": subject_id, "name": "Ann", "state": "ready", "preset": "draft", "consent": "yes"}
            rows[Subject].append(subject | common | {"source_key": f"subjects/{subject_id}/source"})
        kind = {0: "preprocess", 1: "train"}.get(number % (VIDEOS_PER_SUBJECT + 2), "render")
        state = "succeeded" if number < first_running else "running"
        if number >= first_running + RUNNING_JOBS:
            state = "queued"
        if state == "succeeded" and number % int(1 / FAILED_SHARE) == 7:
            state = "failed"
        video_id = None
        if kind == "render":
            video_id = f"vid_{ident}"
            video = {"id": video_id, "subject_id": subject_id, "options": {}, "audio_key": f"{video_id}/audio"}
            rows[Video].append(
                video | common | {"state": {"succeeded": "ready", "queued": "pending"}.get(state, state)}
            )
        job = {"id": f"job_{ident}", "kind": kind, "state": state, "subject_id": subject_id, "video_id": video_id}
        wake_up = {"wake_at": now() + timedelta(hours=1) if state == "queued" else None}
        lease = {"lease_until": now() + timedelta(hours=1), "worker": "w", "attempt": 1} if state == "running" else {}
        no_lease = {"lease_until": None, "worker": None, "attempt": 0}
        rows[Job].append(job | common | {"queued_at": time_created, "max_attempts": 3} | wake_up | no_lease | lease)
    with database.session() as session:
        for model, values in rows.items():
            for first in range(0, len(values), BATCH_ROWS):
                session.execute(insert(model), values[first : first + BATCH_ROWS])
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if database.sqlite else "VACUUM ANALYZE"))


def read_queries(session: Session) -> dict[str, Callable[[], object]]:
    """Returns the reads of clients and workers by name. The rows that they are about are selected here, outside the measurement."""

    def select_one(*where, column=Job.id, newest=False):
        return session.scalars(
            select(column).where(*where).order_by(column.desc() if newest else column).limit(1)
        ).one()

    middle = select_one(Job.state == "succeeded", Job.id > f"job_{session.query(Job).count() // 2:032x}")
    subject, video = select_one(column=Subject.id), select_one(column=Video.id)
    first, last = select_one(Job.state == "queued"), select_one(Job.state == "queued", newest=True)
    newest = queries.page(session, Job, owner=LOCAL, state="queued", limit=50).items
    return {
        "jobs, first page": lambda: queries.page(session, Job, owner=LOCAL),
        "jobs, a page in the middle": lambda: queries.page(session, Job, owner=LOCAL, cursor=middle),
        "jobs that failed": lambda: queries.page(session, Job, owner=LOCAL, state="failed"),
        "jobs that run": lambda: queries.page(session, Job, owner=LOCAL, state="running"),
        "trainings": lambda: queries.page(session, Job, owner=LOCAL, kind="train"),
        "jobs of a subject": lambda: queries.page(session, Job, owner=LOCAL, subject_id=subject),
        "jobs of a video": lambda: queries.page(session, Job, owner=LOCAL, video_id=video),
        "subjects": lambda: queries.page(session, Subject, owner=LOCAL),
        "subjects that are ready": lambda: queries.page(session, Subject, owner=LOCAL, state="ready"),
        "videos of a subject": lambda: queries.page(session, Video, owner=LOCAL, subject_id=subject),
        "videos that are pending": lambda: queries.page(session, Video, owner=LOCAL, state="pending"),
        "place of the first in the queue": lambda: queue.queue_positions(session, [first]),
        "place of the last in the queue": lambda: queue.queue_positions(session, [last]),
        "places of the 50 newest": lambda: job_service.queue_positions(session, newest),
        "wake-ups that are due": lambda: jobs.due_wakeups(session),
    }


WRITES: dict[str, Callable[[Session], object]] = {
    "claim": lambda session: jobs.claim(session, "w", lease_s=3600),
    "claim of one kind": lambda session: jobs.claim(session, "w", lease_s=3600, kinds=["train"]),
    "sweep": lambda session: jobs.sweep(session, lost=lambda job: False),
}
"""The writes of workers by name; each runs in a transaction of its own."""


def measure(database: Database) -> dict[str, float]:
    """Returns the shortest time of each query and each write, in milliseconds, by name."""
    times: dict[str, float] = {}
    with database.session(write=False) as session:
        for name, query in read_queries(session).items():
            times[name] = _shortest_ms(query)
    for name, write in WRITES.items():

        def transaction(write=write):
            with database.session() as session:
                write(session)

        times[name] = _shortest_ms(transaction)
    return times


def _shortest_ms(work: Callable[[], object]) -> float:
    durations = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        durations.append(1e3 * (time.perf_counter() - start))
    return min(durations)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, prints a table, and writes JSON if a file is given."""
    parser = argparse.ArgumentParser("python -m benchmarks.listing", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100_000, help="number of jobs (default: %(default)s)")
    parser.add_argument("--database", help="URL of an empty database (default: SQLite, then PostgreSQL)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    if options.database:
        results = {"database": _run(options.database, options.jobs)}
    else:
        from tests.servers import PostgreSQL, running

        with tempfile.TemporaryDirectory() as folder, running(PostgreSQL) as (server,):
            results = {
                "SQLite": _run(f"sqlite:///{folder}/listing.db", options.jobs),
                "PostgreSQL": _run(server.url, options.jobs),
            }
    table = Table("ms, best", *results, title=f"{options.jobs} jobs")
    for name in next(iter(results.values())):
        table.add_row(name, *(f"{times[name]:.2f}" for times in results.values()))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"jobs": options.jobs, "best_ms": results}, indent=1) + "\n")


def _run(url: str, count: int) -> dict[str, float]:
    database = Database(url)
    migrations.upgrade(database)
    fill(database, count)
    times = measure(database)
    database.close()
    return times


if __name__ == "__main__":
    main()
