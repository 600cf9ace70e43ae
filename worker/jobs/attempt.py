"""One attempt at a job: its folder, its objects, and its fenced writes to the database."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from adnerf_core.files.run_dir import RunDir
from adnerf_core.progress import Cancelled
from storage.database import queries
from storage.database.engine import Database
from storage.database.models import Job, Subject, Video
from storage.errors import ObjectMissing, ServerFull, StoreAway
from storage.objects.base import ObjectStore, Stored
from storage.tables import counters, jobs
from worker import logs
from worker.jobs.lease import CHECK_S, Lease
from worker.jobs.workspace import Workspace

log = logging.getLogger(__name__)

T = TypeVar("T")
"""Result of an action on the object store or the database."""
AWAY = (StoreAway, ServerFull, OperationalError, InterfaceError)
"""What actions raise while the object store or the database does not answer, or has no space."""
PATIENCE_S = 600.0
"""Seconds for which a job waits for an object store or a database that does not answer before the job is released: a restart or a
network failure takes minutes. A released job is claimed again and waits again, so this only bounds how long it occupies one worker
at a stretch. Without the database, the lease ends earlier."""
RETRY_S = 5.0
"""Seconds between two attempts to reach them. An attempt itself takes up to the client's own timeouts."""
SNAPSHOT_RETRY_S = 30.0
"""Seconds after which a running training tries again to store a snapshot: each attempt delays the training by the client's timeouts."""


