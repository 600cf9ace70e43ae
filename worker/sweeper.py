"""The sweep: finds jobs whose worker is lost, wake-ups that were never sent or got lost, and withdrawals and deletions that are not
finished. Workers, beat and the API run it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from storage.database.engine import Database
from storage.database.models import Job
from storage.settings import Settings
from storage.tables import jobs, removals, withdrawals, workers
from worker import unreleased
from worker.broker import Broker
from worker.locks import is_abandoned
from worker.watchdog import RunningClock

log = logging.getLogger(__name__)

FORGET = 10
"""Leases after which a job that does not appear any more is forgotten: longer than any transaction may lock its row."""


class Sweeper:
    """Returns the jobs of lost workers to the queue.

    A worker is lost if its process has ended, which its lock file tells at once on the same machine, or if this sweeper has seen
    for `lease_s` of its own running time that the worker does not renew the lease. It compares no wall clocks, so machines whose
    clocks differ or are set, and a machine that sleeps with all its processes, cost no attempt (docs/decisions/0028-watchdog.md).

    Args:
        broker: sends the wake-ups that are due, if there is one.
        worker: the name of the worker that sweeps, if it is one; it never takes its own job.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        broker: Broker | None = None,
        worker: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.settings, self.database, self.broker, self.worker = settings, database, broker, worker
        # Half a lease: after a pause of this process, a living worker has the other half to renew its lease.
        self._clock = RunningClock(settings.lease_s / 2, clock)
        self._renewals: dict[tuple[str, int], tuple[datetime, float]] = {}
        """By job and attempt: the newest lease, and the running time at which it was first seen."""

    def sweep(self) -> None:
        """Sweeps once."""
        try:
            unreleased.release_noted(self.settings, self.database)  # first: these attempts do not count
        except OSError as error:  # another user's, such as a worker's that the superuser has started
            log.warning("the notes of workers that have stopped cannot be read, so these attempts count: %s", error)
        seen = {}

        def lost(job: Job) -> bool:
            key = job.id, job.attempt
            lease, since = self._renewals.get(key, (None, now))
            seen[key] = job.lease_until, since if lease == job.lease_until else now
            if job.worker == self.worker:
                return False
            lock = self.settings.locks / "workers" / job.worker
            return is_abandoned(lock) or now - seen[key][1] >= self.settings.lease_s

        with self.database.session() as session:
            session.connection()  # raises if the database is away: a pause for all, in which nobody can renew a lease
            now = self._clock.advance()
            for job in jobs.sweep(session, lost):
                log.warning("%s: its worker is gone; now %s", job.id, job.state)
            for name in workers.remove_silent(session, silent_s=self.settings.worker_silence_s):
                log.warning("worker %s has not been heard of for %.0f s", name, self.settings.worker_silence_s)
        renewals = (self._renewals | seen).items()  # a job whose row was locked during this sweep stays known
        self._renewals = {
            key: renewal for key, renewal in renewals if now - renewal[1] < FORGET * self.settings.lease_s
        }
        self.database.bound_log()
        if self.broker is not None:
            self.broker.resend_due(self.database)
        self._advance(withdrawals.unfinished, withdrawals.advance)
        self._advance(removals.unfinished, removals.continue_deletion)

    def _advance(
        self, unfinished: Callable[[Session], Sequence[str]], advance: Callable[[Session, str], object]
    ) -> None:
        """Carries withdrawals or deletions of subjects on: a batch of each owner, so that other writers are not held up."""
        with self.database.session(write=False) as session:
            subjects = unfinished(session)
        for subject_id in subjects:
            with self.database.session() as session:
                advance(session, subject_id)

    def run(self, stopping: threading.Event) -> None:
        """Sweeps every sweep_s seconds until `stopping` is set; a failure, such as an absent database, ends nothing."""
        while not stopping.is_set():
            try:
                self.sweep()
            except Exception:
                log.exception("the sweep failed")
            stopping.wait(self.settings.sweep_s)
