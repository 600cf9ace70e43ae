"""ObjectCleaner: removes objects that no row names, and what unfinished writing left.

Objects are written before the row that names them, so one without a name may be about to get it: it is left alone for a
time of grace, and for as long as the attempt runs whose key it carries. Of the store's other contents nothing is touched:
ours are below `subjects/<id>/`, those of a video below `subjects/<id>/videos/<id>/`, the parts of uploads `uploads/<id>-...`,
files to be verified `verifications/<id>`.
Uploads whose time is over go first, with their parts.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from itertools import islice

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database.engine import Database
from storage.database.models import Job, Subject, UploadPart, Verification, Video
from storage.objects.base import ObjectStore
from storage.tables import uploads, verifications

log = logging.getLogger(__name__)

GRACE_S = 3600.0
"""An object that no row has named for so long will not be named any more: its transaction or its worker is gone."""
LOOK = 10_000
"""Most objects that one round looks at."""
OURS = ("subjects/", uploads.PREFIX, verifications.PREFIX)
"""How our keys begin."""
BATCH = 500
"""Objects whose rows are looked for at once."""

ATTEMPT = re.compile(r"/(job_[0-9a-f]+)-([0-9]+)[^/]*$")
"""The end of a key that an attempt made."""


class ObjectCleaner:
    """Looks through the store bit by bit: each round goes on where the one before it ended."""

    def __init__(self, database: Database, store: ObjectStore, grace_s: float = GRACE_S):
        self.database, self.store, self.grace_s = database, store, grace_s
        self._after = ""

    def round(self) -> list[str]:
        """Removes what nobody will need among the next `LOOK` objects; returns its keys. Raises StoreAway."""
        with self.database.session() as session:
            if over := uploads.expire(session, self.store):
                log.info("%d uploads were given up: %s", len(over), ", ".join(over[:5]))
        if not self._after:
            self.store.delete_unfinished(older_than_s=self.grace_s)
        keys = list(islice(self.store.keys(older_than_s=self.grace_s, after=self._after), LOOK))
        removed = []
        for start in range(0, len(keys), BATCH):
            ours = [key for key in keys[start : start + BATCH] if key.startswith(OURS)]
            with self.database.session(write=False) as session:  # after the listing: what was named since is seen
                wanted = _named(session, ours) | _in_work(session, ours)
            lost = [key for key in ours if key not in wanted]
            if lost:
                log.info("removing %d objects that no row names: %s", len(lost), ", ".join(lost[:5]))
                self.store.delete(*lost)
            removed += lost
        self._after = keys[-1] if len(keys) == LOOK else ""
        return removed


def _named(session: Session, keys: Collection[str]) -> set[str]:
    """The keys that are named by the rows of the subjects, videos and uploads in whose places these keys are."""
    parts = [key.split("/") for key in keys if not key.startswith(uploads.PREFIX)]
    subjects = {part[1] for part in parts}
    videos = {part[3] for part in parts if len(part) > 4 and part[2] == "videos"}
    named: set[str] = set()
    for model, ids in ((Subject, subjects), (Video, videos)):
        columns = [column for column in model.__table__.columns if column.name.endswith("_key")]
        for row in session.execute(select(*columns).where(model.id.in_(ids))):
            named.update(row)
    sent = {key.removeprefix(uploads.PREFIX).split("-")[0] for key in keys if key.startswith(uploads.PREFIX)}
    looked_at = [key for key in keys if key.startswith(verifications.PREFIX)]
    named.update(session.scalars(select(Verification.file_key).where(Verification.file_key.in_(looked_at))))
    named.update(session.scalars(select(UploadPart.key).where(UploadPart.upload_id.in_(sent))))
    return named


def _in_work(session: Session, keys: Collection[str]) -> set[str]:
    """Those of the keys that were made by attempts which still run."""
    made = {key: (match[1], int(match[2])) for key in keys if (match := ATTEMPT.search(key))}
    query = select(Job.id, Job.attempt).where(Job.state == "running", Job.id.in_({job for job, _ in made.values()}))
    running = {tuple(row) for row in session.execute(query)}
    return {key for key, attempt in made.items() if attempt in running}