class Attempt:
    """One attempt at one job: its folder, its object keys, and its fenced writes to the database."""

    def __init__(self, workspace: Workspace, store: ObjectStore, database: Database, job: Job, lease: Lease):
        self.workspace, self.store, self.database, self.job, self.lease = workspace, store, database, job, lease
        self.folder = workspace.attempt(job)
        # After a backup of the database was restored, the number of the attempt alone may be that of another one before.
        self._name = f"{job.id}-{job.attempt}-{secrets.token_hex(4)}"

    def target(self) -> Subject | Video:
        """Loads the subject or video that the job is for. Raises NotFound."""
        if self.job.video_id:
            return self.load(Video, self.job.video_id)
        return self.load(Subject, self.job.subject_id)

    def load(self, model: type[queries.Row], row_id: str) -> queries.Row:
        """Loads a row as soon as the database answers. Raises NotFound."""
        return self.wait_for(lambda: self._load(model, row_id))

    def file(self, key: str, name: str) -> Path:
        """Fetches an object to a file in the attempt's folder."""
        path = self.folder / name
        self.wait_for_store(lambda: self.store.fetch(key, path))
        return path

    def cached_folder(self, key: str) -> Path:
        """Returns an unpacked copy of an object, to be read only."""
        return self.wait_for_store(lambda: self.workspace.cached_folder(key))

    def put(self, key: str, path: Path) -> Stored:
        """Stores a file as an object."""

        def put_file() -> Stored:
            with path.open("rb") as file:
                return self.store.put(key, file)

        return self.wait_for_store(put_file)

    def wait_for(self, action: Callable[[], T]) -> T:
        """Calls `action` until what it needs answers, for PATIENCE_S at most.

        Raises:
            StoreAway, ServerFull: the object store did not answer, or had no space, in that time.
            OperationalError, InterfaceError, ServerFull: likewise the database.
            Cancelled: the work must stop.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return action()
            except AWAY as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("%s waits: %s", self.job.id, error)
                self.lease.sleep(RETRY_S)

    def wait_for_store(self, action: Callable[[], T]) -> T:
        """Calls `action` on the object store, as `wait_for` and `call_store` do."""
        return self.wait_for(lambda: self.call_store(action))

    def call_store(self, action: Callable[[], T]) -> T:
        """Calls `action` on the object store in a thread of its own, so that a store that hangs does not delay the end of a lost job.

        The thread is left to the store's timeouts then. What it still stores has no row, so the cleanup removes it.

        Raises:
            Cancelled: the job was cancelled, deleted or taken over, or is overdue. A stop of the process is no reason: `action` may
                be what the next attempt continues from.
        """
        return self._call(action, "store", self.lease.check_held)

    def call_server(self, action: Callable[[], T]) -> T:
        """Calls `action`, which may wait for another server (of speech, of time stamps), in a thread of its own, as `call_store` does.

        The thread is left to the time limits of its own. Unlike waiting for the store, this is no progress.

        Raises:
            Cancelled: the work must stop.
        """
        return self._call(action, "server", self.lease.check)

    def _call(self, action: Callable[[], T], called: str, check: Callable[[], None]) -> T:
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(action())
            except BaseException as error:
                outcome.set_exception(error)

        logs.context_thread(run, f"{called} of {self.job.id}").start()
        while not wait([outcome], CHECK_S).done:
            check()
        return outcome.result()

    def delete(self, *keys: str) -> None:
        """Removes objects that no row names, unless the store does not answer or the work must stop: the cleanup removes them later."""
        with suppress(StoreAway, Cancelled):
            self.call_store(lambda: self.store.delete(*keys))

    def key(self, folder: str, suffix: str) -> str:
        """Returns the key of an object that this attempt makes; no other attempt, of any copy of the database, has the same."""
        return f"subjects/{self.job.subject_id}/{folder}/{self._name}{suffix}"

    def upload_folder(self, folder: Path, key: str, *, skip: tuple[str, ...] = ()) -> None:
        """Stores a folder, unless the work must stop."""
        self.lease.progress("store", 0, 1)
        self.wait_for_store(lambda: self.workspace.upload_folder(folder, key, skip=skip))

    def publish(self, **values: Any) -> bool:
        """Shows values of a running job to clients, as soon as the database answers.

        Returns:
            False if the job is not this attempt's any more.
        """
        return self.wait_for(lambda: self.publish_once(**values))

    def publish_once(self, **values: Any) -> bool:
        """Does what `publish` does, without waiting for the database."""
        with self.database.session() as session:
            return jobs.publish(session, self.job.id, self.job.attempt, **values)

    def succeed(self, *keys: str, **values: Any) -> None:
        """Ends the job as succeeded, with `values` for its target.

        Raises:
            Cancelled: the job is not this attempt's any more; the objects `keys` are removed again.
        """
        stored_bytes = sum(self.wait_for_store(lambda key=key: self._size(key)) for key in keys)

        def write(session: Session) -> bool:
            if not jobs.succeed(session, self.job.id, self.job.attempt, stored=stored_bytes, **values):
                # It has, if the database was lost during the commit of an earlier call.
                return jobs.has_succeeded(session, self.job.id, self.job.attempt)
            for stage, seconds in self.lease.estimator.seconds.items():
                counters.add(session, counters.STAGE, self.job.kind, stage, seconds)
            return True

        recorded = self.lease.record(write)
        if not recorded:
            self.delete(*keys)
            raise Cancelled

    def _load(self, model: type[queries.Row], row_id: str) -> queries.Row:
        with self.database.session(write=False) as session:
            return queries.get(session, model, row_id)

    def _size(self, key: str) -> int:
        with suppress(ObjectMissing):  # optional results may not exist
            return self.store.size(key)
        return 0


class TrainingSnapshots:
    """Publishes the newest preview and the newest checkpoint of a running training."""

    def __init__(self, attempt: Attempt, run: RunDir):
        self.attempt, self.run = attempt, run
        self.preview = run.previews / "preview.jpg"
        self.modified = {path: _modified_ns(path) for path in (self.preview, run.checkpoint)}
        self.count = 0
        self.retry_at = 0.0
        self.checkpoint_key: str | None = attempt.target().checkpoint_key

    def progress(self, stage: str, done: float, total: float) -> None:
        """Takes a progress report of the training (its `Progress` callback)."""
        self.attempt.lease.progress(stage, done, total)
        self.publish()

    def publish(self) -> None:
        """Stores the files that have changed since the last call.

        If the object store or the database does not answer, the training goes on, and the files are stored by a later call.
        """
        if time.monotonic() < self.retry_at:
            return
        try:
            if self._has_changed(self.preview):
                key = self._next_key("previews", ".jpg")
                self.attempt.call_store(lambda: self._put_preview(key))
                self._publish_key(key, preview_key=key)
                self.modified[self.preview] = _modified_ns(self.preview)
            if self._has_changed(self.run.checkpoint):
                key = self._next_key("checkpoints", ".zip")
                upload = self.attempt.workspace.upload_folder
                self.attempt.call_store(lambda: upload(self.run.root, key, skip=("previews",)))
                if self._publish_key(key, checkpoint_key=key):
                    self.delete_checkpoint()
                    self.checkpoint_key = key
                self.modified[self.run.checkpoint] = _modified_ns(self.run.checkpoint)
        except AWAY as error:
            log.warning("%s: a snapshot is not stored yet: %s", self.attempt.job.id, error)
            self.retry_at = time.monotonic() + SNAPSHOT_RETRY_S

    def delete_checkpoint(self) -> None:
        """Removes the previous checkpoint from the store, once a newer one or the finished run replaces it."""
        if self.checkpoint_key:
            self.attempt.delete(self.checkpoint_key)

    def _put_preview(self, key: str) -> None:
        with self.preview.open("rb") as file:
            self.attempt.store.put(key, file)

    def _has_changed(self, path: Path) -> bool:
        return self.modified[path] != _modified_ns(path)

    def _next_key(self, folder: str, suffix: str) -> str:
        self.count += 1
        return self.attempt.key(folder, f"-{self.count}{suffix}")

    def _publish_key(self, key: str, **values: str) -> bool:
        published = self.attempt.publish_once(**values)
        if not published:
            self.attempt.delete(key)
        return published


def _modified_ns(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None
