"""The worker of one machine: a claim loop straight on the database, one job at a time."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time

from storage import jobs
from storage.db import Database
from storage.objects import open_store
from storage.settings import Settings
from worker.locks import Presence
from worker.pipeline import Core, Pipeline, load_core
from worker.tidy import tidy

log = logging.getLogger(__name__)

SWEEP_S = 5.0
"""Time between looks for jobs whose worker is gone."""
TIDY_S = 600.0
"""Time between looks for files that nobody will need."""
HOUSEKEEPING_S = 5.0
"""How long the end of a worker waits for the end of its housekeeping."""


class LocalWorker:
    """Claims and runs jobs until `stopping` is set; several may run beside each other."""

    def __init__(self, settings: Settings, core: Core):
        self.settings = settings
        self.database = Database(settings.database)
        self.name = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        self.presence = Presence(settings.locks / "workers", self.name)
        self.pipeline = Pipeline(settings, self.database, open_store(settings), core)
        self.stopping = threading.Event()

    def run(self) -> None:
        """The loop. It outlives whatever goes wrong in a round: a database that is away, a disk that is full."""
        log.info("worker %s is ready", self.name)
        keeper = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)
        keeper.start()
        while not self.stopping.is_set():
            try:
                worked = self.step()
            except Exception:
                log.exception("a round of the loop failed")
                worked = False
            if not worked:
                self.stopping.wait(self.settings.poll_s)
        keeper.join(HOUSEKEEPING_S)
        self.presence.leave()
        self.database.close()
        log.info("worker %s has stopped", self.name)

    def step(self) -> bool:
        """Runs one job. False where there was none."""
        with self.database.session() as session:
            job = jobs.claim(session, self.name, lease_s=self.settings.lease_s)
        if job is None:
            return False
        self.pipeline.run(job, self.stopping)
        return True

    def sweep(self) -> None:
        """Takes jobs from workers that are gone."""
        with self.database.session() as session:
            for job in jobs.sweep(session, dead=self.presence.is_dead):
                log.warning("%s: its worker is gone; now %s", job.id, job.state)
        self.presence.bury()

    def _keep_house(self) -> None:
        """Sweeps and tidies now and then, also while a long job runs."""
        tidied = float("-inf")
        while not self.stopping.is_set():
            try:
                self.sweep()
                if time.monotonic() - tidied >= TIDY_S:
                    tidied = time.monotonic()
                    tidy(self.database, self.pipeline.workspace)
            except Exception:
                log.exception("housekeeping failed")
            self.stopping.wait(SWEEP_S)


def run_worker(settings: Settings, core: Core | None = None) -> None:
    """A worker process: runs jobs until SIGTERM or SIGINT; what runs then is given back to the queue."""
    worker = LocalWorker(settings, core or load_core())
    _on_signals(worker.stopping)
    worker.run()


def _on_signals(stopping: threading.Event) -> None:
    """Sets `stopping` at SIGTERM or SIGINT.

    Python runs its signal handlers between two lines of the main thread, which may be in a long native call; so the
    number that the interpreter writes into a pipe at once is read by a thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def listen() -> None:
        os.read(reader, 1)
        log.info("told to stop")
        stopping.set()

    signal.set_wakeup_fd(writer)
    threading.Thread(target=listen, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
