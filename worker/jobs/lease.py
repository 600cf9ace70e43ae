"""Lease: one claimed job, held by heartbeats from a thread of its own, so that a long native call does not lose it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from adnerf_core.progress import Cancelled
from storage.database.engine import Database
from storage.database.models import Job
from storage.settings import Settings
from storage.tables import jobs
from worker import logs
from worker.jobs.progress import ProgressEstimator

log = logging.getLogger(__name__)

STUCK = os.EX_TEMPFAIL
"""Exit status of a worker process that ended itself because its work would not stop."""


class Lease:
    """Holds `job` for as long as the `with` block lasts; `progress` is what the core is given.

    Work stops, by Cancelled out of `progress`, when the job is `lost` (cancelled, deleted, or given to another worker),
    when it has run for longer than settings allow its kind (`overdue`), or when `stopping` is set (this process was told
    to end). Work that does not stop within settings.grace_s, or shows no progress for settings.stall_s, cannot be
    stopped from inside: then the whole process ends by `die`.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        job: Job,
        meter: ProgressEstimator,
        stopping: threading.Event,
        die: Callable[[int], object] = os._exit,
    ):
        self.database, self.settings, self.job, self.meter, self.die = database, settings, job, meter, die
        self.stopping = stopping
        self.lost, self.overdue = threading.Event(), threading.Event()
        self.limit_s = settings.limit_s(job.kind)
        self._over = threading.Event()
        self._begun = self._renewed = self._reported = time.monotonic()
        self._told_to_stop: float | None = None
        self._thread = logs.context_thread(self._beat, f"lease of {job.id}")

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()

    def progress(self, stage: str, done: float, total: float) -> None:
        """The core's Progress. Raises Cancelled when the work must stop."""
        self._reported = time.monotonic()
        self.meter.report(stage, done, total)
        self.check()

    def check(self) -> None:
        """Raises Cancelled when the work must stop."""
        if self._must_stop():
            raise Cancelled

    def give_up(self) -> bool:
        """Says in the database how work that was stopped ends. True: the job is in the queue again."""
        with self.database.session() as session:
            if self.overdue.is_set():
                ended, what = jobs.time_out(session, self.job.id, self.job.attempt, self.limit_s), "took too long"
            else:
                ended, what = jobs.release(session, self.job.id, self.job.attempt), "given back"
        log.info("%s: %s", self.job.id, what if ended else "cancelled")
        return ended and not self.overdue.is_set()

    def _must_stop(self) -> bool:
        return self.lost.is_set() or self.overdue.is_set() or self.stopping.is_set()

    def _beat(self) -> None:
        while not self._over.wait(self.settings.beat_s):
            if not self.lost.is_set():
                self._renew()
            if time.monotonic() - self._begun > self.limit_s:
                self.overdue.set()
            self._end_if_stuck()

    def _renew(self) -> None:
        try:
            with self.database.session() as session:
                mine = jobs.heartbeat(
                    session, self.job.id, self.job.attempt, self.meter.standing, lease_s=self.settings.lease_s
                )
        except Exception:  # the database is away or full: the lease lasts for a while yet
            log.exception("%s: no heartbeat", self.job.id)
            mine = time.monotonic() - self._renewed < self.settings.lease_s
        else:
            self._renewed = time.monotonic()
        if not mine:
            self.lost.set()

    def _end_if_stuck(self) -> None:
        moment = time.monotonic()
        if self._told_to_stop is None and self._must_stop():
            self._told_to_stop = moment
        if self._told_to_stop is not None and moment - self._told_to_stop > self.settings.grace_s:
            reason = "does not stop"
        elif moment - self._reported > self.settings.stall_s:
            reason = f"has shown no progress for {self.settings.stall_s:.0f} s"
        else:
            return
        log.error("%s %s: the worker process ends itself", self.job.id, reason)
        try:
            if self.overdue.is_set() or self.stopping.is_set():
                self.give_up()
        finally:
            self.die(STUCK)
