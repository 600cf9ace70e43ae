"""Links by which everybody can watch one video, without a key, until they expire or are revoked.

A link holds the id of its row and a signature: HMAC-SHA-256 of the id and the time at which it expires, under the service's key. So
nobody guesses one, a copy of the database opens none, and a row that is deleted closes its link at once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Share, Subject, Video, new_id
from storage.errors import TooManyShares
from storage.tables import quotas

PREFIX = "shr"
MOST = 100
"""Valid links of one video: enough for one to each of many people, and few enough to be looked through when one is to be closed."""
MOST_OF_OWNER = 100_000
"""Valid links of all videos of an owner: their rows take 30 MB."""


def create(session: Session, video: Video, *, for_s: float) -> Share:
    """Creates a link to a video that is valid for `for_s` seconds. Raises TooManyShares."""
    quotas.lock_owner(session, video.owner)
    time = queries.server_now(session)
    valid = select(func.count()).select_from(Share).where(Share.owner == video.owner, Share.expires_at > time)
    if session.scalars(valid.where(Share.video_id == video.id)).one() >= MOST:
        raise TooManyShares(f"Video {video.id} has {MOST} links, the most that are allowed.")
    if session.scalars(valid).one() >= MOST_OF_OWNER:
        raise TooManyShares(f"You have {MOST_OF_OWNER} links, the most that are allowed.")
    share = Share(id=new_id(PREFIX), owner=video.owner, video_id=video.id, expires_at=time + timedelta(seconds=for_s))
    session.add(share)
    session.flush()
    return share


def token(key: bytes, share: Share) -> str:
    """Returns the secret part of a link: the row's id without its prefix, a dot, and the signature."""
    return f"{share.id.removeprefix(PREFIX + '_')}.{_signature(key, share.id, share.expires_at)}"


def shared_video(session: Session, key: bytes, text: str) -> tuple[Share, Video] | None:
    """Returns the link with this token and its video; None unless the link is valid and the video may be shown."""
    number, _, signature = text.partition(".")
    if not (number.isascii() and number.isalnum() and signature.isascii()):
        return None
    query = (
        select(Share, Video)
        .join(Video, Video.id == Share.video_id)
        .join(Subject, Subject.id == Video.subject_id)
        .where(Share.id == f"{PREFIX}_{number}", Share.expires_at > queries.server_now(session))
        .where(Video.state == "ready", Video.trashed_until.is_(None))
        .where(Subject.withdrawn_at.is_(None), Subject.trashed_until.is_(None), Subject.deleted_at.is_(None))
    )
    found = session.execute(query).one_or_none()
    if found is None or not hmac.compare_digest(signature, _signature(key, found.Share.id, found.Share.expires_at)):
        return None
    return found.Share, found.Video


def delete_expired(session: Session) -> int:
    """Deletes the rows of some expired links and returns their number, 0 if none is left."""
    return queries.delete_some(session, Share, Share.expires_at <= queries.server_now(session))


def _signature(key: bytes, share_id: str, expires_at: datetime) -> str:
    message = f"share {share_id} {expires_at.timestamp():.6f}"
    digest = hmac.new(key, message.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
