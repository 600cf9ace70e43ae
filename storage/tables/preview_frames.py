"""Frames that show what a video will look like: requests that a worker answers within seconds, and their pictures.

They are not jobs: they wait behind none, nobody follows them, and equal requests share one picture for an hour. Like jobs, each is
claimed by one conditional UPDATE. A frame whose worker is lost is not claimed again: it may be what ended the worker. It fails, and
whoever asks once more gets another try.
"""

from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session, undefer

from storage.database import queries
from storage.database.engine import after_commit
from storage.database.models import PreviewFrame, Subject
from storage.objects.base import ObjectStore, Stored

LEASE_S = 60.0
"""Time that a worker has for one frame, which takes seconds, also beside a rendering on two cores."""
KEPT_S = 3600.0
"""Time after the last request for which a picture is kept: somebody who makes a video looks at the same ones again and again."""
LOST = {
    "code": "worker_lost",
    "message": "The worker that rendered this frame is gone.",
    "remedy": "Try again; if it happens again, report it to the operator: the frame may need more memory than the worker has.",
}
"""The error of a frame whose lease has ended."""
QUEUED, KEPT = 3, 50
"""Frames of one owner that may wait, the newest ones (an earlier choice interests nobody), and pictures that are kept for one owner."""


def request(
    session: Session,
    store: ObjectStore,
    subject: Subject,
    options: dict[str, Any],
    background: Stored | None = None,
) -> PreviewFrame:
    """Returns the frame of these options (RenderOptions as JSON), which is queued if there is none yet; `picture` is loaded.

    Backgrounds that no frame needs any more are deleted, this one too if there is such a frame already.
    """
    version = json.dumps([subject.id, subject.run_key, options, background and background.sha256], sort_keys=True)
    digest = sha256(version.encode()).hexdigest()
    queued = {"digest": digest, "owner": subject.owner, "subject_id": subject.id, "options": options, "state": "queued"}
    time = queries.server_now(session)
    if session.get(PreviewFrame, digest) is None:
        queries.insert_ignoring_conflicts(
            session, PreviewFrame, **queued, background_key=background and background.key, asked_at=time
        )
    _update(session, PreviewFrame.digest == digest, asked_at=time)
    lost = PreviewFrame.state == "running", PreviewFrame.lease_until < time
    _update(session, PreviewFrame.digest == digest, *lost, **_ENDED, state="failed", error=LOST)
    unneeded = _keep_newest(session, subject.owner, ("queued",), QUEUED, spared=digest)
    _keep_newest(session, subject.owner, ("succeeded", "failed"), KEPT, spared=digest)
    frame = find(session, digest)
    if background is not None and frame.background_key != background.key:
        unneeded.append(background.key)
    after_commit(session, lambda: store.delete(*unneeded), remote=True)
    return frame


def find(session: Session, digest: str) -> PreviewFrame | None:
    """Returns a frame with its picture; None if it was forgotten."""
    query = select(PreviewFrame).options(undefer(PreviewFrame.picture)).where(PreviewFrame.digest == digest)
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def forget(session: Session, *where: ColumnElement[bool]) -> None:
    """Deletes frames."""
    queries.execute_update(session, delete(PreviewFrame).where(*where))


def waiting_owners(session: Session) -> dict[str, str]:
    """Returns the owners of frames that wait, each with the time of its oldest request."""
    query = (
        select(PreviewFrame.owner, func.min(PreviewFrame.asked_at))
        .where(PreviewFrame.state == "queued")
        .group_by(PreviewFrame.owner)
    )
    return {owner: oldest.isoformat() for owner, oldest in session.execute(query)}


def claim(session: Session, owner: str) -> PreviewFrame | None:
    """Leases the newest waiting frame of an owner to the caller, with its background; None if there is none."""
    newest = select(PreviewFrame.digest).where(PreviewFrame.state == "queued", PreviewFrame.owner == owner)
    newest = newest.order_by(PreviewFrame.asked_at.desc()).limit(1).with_for_update(skip_locked=True)
    statement = (
        update(PreviewFrame)
        .where(PreviewFrame.digest == newest.scalar_subquery())
        .values(state="running", lease_until=queries.server_now(session) + timedelta(seconds=LEASE_S))
        .returning(PreviewFrame.digest)
    )
    digest = session.scalars(statement).one_or_none()
    query = select(PreviewFrame).options(undefer(PreviewFrame.background)).where(PreviewFrame.digest == digest)
    return None if digest is None else session.scalars(query).one()


def succeed(session: Session, digest: str, picture: bytes) -> None:
    """Stores the picture of a frame, unless it was forgotten meanwhile."""
    _update(
        session,
        PreviewFrame.digest == digest,
        PreviewFrame.state == "running",
        **_ENDED,
        state="succeeded",
        picture=picture,
    )


def fail(session: Session, digest: str, error: dict[str, str]) -> None:
    """Ends a frame with an `error` (code, message, remedy)."""
    _update(
        session, PreviewFrame.digest == digest, PreviewFrame.state == "running", **_ENDED, state="failed", error=error
    )


def release(session: Session, digest: str) -> None:
    """Queues a frame again."""
    _update(session, PreviewFrame.digest == digest, PreviewFrame.state == "running", state="queued", lease_until=None)


def delete_expired(session: Session) -> None:
    """Deletes the frames that nobody has asked for since KEPT_S."""
    forget(session, PreviewFrame.asked_at < queries.server_now(session) - timedelta(seconds=KEPT_S))


_ENDED = {"lease_until": None, "background": None, "background_key": None}


def _keep_newest(session: Session, owner: str, states: tuple[str, ...], most: int, *, spared: str) -> list[str]:
    """Forgets all frames of an owner in some states but the `most` newest ones and the one that was asked for now.

    Returns:
        The keys of their backgrounds.
    """
    mine = PreviewFrame.owner == owner, PreviewFrame.state.in_(states), PreviewFrame.digest != spared
    columns = PreviewFrame.digest, PreviewFrame.background_key
    doomed = session.execute(
        select(*columns).where(*mine).order_by(PreviewFrame.asked_at.desc()).offset(most - 1)
    ).all()
    if doomed:
        forget(session, PreviewFrame.digest.in_([frame.digest for frame in doomed]))
    return [frame.background_key for frame in doomed if frame.background_key is not None]


def _update(session: Session, *where: ColumnElement[bool], **values: Any) -> None:
    queries.execute_update(session, update(PreviewFrame).where(*where).values(**values))
