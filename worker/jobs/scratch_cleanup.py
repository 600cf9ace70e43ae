"""Removes scratch files of this machine that no job needs; storage/cleanup.py does the same for the object store."""

from __future__ import annotations

from sqlalchemy import select

from storage.database.engine import Database
from storage.database.models import Job, Subject
from worker.jobs.workspace import Workspace


def remove_deleted_subjects(database: Database, workspace: Workspace) -> None:
    """Removes the copies of subjects that were deleted or purged, and the folders of a purged subject's jobs.

    The work of a worker that is still running such a job goes with it: the job was cancelled.
    """
    entries = workspace.entries()
    by_subject = {path: workspace.key(path).split("/")[1] for path in entries if "/" in workspace.key(path)}
    job_ids = {path.name for path in entries if path.parent == workspace.jobs}
    if not entries:
        return
    with database.session(write=False) as session:
        there = Subject.purged_at.is_(None), Subject.deleted_at.is_(None)
        unpurged = select(Subject.id).where(Subject.id.in_(set(by_subject.values())), *there)
        kept = set(session.scalars(unpurged))
        purged = select(Job.id).join(Subject, Subject.id == Job.subject_id).where(Subject.purged_at.is_not(None))
        ended = set(session.scalars(purged.where(Job.id.in_(job_ids), Job.state.in_(("failed", "cancelled")))))
    deleted = [path for path, subject in by_subject.items() if subject not in kept]
    workspace.remove([*deleted, *(workspace.jobs / job_id for job_id in ended)], but_jobs=(), but_keys=())


def remove_stale_scratch(database: Database, workspace: Workspace) -> None:
    """Removes the folders of finished jobs, and cached objects that no unfinished job and no subject needs.

    The folders are listed before the rows are read, so that nothing a job makes in between is removed.
    """
    entries = workspace.entries()
    job_ids = {path.name for path in entries if path.parent == workspace.jobs}
    subject_ids = {workspace.key(path).split("/")[1] for path in entries if "/" in workspace.key(path)}
    with database.session(write=False) as session:
        unfinished = select(Job.id).where(Job.id.in_(job_ids), Job.state.in_(("queued", "running")))
        datasets = select(Subject.dataset_key).where(Subject.id.in_(subject_ids), Subject.state == "training")
        runs = select(Subject.run_key).where(Subject.id.in_(subject_ids), Subject.state == "ready")
        needed_jobs, *needed_keys = (set(session.scalars(query)) for query in (unfinished, datasets, runs))
    workspace.remove(entries, but_jobs=needed_jobs, but_keys=set().union(*needed_keys))
