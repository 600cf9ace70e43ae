"""What the lists, the queue and a claim cost with many jobs.

    python -m benchmarks.listing [--jobs 100000] [--database postgresql+psycopg://...] [--json out.json]

Fills an empty database (default: a new SQLite file, then a PostgreSQL server of its own), asks what clients and workers
ask, and prints what each question costs: the best of several rounds, by the clock, as the database has a part in it.
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
from storage.tables import jobs

VIDEOS_A_SUBJECT = 100
QUEUED_SHARE, RUNNING, FAILED_SHARE = 0.1, 8, 0.02
BATCH = 5000
ROUNDS = 15


def fill(database: Database, count: int) -> None:
    """Makes about `count` jobs: subjects that are ready, each with videos; a tenth of them still queued."""
    start = now() - timedelta(seconds=count)
    rows: dict[type, list[dict]] = {Subject: [], Video: [], Job: []}
    queued = int(count * (1 - QUEUED_SHARE))
    subject_id = ""
    for number in range(count):
        moment = start + timedelta(seconds=number)
        ident = f"{number:032x}"
        every = {"owner": LOCAL, "created_at": moment, "updated_at": moment}
        if number % (VIDEOS_A_SUBJECT + 2) == 0:
            subject_id = f"sub_{ident}"
            subject = {"id": subject_id, "name": "Ann", "state": "ready", "preset": "draft", "consent": "yes"}
            rows[Subject].append(subject | every | {"source_key": f"subjects/{subject_id}/source"})
        kind = {0: "preprocess", 1: "train"}.get(number % (VIDEOS_A_SUBJECT + 2), "render")
        state = "queued" if number >= queued + RUNNING else "running" if number >= queued else "succeeded"
        if state == "succeeded" and number % int(1 / FAILED_SHARE) == 7:
            state = "failed"
        video_id = None
        if kind == "render":
            video_id = f"vid_{ident}"
            video = {"id": video_id, "subject_id": subject_id, "options": {}, "audio_key": f"{video_id}/audio"}
            rows[Video].append(video | every | {"state": {"succeeded": "ready", "queued": "pending"}.get(state, state)})
        job = {"id": f"job_{ident}", "kind": kind, "state": state, "subject_id": subject_id, "video_id": video_id}
        waiting = {"wake_at": now() + timedelta(hours=1) if state == "queued" else None}
        lease = {"lease_until": now() + timedelta(hours=1), "worker": "w", "attempt": 1} if state == "running" else {}
        free = {"lease_until": None, "worker": None, "attempt": 0}
        rows[Job].append(job | every | {"queued_at": moment, "max_attempts": 3} | waiting | free | lease)
    with database.session() as session:
        for model, values in rows.items():
            for first in range(0, len(values), BATCH):
                session.execute(insert(model), values[first : first + BATCH])
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if database.sqlite else "VACUUM ANALYZE"))


def questions(session: Session) -> dict[str, Callable[[], object]]:
    """What is asked, by name; the rows that it is asked about are looked up here."""

    def some(*where, column=Job.id, newest=False):
        return session.scalars(
            select(column).where(*where).order_by(column.desc() if newest else column).limit(1)
        ).one()

    middle = some(Job.state == "succeeded", Job.id > f"job_{session.query(Job).count() // 2:032x}")
    subject, video = some(column=Subject.id), some(column=Video.id)
    first, last = some(Job.state == "queued"), some(Job.state == "queued", newest=True)
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
        "place of the first in the queue": lambda: jobs.queue_positions(session, [first]),
        "place of the last in the queue": lambda: jobs.queue_positions(session, [last]),
        "places of the 50 newest": lambda: job_service.queue_positions(session, newest),
        "wake-ups that are due": lambda: jobs.due_wakeups(session),
    }


WRITES: dict[str, Callable[[Session], object]] = {
    "claim": lambda session: jobs.claim(session, "w", lease_s=3600),
    "claim of one kind": lambda session: jobs.claim(session, "w", lease_s=3600, kinds=["train"]),
    "sweep": jobs.sweep,
}
"""What workers do, by name."""


def measure(database: Database) -> dict[str, float]:
    """The best time of each question and each write, in milliseconds."""
    times: dict[str, float] = {}
    with database.session(write=False) as session:
        for name, ask in questions(session).items():
            times[name] = _best(ask)
    for name, write in WRITES.items():

        def transaction(write=write):
            with database.session() as session:
                write(session)

        times[name] = _best(transaction)
    return times


def _best(ask: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        ask()
        taken.append(1e3 * (time.perf_counter() - start))
    return min(taken)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints a table, and writes JSON where asked to."""
    parser = argparse.ArgumentParser("python -m benchmarks.listing", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100_000, help="how many (default: %(default)s)")
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
