"""Use cases of links by which everybody can watch a video; api/services/subjects.py states the rules of all services."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api.services.videos import video_file
from storage.database import queries
from storage.database.models import Share, Video
from storage.errors import NotFound, SharesOff, WebhooksOff
from storage.settings import Settings
from storage.tables import removals, shares
from worker.webhooks.signing import load_key


def share_video(session: Session, settings: Settings, video_id: str, *, owner: str, for_s: float) -> Share:
    """Creates a link to a video that is ready. Raises NotFound, ConsentWithdrawn, VideoNotReady, InTrash, SharesOff, TooManyShares."""
    signing_key(settings)
    video = video_file(session, video_id, owner=owner)
    removals.check(video)
    return shares.create(session, video, for_s=for_s)


def revoke(session: Session, video_id: str, share_id: str, *, owner: str) -> None:
    """Closes a link. Raises NotFound."""
    share = queries.get(session, Share, share_id, owner=owner)
    if share.video_id != video_id:
        raise NotFound(f"There is no share {share_id} of video {video_id}.")
    session.delete(share)


def shared_video(session: Session, settings: Settings, token: str) -> tuple[Share, Video]:
    """Returns a link and its video. Raises NotFound: the link has expired or was revoked, or there never was one."""
    try:
        found = shares.shared_video(session, signing_key(settings), token)
    except SharesOff:
        found = None
    if found is None:
        raise NotFound("This link has expired, or was revoked.", "Ask for a new one.")
    return found


def signing_key(settings: Settings) -> bytes:
    """Returns the key of the links' signatures. Raises SharesOff."""
    try:
        return load_key(settings).encode()
    except WebhooksOff as error:
        raise SharesOff("This service has no key for links.") from error
