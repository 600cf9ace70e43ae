"""Notes about attempts that a worker gives up while the database may be away, so that their ends cannot be recorded.

A note is an empty file `locks/unreleased/<id>.<attempt>.<worker>` of the data folder: the id of a job or of a verification, or
`prior_<version>`. The sweep of any process of this data folder releases what the notes name, once their workers have ended, before it looks
for lost workers: a stop costs no attempt.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from sqlalchemy.orm import Session

from storage.database.engine import Database
from storage.database.models import LipPrior, Verification
from storage.errors import InUse
from storage.settings import Settings
from storage.tables import jobs, lip_priors, verifications
from worker.locks import HeldLock, is_abandoned

log = logging.getLogger(__name__)

NAME = re.compile(r"((?:job|ver)_[0-9a-f]+|prior_[0-9]+)\.([0-9]+)\.(.*)")
"""The name of a note: the id of a row, its attempt, and the name of the worker."""


def note(settings: Settings, row_id: str, attempt: int, worker: str = "") -> Path:
    """Returns the path of a note. Without the name of a worker, nobody waits for the end of one."""
    return settings.locks / "unreleased" / f"{row_id}.{attempt}.{worker}"


def leave(path: Path) -> None:
    """Leaves a note. If the disk does not take it, the attempt will count."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        log.warning("the note %s cannot be left: %s", path.name, error)


def release_noted(settings: Settings, database: Database) -> None:
    """Releases the attempts that the notes of ended workers name, and removes these notes.

    Raises:
        OperationalError, InterfaceError, StoreFull: the database is away or full; the notes stay.
    """
    folder = settings.locks / "unreleased"
    if not folder.exists() or not any(folder.iterdir()):
        return
    try:
        lock = HeldLock(settings.locks / "unreleased.lock")
    except InUse:  # another process releases them now; what this one takes for lost before is forgiven by that one
        return
    try:
        for path in folder.iterdir():
            if (name := NAME.fullmatch(path.name)) is None:  # no note, such as what a network file system leaves
                continue
            row_id, attempt, worker = name.groups()
            if worker and _is_alive(settings.locks / "workers" / worker):
                continue  # it still records the end itself, or releases the job by its own sweep
            with database.session() as session:
                _release(session, row_id, int(attempt))
            log.warning("%s: attempt %s was given up by a worker that has stopped; it does not count", row_id, attempt)
            path.unlink(missing_ok=True)
    finally:
        lock.release()


def _is_alive(lock: Path) -> bool:
    return lock.exists() and not is_abandoned(lock)


def _release(session: Session, row_id: str, attempt: int) -> None:
    if row_id.startswith("ver_"):
        verifications.release(session, Verification(id=row_id, attempt=attempt))
    elif row_id.startswith("prior_"):
        lip_priors.release(session, LipPrior(version=int(row_id.removeprefix("prior_")), attempt=attempt))
    elif not jobs.release(session, row_id, attempt):
        jobs.forgive(session, row_id, attempt)  # others have taken it for lost
