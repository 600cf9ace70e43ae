"""What every worker process consists of, whether it polls the database or a broker wakes it."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.cleanup import ObjectCleaner
from storage.database.engine import Database, after_commit
from storage.database.models import Job, JobKind
from storage.database.startup import require_local_files
from storage.errors import BadCertificate
from storage.objects.open_store import open_store
from storage.private_files import make_data_dir, warn_if_not_private
from storage.settings import Settings
from storage.tables import (
    idempotency,
    job_events,
    jobs,
    preview_frames,
    removals,
    shares,
    verifications,
    webhooks,
    workers,
)
from worker import logs, unreleased
from worker.broker import QUEUES, Broker
from worker.gpus import take_gpu
from worker.jobs.core_functions import CoreFunctions
from worker.jobs.pipeline import Pipeline
from worker.jobs.preview_frames import PreviewRenderer
from worker.jobs.prior_learner import PriorLearner
from worker.jobs.scratch_cleanup import remove_deleted_subjects, remove_stale_scratch
from worker.locks import WorkerLock
from worker.provenance import verifier
from worker.speech.announcer import Announcer
from worker.sweeper import Sweeper
from worker.webhooks import delivery

log = logging.getLogger(__name__)

CLEANUP_S = 600.0
"""Seconds between two removals of files that nothing needs: each lists a part of the store, which costs requests on S3, and
leftovers of ten minutes are small beside a run."""
CLOSE_S = 5.0
"""Seconds that a worker waits for its background tasks when it ends; all but a webhook call end within one."""


class Runner:
    """Claims jobs of `kinds` and runs them one at a time; several runners may work side by side."""

    def __init__(
        self,
        settings: Settings,
        core: CoreFunctions,
        kinds: Collection[JobKind] = jobs.KINDS,
        broker: Broker | None = None,
    ):
        require_local_files(settings, renders="render" in kinds)
        self.settings, self.core, self.broker = settings, core, broker
        make_data_dir(settings.data_dir)
        warn_if_not_private(settings.data_dir)
        self.database = Database(settings.database, on_queued=broker.notify_soon if broker else None)
        self.host = socket.gethostname()
        self.name = f"{self.host[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        self.uses_gpu = settings.device != "cpu" and set(kinds) != {"preprocess"}
        self.gpu_lock = take_gpu(settings) if self.uses_gpu else None  # before `core.gpu` initialises CUDA
        self.lock = WorkerLock(settings.locks / "workers", self.name)
        self.sweeper = Sweeper(settings, self.database, broker, self.name)
        self.pipeline = Pipeline(settings, self.database, open_store(settings), core)
        self.object_cleaner = ObjectCleaner(self.database, self.pipeline.store, trash_s=settings.trash_s)
        self.stopping = threading.Event()
        self.verifier = verifier.Verifier(settings, self.database, self.pipeline.store, self.stopping)
        self.pipeline.on_exit.append(self.verifier.leave_notes)
        self.kinds = self._supported_kinds(kinds)
        self._check_provenance()
        self._claiming = threading.Lock()
        self._had_room = True
        self._running: Job | None = None
        """The job that this worker runs; it changes from None to a job while `_claiming` is held."""
        self._background: list[threading.Thread] = []

    def run_next(self, kinds: Collection[JobKind] | None = None, stopping: threading.Event | None = None) -> bool:
        """Claims and runs the oldest queued job.

        Args:
            kinds: the kinds to choose from; default: all of this runner's.
            stopping: when it is set, the job is released; default: the runner's own event.

        Returns:
            False if no job was queued, or the disk has no space to work.
        """
        if not self._has_room():
            return False
        with self._claiming:
            with self.database.session() as session:
                job = jobs.claim(session, self.name, lease_s=self.settings.lease_s, kinds=kinds or self.kinds)
            self._running = job
        if job is None:
            return False
        try:
            with logs.log_context(job_id=job.id, kind=job.kind, attempt=job.attempt):
                self.pipeline.run(job, stopping or self.stopping)
        finally:
            self._running = None
        return True

    def _has_room(self) -> bool:
        """Whether the disk has space to begin a job; what changes is logged."""
        there = self.pipeline.workspace.has_room()
        if not there and self._had_room:
            log.error("the disk of %s is full: jobs wait until there is space", self.settings.work)
        elif there and not self._had_room:
            log.info("the disk has space again")
        self._had_room = there
        return there

    def start_background_tasks(self) -> None:
        """Starts the threads that run beside the jobs: heartbeat, sweep, cleanup, priors of lips, voices, preview frames,
        verification and webhook delivery."""
        tasks = {
            "heartbeat": (self._heartbeat, self.settings.sweep_s),
            "sweep": (self._sweep, self.settings.sweep_s),
            "cleanup": (self._clean_up, CLEANUP_S),
        }
        if "train" in self.kinds:
            learner = PriorLearner(self.pipeline, self.stopping)
            tasks["priors of lips"] = (learner.learn_pending, self.settings.sweep_s)
        if "render" in self.kinds:
            announcer = Announcer(self.pipeline.voices, self.database, self.stopping)
            tasks["voices"] = (announcer.announce, CLEANUP_S)
            renderer = PreviewRenderer(self.pipeline, self.stopping)
            tasks["preview frames"] = (renderer.render_pending, self.settings.poll_s)
        if "preprocess" in self.kinds:
            deliverer = delivery.WebhookDeliverer(self.settings, self.database, self.stopping)
            for number in range(1, verifier.THREADS + 1):
                tasks[f"verification {number}"] = (self.verifier.verify_pending, self.settings.poll_s)
            for number in range(1, delivery.THREADS + 1):
                tasks[f"webhooks {number}"] = (deliverer.deliver_due, self.settings.sweep_s)
        for name, (task, seconds) in tasks.items():
            thread = threading.Thread(target=self._repeat, args=(name, task, seconds), name=name, daemon=True)
            thread.start()
            self._background.append(thread)

    def close(self) -> None:
        """Ends this worker; it must hold no job any more."""
        self.stopping.set()
        deadline = time.monotonic() + CLOSE_S
        for thread in self._background:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.pipeline.leave_notes()
        try:
            self.verifier.close()
            with self.database.session() as session:
                workers.deregister(session, self.name)
        except Exception as error:  # notes are left of attempts, and the worker is removed as silent
            log.warning("the database does not learn that worker %s stops: %s", self.name, error)
        self.lock.release()
        if self.gpu_lock is not None:
            self.gpu_lock.release()
        self.database.close()
        log.info("worker %s has stopped", self.name)

    def _supported_kinds(self, kinds: Collection[JobKind]) -> tuple[JobKind, ...]:
        """Returns those of `kinds` that can run here: without the GPU that the settings require, only preprocessing."""
        if self.settings.device == "cuda" and self.core.gpu() is None:
            log.error("ADNERF_DEVICE is cuda, but there is no CUDA device: training and rendering are left to others")
            return tuple(kind for kind in kinds if kind == "preprocess")
        return tuple(kinds)

    def _check_provenance(self) -> None:
        """Logs an error at start-up if videos cannot be signed; other jobs still run."""
        if "render" in self.kinds:
            try:
                self.pipeline.provenance.check()
            except BadCertificate as error:
                log.error("videos cannot be signed, their jobs will fail: %s", error)

    def _repeat(self, name: str, task: Callable[[], None], seconds: float) -> None:
        while not self.stopping.is_set():
            try:
                task()
            except Exception:
                log.exception("%s failed", name)
            self.stopping.wait(seconds)

    def _heartbeat(self) -> None:
        device = (self.core.gpu() if self.uses_gpu else None) or {"name": "cpu"}
        device |= {"disk_free_bytes": shutil.disk_usage(self.settings.data_dir).free}
        device["ffmpeg"] = self.core.ffmpeg()
        device["cleanup_paused"] = self.object_cleaner.paused
        queues = [QUEUES[kind] for kind in self.kinds]
        with self.database.session() as session:
            if not workers.heartbeat(session, self.name, device=device):
                workers.register(session, self.name, host=self.host, queues=queues, device=device)

    def _sweep(self) -> None:
        self._release_jobs_not_run()
        self.sweeper.sweep()
        self.lock.remove_dead()
        self.pipeline.workspace.remove_abandoned()
        remove_deleted_subjects(self.database, self.pipeline.workspace)

    def _release_jobs_not_run(self) -> None:
        """Releases the jobs that this worker does not run although their rows say so; no attempt is counted.

        The database was away, or another one, when this worker gave them up, or the answer to its claim was lost.
        """
        with self._claiming, self.database.session() as session:
            own = select(Job.id, Job.attempt).where(Job.state == "running", Job.worker == self.name)
            for job_id, attempt in session.execute(own).all():
                running = self._running
                if running is None or (running.id, running.attempt) != (job_id, attempt):
                    log.warning("%s is not run by this worker any more: released", job_id)
                    jobs.release(session, job_id, attempt)
                    note = unreleased.note(self.settings, job_id, attempt, self.name)
                    after_commit(session, lambda note=note: note.unlink(missing_ok=True))

    def _in_batches(self, delete_some: Callable[[Session], object]) -> None:
        """Calls `delete_some` in transactions of its own until it deletes nothing, so that other writers have their turns."""
        deleted: object = True
        while deleted and not self.stopping.is_set():
            with self.database.session() as session:
                deleted = delete_some(session)

    def _empty_trash(self, session: Session) -> list[str]:
        """Deletes for good some of what has been in the trash for its time; returns the ids."""
        deleted = removals.delete_due(session, self.pipeline.store)
        if deleted:
            log.info("deleted from the trash: %s", ", ".join(deleted))
        return deleted

    def _clean_up(self) -> None:
        self.object_cleaner.run_batch()
        if not self.object_cleaner.paused:  # a database that does not know the objects does not know the jobs either
            remove_stale_scratch(self.database, self.pipeline.workspace)
            self._in_batches(self._empty_trash)
        self.verifier.clean_up()
        with self.database.session() as session:
            preview_frames.delete_expired(session)
        for table in (shares, idempotency, job_events, verifications, webhooks):
            self._in_batches(table.delete_expired)
