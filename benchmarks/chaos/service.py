"""The stage: real servers, the processes of the service on them, and a supervisor that starts again what ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx
import redis
from sqlalchemy import make_url, select

from benchmarks.chaos.cable import Cable
from benchmarks.chaos.core import JOURNAL, VISIBILITY, Step, read_journal
from storage.database import migrations
from storage.database.engine import Database
from storage.database.models import Job
from storage.objects.open_store import open_store
from storage.settings import Settings, environment_of
from storage.tables import counters
from tests.servers import S3, PostgreSQL, Redis, free_port, running
from worker.broker import QUEUES

ROOT = Path(__file__).parents[2]
RESTART_S = 0.5
"""What a supervisor leaves between the end of a process and its next start."""
PATIENCE_S = 300.0
"""How long anything may take here before the run is given up; machines that measure are busy ones."""

LOOK_S = 0.2
"""Time between looks at whether something has come true; what is measured is read from the journal's times."""

Value = TypeVar("Value")


class Servers(NamedTuple):
    """What the service stands on."""

    redis: Redis
    postgresql: PostgreSQL
    s3: S3


@contextmanager
def servers() -> Iterator[Servers]:
    """All three, on free ports."""
    with running(Redis, PostgreSQL, S3) as started:
        yield Servers(*started)


class Program:
    """A process of the service, in a session of its own together with what it starts."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path):
        self.command, self.environment, self.log = command, environment, log
        self.start()

    def start(self) -> None:
        """Starts it, or starts it again."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def has_ended(self) -> bool:
        """Whether there is something to be started again."""
        return self.process.poll() is not None

    def kill(self, *, whole: bool = True) -> None:
        """kill -9, of all its processes or of the first one only."""
        with suppress(ProcessLookupError):
            (os.killpg if whole else os.kill)(self.process.pid, signal.SIGKILL)

    def owns(self, pid: int) -> bool:
        """Whether this is one of its processes."""
        with suppress(ProcessLookupError):
            return os.getsid(pid) == self.process.pid
        return False


class Stage:
    """One service on its own database, bucket folder and emptied broker. `machine`: processes with one data folder."""

    def __init__(self, on: Servers, folder: Path, **settings: Any):
        self.servers, self.folder = on, folder
        folder.mkdir(parents=True, exist_ok=True)
        name = folder.name.replace("-", "_")
        url = on.postgresql.create(name)
        self.bucket = on.s3.settings | {"store_url": f"{on.s3.settings['store_url']}/{name}", "s3_public_url": ""}
        self.settings = Settings(data_dir=folder, database_url=url, broker_url=on.redis.url, **self.bucket | settings)
        self.database = Database(url)
        migrations.upgrade(self.database)
        self.store = open_store(self.settings)
        self.redis = redis.Redis.from_url(on.redis.url)
        self.redis.flushall()
        self.programs: dict[str, Program] = {}
        self._over = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._supervisor.start()

    def api(self, machine: str = "api") -> str:
        """Starts an API process; returns its URL once it answers."""
        port = free_port()
        self._run("api", machine, "-m", "api", "--port", str(port))
        url = f"http://127.0.0.1:{port}"
        self.until(lambda: answers(url))
        return url

    def beat(self, machine: str = "a") -> None:
        """Starts beat."""
        self._run("beat", machine, "-m", "worker", "beat")

    def worker(
        self, name: str, *queues: str, machine: str = "a", cable: Cable | None = None, visibility_s: float | None = None
    ) -> None:
        """Starts a worker for these queues (default: all), perhaps with the database behind a cable."""
        arguments = ("--queues", ",".join(queues or QUEUES.values()), "--hostname", f"{name}@%h")
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO")
        celery = ("-m", "celery", "--app", "benchmarks.chaos.celery_app", "worker", *arguments, *quiet)
        more = {} if visibility_s is None else {VISIBILITY: str(visibility_s)}
        self._run(name, machine, *celery, cable=cable, **more)

    def end(self, name: str) -> float:
        """Tells a program to stop, for good; returns the seconds until it had."""
        program = self.programs.pop(name)
        begun = time.monotonic()
        program.process.terminate()
        program.process.wait(PATIENCE_S)
        return time.monotonic() - begun

    def remove(self, name: str) -> None:
        """kill -9, for good."""
        program = self.programs.pop(name)
        program.kill()
        program.process.wait()

    def jobs(self, *where: Any) -> list[Job]:
        """Jobs as the database has them, oldest first."""
        with self.database.session(write=False) as session:
            return list(session.scalars(select(Job).where(*where).order_by(Job.id)))

    def job(self, job_id: str) -> Job:
        """One job as the database has it."""
        return self.jobs(Job.id == job_id)[0]

    def moves(self, move: str) -> int:
        """How often this move was made, of all kinds of jobs (storage/tables/jobs.py)."""
        with self.database.session(write=False) as session:
            rows = counters.all_counts(session)
        return sum(row.count for row in rows if (row.name, row.label) == (counters.MOVE, move))

    def steps(self, job_id: str | None = None, attempt: int | None = None) -> list[Step]:
        """The steps that the core has begun."""
        return [
            step
            for step in read_journal(self.folder / "journal")
            if job_id in (None, step.job_id) and attempt in (None, step.attempt)
        ]

    def lines(self, name: str) -> list[str]:
        """What the programs whose names begin so have logged."""
        logs = self.folder.glob(f"{name}*.log")
        return [line for log in logs for line in log.read_text(errors="replace").splitlines()]

    def until(self, condition: Callable[[], Value], seconds: float = PATIENCE_S) -> Value:
        """Waits until `condition()` is true, and returns what it returned."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"it did not come true within {seconds:.0f} s; the logs are in {self.folder}")
            time.sleep(LOOK_S)
        return value

    def close(self) -> None:
        """The end of all programs; the servers stay."""
        self._over.set()
        self._supervisor.join()
        for name in list(self.programs):
            self.remove(name)
        self.redis.close()
        self.database.close()

    def _run(self, name: str, machine: str, *command: str, cable: Cable | None = None, **environment: str) -> None:
        settings = self.settings.replace(data_dir=self.folder / machine)
        if cable is not None:
            behind = make_url(settings.database_url).set(port=cable.port)
            settings = settings.replace(database_url=behind.render_as_string(hide_password=False))
        environment = environment_of(settings) | {JOURNAL: str(self.folder / "journal")} | environment
        self.programs[name] = Program([sys.executable, *command], environment, self.folder / f"{name}.log")

    def _supervise(self) -> None:
        while not self._over.wait(RESTART_S):
            for program in list(self.programs.values()):
                if program.has_ended():
                    program.start()


def answers(url: str) -> bool:
    """Whether all that the API needs is well, by its own word."""
    try:
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False
