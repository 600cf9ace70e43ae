"""Beat: the sweep as a process of its own, beside workers that may all be busy or gone."""

from __future__ import annotations

import logging

from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule

from storage.database.engine import Database
from storage.private_files import make_data_dir
from storage.settings import load
from worker.broker import Broker
from worker.sweeper import Sweeper

log = logging.getLogger(__name__)


class SweepScheduler(Scheduler):
    """A scheduler for Celery's beat that runs the sweep itself instead of sending a task.

    A task would wait behind hours of training if every worker is busy, and would get lost if the broker is down: in both cases
    the sweep is needed most.
    """

    producer = None  # the inherited property would wait for the broker

    def setup_schedule(self) -> None:
        """Adds the only entry; nothing is kept on disk."""
        self.settings = load()
        make_data_dir(self.settings.data_dir)
        broker = Broker(self.app, self.settings)
        self.database = Database(self.settings.database, on_queued=broker.notify_soon)
        self.sweeper = Sweeper(self.settings, self.database, broker)
        self.add(name="sweep", task="adnerf.sweep", schedule=schedule(self.settings.sweep_s))

    def apply_entry(self, entry: ScheduleEntry, producer=None) -> None:
        """Runs the sweep; beat calls this when the entry is due."""
        try:
            self.sweeper.sweep()
            (self.settings.data_dir / "beat").touch()  # its age shows the health check that beat is alive
        except Exception:
            log.exception("the sweep failed")

    def close(self) -> None:
        """Closes the database as well."""
        super().close()
        self.database.close()
