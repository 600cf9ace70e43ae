"""Runner: what every worker process is made of, whether it polls the database or is woken by a broker."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress

from storage.cleanup import ObjectCleaner
from storage.database.engine import Database
from storage.database.models import JobKind
from storage.errors import BadCertificate
from storage.objects.open_store import open_store
from storage.settings import Settings
from storage.tables import idempotency, job_events, jobs, webhooks, workers
from worker import logs
from worker.broker import QUEUES, Broker
from worker.jobs.pipeline import CoreFunctions, Pipeline
from worker.jobs.scratch_cleanup import remove_stale_scratch
from worker.locks import WorkerLock, is_abandoned
from worker.provenance.verifier import Verifier
from worker.webhooks.delivery import THREADS, WebhookDeliverer

log = logging.getLogger(__name__)

TIDY_S = 600.0
"""Time between looks for files that nobody will need."""
HOUSEKEEPING_S = 5.0
"""How long the end of a worker waits for the end of its housekeeping."""


class Runner:
    """Claims jobs of `kinds` and runs them, one at a time; several runners may work beside each other."""

    def __init__(
        self,
        settings: Settings,
        core: CoreFunctions,
        kinds: Collection[JobKind] = jobs.KINDS,
        broker: Broker | None = None,
    ):
        self.settings, self.core, self.broker = settings, core, broker
        self.database = Database(settings.database, on_queued=broker.hasten if broker else None)
        self.host = socket.gethostname()
        self.name = f"{self.host[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        self.presence = WorkerLock(settings.locks / "workers", self.name)
        self.pipeline = Pipeline(settings, self.database, open_store(settings), core)
        self.cleaner = ObjectCleaner(self.database, self.pipeline.store)
        self.verifier = Verifier(settings, self.database, self.pipeline.store)
        self.kinds = self._able(kinds)
        self._check_seal()
        self.stopping = threading.Event()
        self._chores: list[threading.Thread] = []

    def step(self, kinds: Collection[JobKind] | None = None, stopping: threading.Event | None = None) -> bool:
        """Runs the oldest queued job of `kinds` (default: all of this runner's). False where there was none.

        When `stopping` (default: the runner's own) is set, the job is given back.
        """
        with self.database.session() as session:
            job = jobs.claim(session, self.name, lease_s=self.settings.lease_s, kinds=kinds or self.kinds)
        if job is None:
            return False
        with logs.log_context(job_id=job.id, kind=job.kind, attempt=job.attempt):
            self.pipeline.run(job, stopping or self.stopping)
        return True

    def keep_house(self) -> None:
        """From now until the end: tells that this worker lives, sweeps, tidies, verifies, tells webhooks; also beside a job."""
        chores = {
            "sign of life": (self._sign, self.settings.sweep_s),
            "sweep": (self._sweep, self.settings.sweep_s),
            "tidying": (self._tidy, TIDY_S),
        }
        if "preprocess" in self.kinds:
            courier = WebhookDeliverer(self.settings, self.database, self.stopping)
            chores["verifying"] = (self.verifier.round, self.settings.poll_s)
            chores |= {f"webhooks {hand}": (courier.round, self.settings.sweep_s) for hand in range(1, THREADS + 1)}
        for name, (chore, seconds) in chores.items():
            thread = threading.Thread(target=self._repeat, args=(name, chore, seconds), name=name, daemon=True)
            thread.start()
            self._chores.append(thread)

    def end(self) -> None:
        """The end of this worker, when it holds no job any more."""
        self.stopping.set()
        deadline = time.monotonic() + HOUSEKEEPING_S
        for thread in self._chores:
            thread.join(max(0.0, deadline - time.monotonic()))
        with suppress(Exception), self.database.session() as session:  # else its silence will tell
            workers.deregister(session, self.name)
        self.presence.leave()
        self.database.close()
        log.info("worker %s has stopped", self.name)

    def _able(self, kinds: Collection[JobKind]) -> tuple[JobKind, ...]:
        """Those of `kinds` that can be run here: where a GPU is asked for and there is none, only preprocessing."""
        if self.settings.device == "cuda" and self.core.gpu() is None:
            log.error("ADNERF_DEVICE is cuda, but there is no CUDA device: training and rendering are left to others")
            return tuple(kind for kind in kinds if kind == "preprocess")
        return tuple(kinds)

    def _check_seal(self) -> None:
        """Tells at once what would fail every video; all else can be done without."""
        if "render" in self.kinds:
            try:
                self.pipeline.seal.check()
            except BadCertificate as error:
                log.error("videos cannot be sealed, their jobs will fail: %s", error)

    def _repeat(self, name: str, chore: Callable[[], None], seconds: float) -> None:
        while not self.stopping.is_set():
            try:
                chore()
            except Exception:
                log.exception("%s failed", name)
            self.stopping.wait(seconds)

    def _sign(self) -> None:
        uses_gpu = self.settings.device != "cpu" and self.kinds != ("preprocess",)
        device = (self.core.gpu() if uses_gpu else None) or {"name": "cpu"}
        device |= {"disk_free_bytes": shutil.disk_usage(self.settings.data_dir).free}
        queues = [QUEUES[kind] for kind in self.kinds]
        with self.database.session() as session:
            if not workers.heartbeat(session, self.name, device=device):
                workers.register(session, self.name, host=self.host, queues=queues, device=device)

    def _sweep(self) -> None:
        sweep(self.settings, self.database, self.broker)
        self.presence.bury()

    def _tidy(self) -> None:
        remove_stale_scratch(self.database, self.pipeline.workspace)
        self.cleaner.run_batch()
        self.verifier.tidy()
        with self.database.session() as session:
            idempotency.delete_expired(session)
            job_events.delete_expired(session)
            webhooks.delete_expired(session)


def sweep(settings: Settings, database: Database, broker: Broker | None = None) -> None:
    """Takes jobs from workers that are gone, and sends the wake-ups that were never sent or got lost.

    Of workers on this machine their lock files tell at once, of the others their leases when they run out.
    """
    with database.session() as session:
        for job in jobs.sweep(session, dead=lambda worker: is_abandoned(settings.locks / "workers" / worker)):
            log.warning("%s: its worker is gone; now %s", job.id, job.state)
        for name in workers.remove_silent(session, silent_s=settings.worker_silence_s):
            log.warning("worker %s has not been heard of for %.0f s", name, settings.worker_silence_s)
    if broker is not None:
        broker.catch_up(database)
