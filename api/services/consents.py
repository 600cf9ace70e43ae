"""Withdrawal of consent: the subject is never shown again, its jobs stop, and on request its files are deleted.

Every transaction locks jobs before their subjects and videos. Therefore a job that is being created or claimed at the same moment can be
missed here: it is cancelled with the jobs of the videos later (storage/tables/withdrawals.py), or by its claim, which sees the withdrawal.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Delivery, PreviewFrame, Subject, now
from storage.objects.base import ObjectStore
from storage.tables import deletions, idempotency, jobs, preview_frames, uploads, webhooks, withdrawals


def withdraw_consent(session: Session, store: ObjectStore, subject_id: str, *, owner: str, purge: bool) -> Subject:
    """Withdraws the consent: cancels the subject and its running jobs, and returns the subject.

    Once this is committed nothing of the subject is made or shown any more. Its videos and their queued jobs are cancelled by
    `cancel_videos` after that.

    With `purge`, all files of the subject and its videos are deleted, the texts of the videos (title, metadata, script), the names of the
    files that were sent, and the webhook deliveries that name them. The record of the consent stays, and so do the rows of the videos, by
    which a file can still be recognized as made here. A second call changes nothing, except that it can add the purge. Raises NotFound.
    """
    subject = queries.get(session, Subject, subject_id, owner=owner)
    time = now()
    withdrawals.remember(session, subject)
    withdrawals.begin(session, subject_id, owner=owner, purge=purge)
    jobs.cancel_of_subject(session, subject_id)
    unwithdrawn = Subject.id == subject_id, Subject.withdrawn_at.is_(None)
    _set(session, *unwithdrawn, state="cancelled", updated_at=time, withdrawn_at=time)
    preview_frames.forget(session, PreviewFrame.subject_id == subject_id)
    if purge:
        unpurged = Subject.id == subject_id, Subject.purged_at.is_(None)
        _set(session, *unpurged, **withdrawals.without_keys(Subject), purged_at=time, updated_at=time)
        idempotency.erase_naming(session, subject_id, owner=owner)
        uploads.forget_used(session, subject_id, owner=owner)
        own = Delivery.subject_id == subject_id, Delivery.video_id.is_(None), Delivery.created_at < time
        webhooks.delete_deliveries(session, *own, owner=owner)
        deletions.request(session, store, f"subjects/{subject_id}/")
    return queries.get(session, Subject, subject_id, owner=owner)


def cancel_videos(session: Session, subject_id: str) -> None:
    """Cancels videos of a subject whose consent was withdrawn, all if they are few; the sweep cancels the others. Call it in a new session."""
    withdrawals.advance(session, subject_id)


def _set(session: Session, *where: ColumnElement[bool], **values: Any) -> None:
    queries.execute_update(session, update(Subject).where(*where).values(**values))
