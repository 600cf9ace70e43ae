"""Removes objects from the store that no row names, parts of unfinished writes, and expired uploads.

An object is written before the row that names it, so a recent object without a row may still get one: it is kept for a grace
period, and as long as the attempt that wrote it is running. Only objects under the service's own keys are considered:
`subjects/<id>/`, `subjects/<id>/videos/<id>/`, `uploads/<id>-...` and `verifications/<id>`.
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
"""Age from which an object without a row is removed. Rows follow their objects within seconds, so an hour is very safe."""
LISTED_PER_BATCH = 10_000
"""Objects that one call of `run_batch` lists, which bounds its duration; the next call continues behind them."""
PREFIXES = ("subjects/", uploads.PREFIX, verifications.PREFIX)
"""Prefixes of the service's own keys."""
KEYS_PER_QUERY = 500
"""Keys that are looked up in the database at once: enough to need few queries, within the databases' parameter limits."""

ATTEMPT = re.compile(r"/(job_[0-9a-f]+)-([0-9]+)[^/]*$")
"""The end of a key that the attempt of a job has written: the job's id and the attempt's number."""


class ObjectCleaner:
    """Removes unnamed objects batch by batch. Each call continues the listing after the end of the call before."""

    def __init__(self, database: Database, store: ObjectStore, grace_s: float = GRACE_S):
        self.database, self.store, self.grace_s = database, store, grace_s
        self._after = ""

    def run_batch(self) -> list[str]:
        """Removes expired uploads, then the unnamed objects among the next LISTED_PER_BATCH ones.

        Returns:
            The keys of the removed unnamed objects.

        Raises:
            StoreAway: the object store does not answer.
        """
        with self.database.session() as session:
            if expired := uploads.expire(session, self.store):
                log.info("%d uploads have expired: %s", len(expired), ", ".join(expired[:5]))
        if not self._after:
            self.store.delete_unfinished(older_than_s=self.grace_s)
        keys = list(islice(self.store.keys(older_than_s=self.grace_s, after=self._after), LISTED_PER_BATCH))
        removed = []
        for start in range(0, len(keys), KEYS_PER_QUERY):
            own_keys = [key for key in keys[start : start + KEYS_PER_QUERY] if key.startswith(PREFIXES)]
            with self.database.session(write=False) as session:  # After the listing, so it sees rows written since.
                needed = _named_by_rows(session, own_keys) | _of_running_attempts(session, own_keys)
            unnamed = [key for key in own_keys if key not in needed]
            if unnamed:
                log.info("removing %d objects that no row names: %s", len(unnamed), ", ".join(unnamed[:5]))
                self.store.delete(*unnamed)
            removed += unnamed
        self._after = keys[-1] if len(keys) == LISTED_PER_BATCH else ""
        return removed


def _named_by_rows(session: Session, keys: Collection[str]) -> set[str]:
    """All keys that are named by those subjects, videos, uploads and verifications to which the given keys belong."""
    folders = [key.split("/") for key in keys if not key.startswith(uploads.PREFIX)]
    subjects = {parts[1] for parts in folders}
    videos = {parts[3] for parts in folders if len(parts) > 4 and parts[2] == "videos"}
    named: set[str] = set()
    for model, ids in ((Subject, subjects), (Video, videos)):
        columns = [column for column in model.__table__.columns if column.name.endswith("_key")]
        for row in session.execute(select(*columns).where(model.id.in_(ids))):
            named.update(row)
    upload_ids = {key.removeprefix(uploads.PREFIX).split("-")[0] for key in keys if key.startswith(uploads.PREFIX)}
    to_verify = [key for key in keys if key.startswith(verifications.PREFIX)]
    named.update(session.scalars(select(Verification.file_key).where(Verification.file_key.in_(to_verify))))
    named.update(session.scalars(select(UploadPart.key).where(UploadPart.upload_id.in_(upload_ids))))
    return named


def _of_running_attempts(session: Session, keys: Collection[str]) -> set[str]:
    """Those of the keys that were written by attempts that still run."""
    attempts = {key: (match[1], int(match[2])) for key in keys if (match := ATTEMPT.search(key))}
    job_ids = {job_id for job_id, _ in attempts.values()}
    query = select(Job.id, Job.attempt).where(Job.state == "running", Job.id.in_(job_ids))
    running = {tuple(row) for row in session.execute(query)}
    return {key for key, attempt in attempts.items() if attempt in running}
