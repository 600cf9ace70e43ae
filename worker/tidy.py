"""Tidying: removing files that no row names (any more). What is in work or only just made is left alone."""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.db import Database
from storage.models import Job, Subject, Video
from worker.workspace import Workspace

log = logging.getLogger(__name__)

ABANDONED_S = 3600.0
"""An object that no row has named for so long will not be named any more: its transaction or its worker is gone."""

KEYS = (
    Subject.source_key, Subject.dataset_key, Subject.checkpoint_key, Subject.run_key, Subject.preview_key,
    Subject.report_key,
    Video.audio_key, Video.background_key, Video.file_key,
)  # fmt: skip
"""Every column that names an object."""


def tidy(database: Database, workspace: Workspace) -> None:
    """Removes scratch files of finished jobs, copies of objects that no job will read, and objects without a row."""
    entries = workspace.entries()  # before the rows are read: what a job makes from now on is not touched
    with database.session(write=False) as session:
        unfinished = _all(session, select(Job.id).where(Job.state.in_(("queued", "running"))))
        datasets = _all(session, select(Subject.dataset_key).where(Subject.state == "training"))
        runs = _all(session, select(Subject.run_key).where(Subject.state == "ready"))
        named = set().union(*(_all(session, select(column).where(column.is_not(None))) for column in KEYS))
    workspace.remove(entries, but_jobs=unfinished, but_keys=datasets | runs)
    for key in workspace.store.keys(older_than_s=ABANDONED_S):
        if key not in named:
            log.info("removing the abandoned object %s", key)
            workspace.store.delete(key)


def _all(session: Session, query) -> set[str]:
    return set(session.scalars(query))
