"""Beat: the sweep as a process of its own, beside workers that may all be busy or gone."""

from __future__ import annotations

import logging

from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule

from storage.database.engine import Database
from storage.settings import load
from worker.broker import Broker
from worker.jobs.runner import sweep

log = logging.getLogger(__name__)


class SweepScheduler(Scheduler):
    """Celery's beat, which sweeps by itself instead of asking a worker to.

    A task would wait behind hours of training where every worker is busy, and get lost where the broker is away: just
    when a sweep is needed.
    """

    producer = None  # beat would wait for the broker here

    def setup_schedule(self) -> None:
        """One entry; nothing is kept on disk."""
        self.settings = load()
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.broker = Broker(self.app, self.settings)
        self.database = Database(self.settings.database, on_queued=self.broker.hasten)
        self.add(name="sweep", task="adnerf.sweep", schedule=schedule(self.settings.sweep_s))

    def apply_entry(self, entry: ScheduleEntry, producer=None) -> None:
        """Called by beat when the entry is due."""
        try:
            sweep(self.settings, self.database, self.broker)
            (self.settings.data_dir / "beat").touch()  # by which a supervisor sees that it goes on
        except Exception:
            log.exception("the sweep failed")

    def close(self) -> None:
        super().close()
        self.database.close()
