"""A lease on one claimed job, renewed by a thread of its own so that a long native call does not lose the job."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from adnerf_core.progress import Cancelled
from storage.database.engine import Database
from storage.database.models import Job
from storage.errors import StoreFull
from storage.settings import Settings
from storage.tables import jobs
from worker import logs, unreleased
from worker.jobs.progress import ProgressEstimator
from worker.watchdog import RunningClock, slept_s

log = logging.getLogger(__name__)

STUCK = os.EX_TEMPFAIL
"""Exit status of a worker process that ends itself because its job does not stop; EX_TEMPFAIL asks a supervisor to restart."""

CHECK_S = 0.2
"""Seconds between two checks for a reason to stop in `Lease.sleep`: a cancel is to free the worker within a few seconds."""

DATABASE_PATIENCE_S = 600.0
"""Seconds for which the end of a job waits for a database that does not answer: a restart or a failover takes minutes at most."""
DATABASE_RETRY_S = 2.0
"""Seconds between two attempts to record the end of a job: its client learns of it soon after the database is back."""

ASLEEP_S = 1.0
"""Seconds of sleep between two renewals that explain a lost lease; without sleep the two clocks differ by microseconds."""


class Lease:
    """Holds a job while the `with` block runs; the core reports its progress to `progress`.

    The work stops, by a Cancelled raised from `progress`, if the job is `lost` (cancelled, deleted, or claimed by another
    worker), if it has run longer than the settings allow for its kind (`overdue`), or if `stopping` is set (this process is
    told to end). Work that does not stop within settings.grace_s, or that reports no progress for settings.stall_s, cannot be
    stopped from inside: then `exit_process` ends the whole process.

    Args:
        job: the claimed job; its attempt number fences every write.
        estimator: turns the core's reports into the progress that clients see.
        stopping: set when this process is told to stop.
        exit_process: called with STUCK as the exit status; tests replace it.
        slept: seconds for which this machine has slept so far.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        job: Job,
        estimator: ProgressEstimator,
        stopping: threading.Event,
        exit_process: Callable[[int], object] = os._exit,
        slept: Callable[[], float] = slept_s,
    ):
        self.database, self.settings, self.job, self.estimator = database, settings, job, estimator
        self.stopping, self.exit_process, self.slept = stopping, exit_process, slept
        self.lost, self.overdue = threading.Event(), threading.Event()
        self.limit_s = settings.limit_s(job.kind)
        self._note = unreleased.note(settings, job.id, job.attempt, job.worker)
        self._finished, self._recording = threading.Event(), threading.Event()
        self._recorded = False
        self._clock = RunningClock(settings.lease_s)  # the job makes no progress while the machine is paused
        self._started = self._reported = self._clock.time
        self._renewed, self._slept_s = time.monotonic(), slept()
        self._stop_requested: float | None = None
        self._thread = logs.context_thread(self._renew_until_finished, f"lease of {job.id}")

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._finished.set()
        self._thread.join()
        if self._recorded:
            self._note.unlink(missing_ok=True)

    def progress(self, stage: str, done: float, total: float) -> None:
        """Takes a progress report of the core (its `Progress` callback).

        Raises:
            Cancelled: the work must stop.
        """
        self._reported = self._clock.time
        self.estimator.report(stage, done, total)
        self.check()

    def check(self) -> None:
        """Raises Cancelled if the work must stop."""
        if self._must_stop():
            raise Cancelled

    def check_held(self) -> None:
        """Called while the work waits for a store, which does not count as stalled: the store has time limits of its own.

        Raises:
            Cancelled: the result of the work can no longer be used, for the job is lost or overdue.
        """
        self._reported = self._clock.time
        if self.lost.is_set() or self.overdue.is_set():
            raise Cancelled

    def sleep(self, seconds: float) -> None:
        """Waits without losing the job or counting as stalled. Raises Cancelled as soon as the work must stop."""
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            self._reported = self._clock.time
            self.check()
            time.sleep(min(remaining, CHECK_S))

    def release_or_time_out(self) -> bool:
        """Records how a stopped job ends: timed out if it is overdue, else released to the queue.

        Returns:
            True if the job is in the queue again.
        """
        recorded = self.record(self._write_stop)
        outcome = "took too long" if self.overdue.is_set() else "given back"
        log.info("%s: %s", self.job.id, outcome if recorded else "cancelled")
        return recorded and not self.overdue.is_set()

    def record(self, write: Callable[[Session], bool]) -> bool:
        """Records the end of the attempt, as soon as the database answers, for DATABASE_PATIENCE_S at most.

        If the job was taken from this worker while the database was away, the attempt does not count. While this process is
        told to stop, the database is asked once. An end that cannot be recorded leaves a note, by which the job is released later.

        Args:
            write: Writes the end in a transaction; returns False if the job no longer belongs to this attempt. It is called again
                after a commit of which it is unknown whether it was made.

        Returns:
            What `write` returned.

        Raises:
            OperationalError, InterfaceError, StoreFull: the database did not answer, or had no space, in that time.
            IntegrityError: what the end refers to is deleted again and again meanwhile.
        """
        self._recording.set()
        deadline, waited = time.monotonic() + DATABASE_PATIENCE_S, False
        while True:
            if self.stopping.is_set():
                unreleased.leave(self._note)  # first: this process may be killed before the database answers
            try:
                with self.database.session() as session:
                    recorded = write(session)
            except (OperationalError, InterfaceError, IntegrityError, StoreFull) as error:
                if self.stopping.is_set() or time.monotonic() > deadline:
                    unreleased.leave(self._note)
                    raise
                log.warning("%s waits for the database to record its end: %s", self.job.id, error)
                waited = True
                self.stopping.wait(DATABASE_RETRY_S)
            else:
                self._recorded = True
                if waited and not recorded:
                    self._forgive("while the database was away")
                return recorded

    def _write_stop(self, session: Session) -> bool:
        """Records that a stopped job is timed out or released; returns False if it no longer belongs to this attempt."""
        if self.overdue.is_set():
            return jobs.time_out(session, self.job.id, self.job.attempt, self.limit_s)
        return jobs.release(session, self.job.id, self.job.attempt)

    def _must_stop(self) -> bool:
        return self.lost.is_set() or self.overdue.is_set() or self.stopping.is_set()

    def _renew_until_finished(self) -> None:
        while not self._finished.wait(self.settings.beat_s):
            now = self._clock.advance()
            if self.stopping.is_set():
                unreleased.leave(self._note)
            if not self.lost.is_set():
                self._renew()
            if now - self._started > self.limit_s:
                self.overdue.set()
            self._end_if_stuck()

    def _renew(self) -> None:
        try:
            with self.database.session() as session:
                held = jobs.heartbeat(
                    session, self.job.id, self.job.attempt, self.estimator.current, lease_s=self.settings.lease_s
                )
        except Exception:  # the database cannot be reached or is full: the lease is valid for a while yet
            log.exception("%s: no heartbeat", self.job.id)
            held = time.monotonic() - self._renewed < self.settings.lease_s
        else:
            self._renewed = time.monotonic()
            if held:
                self._slept_s = self.slept()
            elif self.slept() - self._slept_s > ASLEEP_S:
                self._forgive("while this machine slept")
        if not held:
            self.lost.set()

    def _forgive(self, when: str) -> None:
        """Tells that this worker was not lost, although others have taken the job."""
        log.warning("%s was taken over %s: the attempt does not count", self.job.id, when)
        with suppress(Exception), self.database.session() as session:  # then it counts
            jobs.forgive(session, self.job.id, self.job.attempt)

    def _end_if_stuck(self) -> None:
        if self._recording.is_set():
            return  # the work has ended
        now = self._clock.time
        if self._stop_requested is None and self._must_stop():
            self._stop_requested = now
        if self._stop_requested is not None and now - self._stop_requested > self.settings.grace_s:
            reason = "does not stop"
        elif now - self._reported > self.settings.stall_s:
            reason = f"has shown no progress for {self.settings.stall_s:.0f} s"
        else:
            return
        log.error("%s %s: the worker process ends itself", self.job.id, reason)
        try:
            if self.overdue.is_set() or self.stopping.is_set():
                with self.database.session() as session:
                    self._write_stop(session)
                self._note.unlink(missing_ok=True)
        finally:
            self.exit_process(STUCK)
