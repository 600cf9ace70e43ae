"""The worker of a single machine: a loop that claims jobs straight from the database, without a broker."""

from __future__ import annotations

import logging
import signal
from collections.abc import Collection

from storage.database.models import JobKind
from storage.database.startup import require_data_dir, require_usable_or_away
from storage.settings import Settings
from storage.tables import jobs
from worker import watchdog
from worker.jobs.core_functions import CoreFunctions, load_core
from worker.jobs.runner import Runner
from worker.niceness import be_nice
from worker.processes.signals import event_on_signals

log = logging.getLogger(__name__)

TRAINING_NICENESS = 5
"""Niceness of a worker that only trains: beside a rendering, for which somebody waits, it gets a quarter of the processor."""


class PollingWorker(Runner):
    """Claims and runs jobs until `stopping` is set; several may run side by side."""

    def run(self) -> None:
        """Runs the loop. It survives every failure of one iteration, such as an unreachable database or a full disk."""
        log.info("worker %s is ready", self.name)
        self.start_background_tasks()
        while not self.stopping.is_set():
            try:
                ran = self.run_next()
            except Exception:
                log.exception("one iteration of the worker loop failed")
                ran = False
            if not ran:
                self.stopping.wait(self.settings.poll_s)
        self.close()


def run_worker(settings: Settings, core: CoreFunctions | None = None, kinds: Collection[JobKind] = jobs.KINDS) -> None:
    """Runs jobs until SIGTERM or SIGINT; a job that is running then returns to the queue.

    Raises:
        DatabaseNotReady: there is no database that this version can use; no folder is created then.
        BadSetting: the data folder cannot be used.
    """
    require_usable_or_away(settings.database)
    require_data_dir(settings)
    if set(kinds) == {"train"}:
        be_nice(TRAINING_NICENESS)
    watchdog.start_notifying(settings)  # before the core, which takes long to load
    worker = PollingWorker(settings, core or load_core(), kinds)
    with event_on_signals(worker.stopping, signal.SIGTERM, signal.SIGINT):
        worker.run()
