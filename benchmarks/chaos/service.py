"""The service under test: real servers, the processes of the service, and a supervisor that restarts processes that end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple, TypeVar

import httpx
import redis
from sqlalchemy import make_url, select

from benchmarks.chaos.cable import Cable
from benchmarks.chaos.clock import Clocks
from benchmarks.chaos.core import JOURNAL, VISIBILITY, Step, read_journal
from storage.database import migrations
from storage.database.engine import Database
from storage.database.models import Job
from storage.objects.open_store import open_store
from storage.settings import NOTIFY_SOCKET, Settings, environment_of
from storage.tables import counters, job_events
from tests.servers import DiskS3, PostgreSQL, Redis, Server, free_port, running
from worker.broker import QUEUES
from worker.processes.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
TEMPLATE = "empty_tables"
"""A database with empty tables, which each service gets a copy of: a migration takes half a second."""
RESTART_S = 0.5
"""Seconds from the end of a process to its restart, as with a typical supervisor; it also bounds the restarts of a broken process."""
TIMEOUT_S = 300.0
"""Seconds after which a wait fails; it is long because the machines are busy."""
POLL_S = 0.2
"""Seconds between two checks of a condition. Measured times do not depend on it: they are read from the journal."""

Value = TypeVar("Value")


class Servers(NamedTuple):
    """The servers that the service needs, and the clocks of the machine that they run on."""

    redis: Redis
    postgresql: PostgreSQL
    store: DiskS3
    clocks: Clocks

    def named(self) -> dict[str, Server]:
        """Returns the servers by name."""
        return {"redis": self.redis, "postgresql": self.postgresql, "store": self.store}


@contextmanager
def servers() -> Iterator[Servers]:
    """Runs all three servers on free ports inside the block."""
    clocks = Clocks(Path(mkdtemp(prefix="clocks-")))
    try:
        with running(Redis, PostgreSQL, DiskS3, environment=clocks.environment("servers")) as started:
            with closing(Database(started[1].create(TEMPLATE))) as tables:
                migrations.upgrade(tables)
            yield Servers(*started, clocks)
    finally:
        clocks.close()
        shutil.rmtree(clocks.folder, ignore_errors=True)


class Program:
    """A process of the service; it and its children have a session of their own. `tree` is the source tree that it runs."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path, tree: Path = ROOT):
        self.command, self.environment, self.log, self.tree = command, environment, log, tree
        self._frozen: set[int] = set()
        self.start()

    def start(self) -> None:
        """Starts or restarts the process."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.tree, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def has_ended(self) -> bool:
        """Returns whether the process has ended."""
        return self.process.poll() is not None

    def kill(self, *, whole: bool = True) -> None:
        """Kills (SIGKILL) the process, with all its children if `whole`."""
        with suppress(ProcessLookupError):
            (os.killpg if whole else os.kill)(self.process.pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Stops (SIGSTOP) the process and its children."""
        self._frozen.add(self.process.pid)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Continues the processes that `freeze` has stopped, unless they were killed meanwhile."""
        while self._frozen:
            with suppress(ProcessLookupError):
                os.killpg(self._frozen.pop(), signal.SIGCONT)

    def owns(self, pid: int) -> bool:
        """Returns whether `pid` is this process or a child of it."""
        with suppress(ProcessLookupError):
            return os.getsid(pid) == self.process.pid
        return False


class Service:
    """A service with a database and a bucket folder of its own, on a broker that is emptied first.

    Processes with the same `machine` share a data folder, as on one machine.

    Attributes:
        backends: the servers.
        settings: settings of the processes, except for the data folder.
        database, store, redis: access for the experiments.
        database_name: its name in PostgreSQL.
        objects: the folder with the files of the store's objects.
        programs: the running processes by name.
    """

    def __init__(self, backends: Servers, folder: Path, **settings: Any):
        self.backends, self.folder = backends, folder
        folder.mkdir(parents=True, exist_ok=True)
        name = self.database_name = folder.name.replace("-", "_")
        url = backends.postgresql.create(name, template=TEMPLATE)
        self.objects = backends.store.objects / name
        self.bucket = backends.store.settings | {
            "store_url": f"{backends.store.settings['store_url']}/{name}",
            "s3_public_url": "",
        }
        self.settings = Settings(
            data_dir=folder, database_url=url, broker_url=backends.redis.url, **self.bucket | settings
        )
        self.database = Database(url)
        self.store = open_store(self.settings)
        self.redis = redis.Redis.from_url(backends.redis.url)
        self.redis.flushall()
        self.programs: dict[str, Program] = {}
        self._watchdog = Supervisor({}, {}, self.settings.watchdog_s)
        self._closing = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._supervisor.start()

    def api(self, machine: str = "api") -> str:
        """Starts an API process; returns its URL when it answers."""
        port = free_port()
        self._run("api", machine, "-m", "api", "--port", str(port))
        url = f"http://127.0.0.1:{port}"
        self.until(lambda: answers(url))
        return url

    def beat(self, machine: str = "a") -> None:
        """Starts the beat process."""
        self._run("beat", machine, "-m", "celery", "--app", "worker.celery_app", "beat")

    def worker(
        self,
        name: str,
        *queues: str,
        machine: str = "a",
        cable: Cable | None = None,
        visibility_s: float | None = None,
        tree: Path = ROOT,
    ) -> None:
        """Starts a worker.

        Args:
            name: of the process and of its log.
            queues: the queues that it serves (default: all).
            machine: whose data folder it uses.
            cable: leads to the database, if given.
            visibility_s: visibility timeout of the broker, if not the default.
            tree: the source tree that it runs.
        """
        arguments = ("--queues", ",".join(queues or QUEUES.values()), "--hostname", f"{name}@%h")
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO")
        celery = ("-m", "celery", "--app", "benchmarks.chaos.celery_app", "worker", *arguments, *quiet)
        variables = {} if visibility_s is None else {VISIBILITY: str(visibility_s)}
        if tree != ROOT:  # its steps go into a journal of their own
            variables |= {"PYTHONPATH": str(tree), JOURNAL: str(tree / "journal")}
        self._run(name, machine, *celery, cable=cable, tree=tree, **variables)

    def is_up(self, name: str) -> bool:
        """Returns whether a process has given a sign of life, so that the watchdog would notice if it hung."""
        return self.programs[name].process.pid in self._watchdog.heard_at

    def end(self, name: str) -> float:
        """Stops a process with SIGTERM, without a restart; returns the seconds until it has ended."""
        program = self.programs.pop(name)
        start = time.monotonic()
        program.process.terminate()
        program.process.wait(TIMEOUT_S)
        return time.monotonic() - start

    def remove(self, name: str) -> None:
        """Kills a process (SIGKILL), without a restart."""
        program = self.programs.pop(name)
        program.kill()
        program.process.wait()

    def jobs(self, *where: Any) -> list[Job]:
        """Returns the jobs in the database that meet the conditions, oldest first."""
        with self.database.session(write=False) as session:
            return list(session.scalars(select(Job).where(*where).order_by(Job.id)))

    def job(self, job_id: str) -> Job:
        """Returns a job from the database."""
        return self.jobs(Job.id == job_id)[0]

    def moves(self, move: str) -> int:
        """Returns how often jobs of all kinds have made this move (storage/tables/jobs.py)."""
        with self.database.session(write=False) as session:
            rows = counters.all_counts(session)
        return sum(row.count for row in rows if (row.name, row.label) == (counters.MOVE, move))

    def steps(self, job_id: str | None = None, attempt: int | None = None) -> list[Step]:
        """Returns the steps in the journal, of one job or attempt if given."""
        return [
            step
            for step in read_journal(self.folder / "journal")
            if job_id in (None, step.job_id) and attempt in (None, step.attempt)
        ]

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """Returns the recorded changes of a job (storage/tables/job_events.py), oldest first."""
        with self.database.session(write=False) as session:
            return [event.then for event in job_events.since(session, {job_id: -1})[job_id]]

    def lines(self, name: str) -> list[str]:
        """Returns the log lines of all processes whose names begin with `name`."""
        logs = self.folder.glob(f"{name}*.log")
        return [line for log in logs for line in log.read_text(errors="replace").splitlines()]

    def until(self, condition: Callable[[], Value], seconds: float = TIMEOUT_S) -> Value:
        """Waits until `condition()` returns a true value, and returns that value. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the condition was not met within {seconds:.0f} s; the logs are in {self.folder}")
            time.sleep(POLL_S)
        return value

    def close(self) -> None:
        """Kills all processes; the servers continue."""
        self._closing.set()
        self._supervisor.join()
        self._watchdog.socket.close()
        for name in list(self.programs):
            self.remove(name)
        self.redis.close()
        self.database.close()

    def _run(
        self,
        name: str,
        machine: str,
        *command: str,
        cable: Cable | None = None,
        tree: Path = ROOT,
        **environment: str,
    ) -> None:
        settings = self.settings.replace(data_dir=self.folder / machine)
        if cable is not None:
            url = make_url(settings.database_url).set(port=cable.port)
            settings = settings.replace(database_url=url.render_as_string(hide_password=False))
        clock = self.backends.clocks.environment(name)
        own = {JOURNAL: str(self.folder / "journal"), NOTIFY_SOCKET: self._watchdog.socket.address}
        environment = environment_of(settings) | clock | own | environment
        self.programs[name] = Program([sys.executable, *command], environment, self.folder / f"{name}.log", tree)

    def _supervise(self) -> None:
        """Restarts what has ended, however often; what hangs is killed by the watchdog of the service's own supervisor."""
        while not self._closing.wait(RESTART_S):
            self._watchdog.kill_silent()
            for program in list(self.programs.values()):
                if program.has_ended():
                    program.start()


def answers(url: str) -> bool:
    """Returns whether the API reports that it is ready."""
    try:
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False
