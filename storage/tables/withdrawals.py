"""Withdrawals of consent: those that are being carried out, and the digests of all that were; the only writer of both tables.

The withdrawal itself is one short transaction (api/services/consents.py): once it is committed, no job of the subject is created, claimed
or retried. Its videos and their queued jobs may be thousands, so they are cancelled in batches, each in a transaction of its own: the first
one by the request, the others by the sweep (worker/sweeper.py), also after a crash. Other writers have their turn in between.

All videos of the subject exist when the withdrawal is committed, because whoever creates one holds the subject's row. So one pass over them
in the order of their ids is complete.

The digests stay when subjects are deleted: a bundle of one, which somebody has kept, must not bring it back (`check_bundle`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Base, Delivery, Job, Subject, Video, Withdrawal, WithdrawnConsent, now
from storage.errors import ConsentWithdrawn
from storage.tables import consents, jobs, uploads, webhooks

BATCH = 50
"""Videos whose jobs one transaction cancels: other writers of SQLite wait for some tenths of a second at most."""


def begin(session: Session, subject_id: str, *, owner: str, purge: bool) -> None:
    """Notes that the videos of a subject have to be cancelled, from the first one on; a purge that was noted before stays noted.

    It locks the row of the withdrawal, before any job, until the transaction ends.
    """
    new = {"subject_id": subject_id, "owner": owner, "purge": purge, "after": "", "created_at": now()}
    again = {"purge": or_(Withdrawal.purge, purge), "after": "", "created_at": new["created_at"]}
    queries.upsert(session, Withdrawal, new, update=again)


def remember(session: Session, subject: Subject) -> None:
    """Records the digests of a consent that was withdrawn: its own and, of a subject from a bundle, those of its origins."""
    for digest in (consents.digest(subject), *consents.origins(subject)):
        queries.insert_ignoring_conflicts(session, WithdrawnConsent, digest=digest, created_at=now())


def check_bundle(session: Session, digests: Collection[str]) -> None:
    """Raises ConsentWithdrawn if a consent with one of these digests was withdrawn here, whether the subject still exists or not."""
    query = select(WithdrawnConsent.created_at).where(WithdrawnConsent.digest.in_(digests)).limit(1)
    withdrawn_at = session.scalars(query).one_or_none()
    if withdrawn_at is not None:
        raise ConsentWithdrawn(f"The consent in this bundle was withdrawn on {withdrawn_at:%d %b %Y}.")


def advance(session: Session, subject_id: str) -> None:
    """Cancels the next BATCH videos of a subject and their jobs. Nothing happens if none are left or another process is doing it.

    Call it in a new session.
    """
    query = select(Withdrawal).where(Withdrawal.subject_id == subject_id).with_for_update(skip_locked=True)
    withdrawal = session.scalars(query).one_or_none()
    if withdrawal is None:
        return
    following = select(Video.id).where(Video.subject_id == subject_id, Video.id > withdrawal.after).order_by(Video.id)
    videos = session.scalars(following.limit(BATCH)).all()
    jobs.cancel_active(session, Job.subject_id == subject_id, or_(Job.video_id.is_(None), Job.video_id.in_(videos)))
    active = update(Video).where(Video.id.in_(videos), Video.state != "cancelled")
    queries.execute_update(session, active.values(state="cancelled", updated_at=now()))
    if withdrawal.purge:
        _purge(session, withdrawal, videos)
    if len(videos) < BATCH:
        session.delete(withdrawal)
    else:
        withdrawal.after = videos[-1]
    session.flush()


def unfinished(session: Session) -> Sequence[str]:
    """Returns subjects for which `advance` has something to do, one of each owner."""
    return session.scalars(select(func.min(Withdrawal.subject_id)).group_by(Withdrawal.owner)).all()


def without_keys(model: type[Base]) -> dict[str, str | int | None]:
    """Values for a row that names no objects. The cleaner deletes what the store, if it is away now, still has."""
    keys = [column for column in model.__table__.columns if column.name.endswith("_key")]
    return {column.name: None if column.nullable else "" for column in keys} | {"stored_bytes": 0}


def _purge(session: Session, withdrawal: Withdrawal, videos: Sequence[str]) -> None:
    """Takes from the rows of videos what a purge deletes, and deletes the deliveries from before the withdrawal that name them."""
    texts = dict.fromkeys(("title", "client_metadata", "script", "spoken", "warnings"))
    queries.execute_update(session, update(Video).where(Video.id.in_(videos)).values(**without_keys(Video), **texts))
    uploads.forget_used(session, *videos, owner=withdrawal.owner)
    earlier = Delivery.video_id.in_(videos), Delivery.created_at < withdrawal.created_at
    webhooks.delete_deliveries(session, *earlier, owner=withdrawal.owner)
