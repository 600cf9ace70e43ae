"""Tidying: removing scratch files of this machine that no job will read. The store has a janitor (storage/cleanup.py)."""

from __future__ import annotations

from sqlalchemy import select

from storage.database.engine import Database
from storage.database.models import Job, Subject
from worker.jobs.workspace import Workspace


def remove_stale_scratch(database: Database, workspace: Workspace) -> None:
    """Removes the folders of finished jobs, and copies of objects that are not needed (any more)."""
    entries = workspace.entries()  # before the rows are read: what a job makes from now on is not touched
    jobs = {path.name for path in entries if path.parent == workspace.jobs}
    subjects = {workspace.key(path).split("/")[1] for path in entries if "/" in workspace.key(path)}
    with database.session(write=False) as session:
        unfinished = select(Job.id).where(Job.id.in_(jobs), Job.state.in_(("queued", "running")))
        datasets = select(Subject.dataset_key).where(Subject.id.in_(subjects), Subject.state == "training")
        runs = select(Subject.run_key).where(Subject.id.in_(subjects), Subject.state == "ready")
        kept_jobs, *kept_keys = (set(session.scalars(query)) for query in (unfinished, datasets, runs))
    workspace.remove(entries, but_jobs=kept_jobs, but_keys=set().union(*kept_keys))
