"""The verifier: looks into the files of which somebody asks whether they were made here.

It is a thread of the housekeeping of every worker that preprocesses, beside whatever job runs there, so that nobody waits
for the end of a training; a process of its own looks at the file (worker/provenance/inspection.py). The file goes as soon as there is
an answer, the row a day later.
"""

from __future__ import annotations

import logging
import shutil
import time
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from storage.database.engine import Database
from storage.database.models import Verification, Video
from storage.errors import BadCertificate, ObjectMissing
from storage.objects.base import ObjectStore
from storage.settings import Settings
from storage.tables import certificates, verifications
from worker.provenance.inspection import inspect
from worker.provenance.signing_identity import load_mark_key

log = logging.getLogger(__name__)


class Verifier:
    """Answers verifications; several may, in one process or in many."""

    def __init__(self, settings: Settings, database: Database, store: ObjectStore):
        self.settings, self.database, self.store = settings, database, store
        self._scratch = settings.work / "verifications"

    def round(self) -> None:
        """Answers all that are waiting."""
        while self.step():
            pass

    def step(self) -> bool:
        """Answers the oldest one. False where there was none."""
        with self.database.session(write=False) as session:
            if not verifications.any_waiting(session):
                return False
        with self.database.session() as session:
            row = verifications.claim(session)
        if row is None:
            return False
        log.info("%s: attempt %d", row.id, row.attempt)
        try:
            findings = self._findings(row)
        except ObjectMissing as error:
            findings = {"error": {"code": error.code, "message": error.message, "remedy": "Send the file again."}}
        except BadCertificate as error:
            log.error("%s: %s", row.id, error)
            findings = {"error": {"code": error.code, "message": error.message, "remedy": error.remedy}}
        with self.database.session() as session:
            answered = _answer(session, row, findings)
        if answered:  # else another attempt is looking at the file, or the janitor has it
            self.store.delete(row.file_key)
        return True

    def tidy(self) -> None:
        """Removes old answers, and what a process that was killed left in the work folder."""
        with self.database.session() as session:
            verifications.delete_expired(session)
        latest = time.time() - verifications.LEASE_S
        for folder in self._scratch.glob("*"):
            if folder.stat().st_mtime < latest:
                shutil.rmtree(folder, ignore_errors=True)

    def _findings(self, row: Verification) -> dict[str, Any]:
        """What worker.provenance.inspection finds in the file. Raises ObjectMissing, BadCertificate."""
        mark_key = load_mark_key(self.settings)
        folder = self._scratch / f"{row.id}-{row.attempt}"
        try:
            folder.mkdir(parents=True)
            self.store.fetch(row.file_key, folder / "file")
            with self.database.session(write=False) as session:
                chains = certificates.chains(session)
                beside = session.scalars(_manifests(row.sha256)).first()
            manifest = None
            if beside is not None:
                manifest = folder / "manifest"
                self.store.fetch(beside, manifest)
            order = {"chains": chains, "manifest": manifest and str(manifest), "mark_key": mark_key.hex()}
            return inspect(folder / "file", order)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _manifests(sha256: str) -> Select[tuple[str | None]]:
    """The manifests that lie beside files of these bytes: equal videos are equally good witnesses."""
    return select(Video.credentials_key).where(Video.sha256 == sha256, Video.credentials_key.is_not(None))


def _answer(session: Session, row: Verification, findings: dict[str, Any]) -> bool:
    """Keeps the findings, and which of our videos the file is: as its credentials say, else as its mark does.

    False: it came too late.
    """
    if "error" in findings:
        return verifications.fail(session, row, findings["error"])
    credentials, mark = findings["credentials"], findings["mark"]
    made = None
    if credentials["ours"]:
        made = session.get(Video, credentials["video_id"])
    if mark is not None:
        marked = session.scalars(select(Video).where(Video.mark == mark["number"])).one_or_none()
        mark["video_id"] = marked and marked.id
        made = made or marked
    findings["made_at"] = made.created_at.isoformat() if made else credentials["created_at"]
    return verifications.succeed(session, row, findings, made)
