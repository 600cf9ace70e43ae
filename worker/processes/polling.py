"""The worker of one machine: a claim loop straight on the database, without a broker."""

from __future__ import annotations

import logging
import signal
from collections.abc import Collection

from storage.database.models import JobKind
from storage.settings import Settings
from storage.tables import jobs
from worker.jobs.pipeline import CoreFunctions, load_core
from worker.jobs.runner import Runner
from worker.processes.signals import event_on_signals

log = logging.getLogger(__name__)


class PollingWorker(Runner):
    """Claims and runs jobs until `stopping` is set; several may run beside each other."""

    def run(self) -> None:
        """The loop. It outlives whatever goes wrong in a round: a database that is away, a disk that is full."""
        log.info("worker %s is ready", self.name)
        self.keep_house()
        while not self.stopping.is_set():
            try:
                worked = self.step()
            except Exception:
                log.exception("a round of the loop failed")
                worked = False
            if not worked:
                self.stopping.wait(self.settings.poll_s)
        self.end()


def run_worker(settings: Settings, core: CoreFunctions | None = None, kinds: Collection[JobKind] = jobs.KINDS) -> None:
    """A worker process: runs jobs until SIGTERM or SIGINT; what runs then is given back to the queue."""
    worker = PollingWorker(settings, core or load_core(), kinds)
    with event_on_signals(worker.stopping, signal.SIGTERM, signal.SIGINT):
        worker.run()
