"""Answers verifications: whether this service made a file that a client sent.

The verifier runs in a background thread of every worker that preprocesses, beside the current job, so that no client waits for
the end of a training. A separate process inspects the file (inspection.py). The file is deleted as soon as there is an
answer, the row a day later.
"""

from __future__ import annotations

import logging
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from storage.database.engine import Database
from storage.database.models import Verification, Video
from storage.errors import BadCertificate, ObjectMissing, StoreAway, StoreFull
from storage.objects.base import ObjectStore
from storage.settings import Settings
from storage.tables import certificates, deletions, verifications
from worker import unreleased
from worker.owner_turns import OwnerTurns
from worker.provenance.inspection import Stopped, inspect
from worker.provenance.mark_key import load_mark_key
from worker.watchdog import RunningClock

log = logging.getLogger(__name__)

THREADS = 2
"""Threads of one worker that verify. A file can take minutes; each file occupies one core meanwhile, beside the job."""
AT_ONCE = 1
"""Threads that files of one owner may occupy, so that one is left to others."""


class Verifier:
    """Answers verifications; several verifiers may run side by side, in one process or in many."""

    def __init__(
        self, settings: Settings, database: Database, store: ObjectStore, stopping: threading.Event | None = None
    ):
        self.settings, self.database, self.store = settings, database, store
        self.stopping = stopping or threading.Event()
        self._mine: list[Verification] = []
        """The attempts of this process, in progress."""
        self._given_up: list[Verification] = []
        """Attempts that ended without an answer, still to be released."""
        self.turns = OwnerTurns(AT_ONCE)
        # Half a lease: after a pause of this process, a living worker has the other half to end its attempt.
        self._clock = RunningClock(verifications.LEASE_S / 2)
        self._seen: dict[verifications.RunningAttempt, float] = {}
        """The running attempts, and the running time at which each was first seen."""
        self._looking = threading.Lock()
        self._scratch = settings.work / "verifications"

    def verify_pending(self) -> None:
        """Answers all pending verifications."""
        while not self.stopping.is_set() and self.verify_next():
            pass

    def verify_next(self) -> bool:
        """Answers a pending verification, of each owner in turn the oldest.

        Returns:
            False if there is none, or if others answer them already.

        Raises:
            StoreAway, StoreFull, OperationalError, InterfaceError, OSError: not the file's fault. The attempt does not count.
        """
        self._release_given_up()
        with self.database.session(write=False) as session:
            lost = self._lost(session)
            waiting = verifications.waiting_owners(session, lost)
        with self.turns.take(waiting) as owner:
            if owner is None:
                return False
            with self.database.session() as session:
                row = verifications.claim(session, owner, lost)
            if row is None:
                return False
            self._mine.append(row)
            try:
                self._answer(row)
            except Stopped:
                return False  # `close` releases it
            except (StoreAway, StoreFull, OperationalError, InterfaceError, OSError):
                self._given_up.append(row)
                raise
            self._mine.remove(row)
            return True

    def close(self) -> None:
        """Releases the verifications that this process has not answered, by notes if the database is away. Set `stopping` before."""
        self._given_up += self._mine
        self.leave_notes()  # first: the database may be away, or this process killed before it answers
        self._release_given_up()

    def leave_notes(self) -> None:
        """Leaves notes about the verifications that this process has not answered."""
        for row in {*self._given_up, *self._mine}:
            unreleased.leave(self._note(row))

    def _release_given_up(self) -> None:
        while self._given_up:
            row = self._given_up[-1]
            with self.database.session() as session:
                verifications.release(session, row)
            self._note(row).unlink(missing_ok=True)
            with suppress(ValueError):  # another thread was quicker; a second release changes nothing
                self._given_up.remove(row)

    def _note(self, row: Verification) -> Path:
        return unreleased.note(self.settings, row.id, row.attempt)

    def _lost(self, session: Session) -> list[verifications.RunningAttempt]:
        """Returns the attempts that have run for a lease of this process's own running time; no wall clocks are compared."""
        running = verifications.running(session)
        with self._looking:
            now = self._clock.advance()
            self._seen = {attempt: self._seen.get(attempt, now) for attempt in running}
            return [attempt for attempt, since in self._seen.items() if now - since >= verifications.LEASE_S]

    def _answer(self, row: Verification) -> None:
        """Inspects the file of a claimed verification, and records the result."""
        log.info("%s: attempt %d", row.id, row.attempt)
        try:
            findings = self._findings(row)
        except ObjectMissing as error:
            log.error("%s: %s", row.id, error)
            findings = {"error": {"code": error.code, "message": error.message, "remedy": "Send the file again."}}
        except BadCertificate as error:
            log.error("%s: %s", row.id, error)
            findings = {"error": {"code": error.code, "message": error.message, "remedy": error.remedy}}
        with self.database.session() as session:
            if _record(session, row, findings):  # otherwise another attempt works on the file, or it was deleted
                deletions.request_objects(session, self.store, [row.file_key])

    def clean_up(self) -> None:
        """Removes scratch files of processes that were killed; those of running attempts stay, whatever the clocks say."""
        folders = list(self._scratch.glob("*"))  # before the rows: what is begun in between is not among them
        with self.database.session(write=False) as session:
            active = {self._folder(*attempt) for attempt in verifications.running(session)}
        for folder in folders:
            if folder not in active:
                shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, row_id: str, attempt: int) -> Path:
        return self._scratch / f"{row_id}-{attempt}"

    def _findings(self, row: Verification) -> dict[str, Any]:
        """Inspects the file of a verification. Raises ObjectMissing, BadCertificate, Stopped."""
        mark_key = load_mark_key(self.settings)
        folder = self._folder(row.id, row.attempt)
        try:
            folder.mkdir(parents=True)
            self.store.fetch(row.file_key, folder / "file")
            with self.database.session(write=False) as session:
                chains = certificates.chains(session)
                manifest_key = session.scalars(_manifests(row.sha256)).first()
            manifest = None
            if manifest_key is not None:
                manifest = folder / "manifest"
                self.store.fetch(manifest_key, manifest)
            order = {"chains": chains, "manifest": manifest and str(manifest), "mark_key": mark_key.hex()}
            return inspect(folder / "file", order, self.stopping)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _manifests(sha256: str) -> Select[tuple[str | None]]:
    """Selects the separate manifests of videos with these bytes; equal bytes have equally valid manifests."""
    return select(Video.credentials_key).where(Video.sha256 == sha256, Video.credentials_key.is_not(None))


def _record(session: Session, row: Verification, findings: dict[str, Any]) -> bool:
    """Records the findings, and the video that the file is: by its credentials, else by its watermark.

    Returns:
        False if the verification is not this attempt's any more.
    """
    if "error" in findings:
        return verifications.fail(session, row, findings["error"])
    credentials, mark = findings["credentials"], findings["mark"]
    video = None
    if credentials["ours"]:
        video = session.get(Video, credentials["video_id"])
    if mark is not None:
        marked = session.scalars(select(Video).where(Video.mark == mark["number"])).one_or_none()
        mark["video_id"] = marked and marked.id
        video = video or marked
    findings["made_at"] = video.created_at.isoformat() if video else credentials["created_at"]
    return verifications.succeed(session, row, findings, video)
