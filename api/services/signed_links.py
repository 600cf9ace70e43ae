"""Signed links: addresses of files for players and downloads, which can send no key.

A link reads one file, or one stream: its playlist and the segments. It holds the id of the key that asked for it (or stands for the local
token), the time at which it ends, and a signature: HMAC-SHA-256 of both, the path and the hash of the key's secret, under the service's key.
So nobody guesses one, a copy of the database opens none, and a key that is revoked, rotated or expired ends its links at once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from api.services.shares import signing_key
from storage import local_token
from storage.database.models import Key, now
from storage.errors import SharesOff, Unauthorized
from storage.settings import Settings
from storage.tables import api_keys

FILE = re.compile(r"/v1/(videos|subjects|voices)/[A-Za-z0-9][A-Za-z0-9_.-]*/([a-z0-9-]+|stream\.m3u8)")
"""Paths that can be signed: what lies one level below a video, a subject or a voice, such as `/file`."""
SEGMENT = re.compile(r"(/v1/videos/[^/]+/stream)/[0-9]+/[a-z0-9.]+")
"""Paths that the link to the playlist beside them reads as well."""
LIFE_S = 12 * 3600
"""Seconds for which a link is valid: a player in a tab that stays open for a day of work goes on, and a link that was copied ends."""
LOCAL = "local"
"""Stands for the local token, which has no id."""
KEY_ID = re.compile(rf"key_[0-9a-f]+|{LOCAL}")
"""What a link can begin with: PostgreSQL does not look for a text with a NUL character, but fails."""


def sign(session: Session, settings: Settings, path: str, *, key_id: str | None) -> tuple[str, datetime]:
    """Returns a link to the file at `path`, which must match FILE, and the time at which it ends.

    `key_id` is that of the caller's key; None: the service has no keys. Raises SharesOff.
    """
    key = session.get_one(Key, key_id) if key_id else None
    ends = int(now().timestamp()) + LIFE_S
    link = f"{path}?access={key_id or LOCAL}.{ends}.{_signature(settings, path, key, ends)}"
    return link, datetime.fromtimestamp(ends, UTC)


def signed_path(path: str) -> str | None:
    """Returns the path whose signature opens `path`: its own, or that of the playlist; None: no link reads it."""
    segment = SEGMENT.fullmatch(path)
    signed = f"{segment[1]}.m3u8" if segment else path
    return signed if FILE.fullmatch(signed) else None


def holder(session: Session, settings: Settings, path: str, text: str) -> Key | None:
    """Returns the key that a link stands for; None: the local token, which counts while there are no keys.

    Args:
        session: reads the key.
        settings: have the service's key.
        path: that is signed (signed_path).
        text: the value of `access` in the link.

    Raises:
        Unauthorized: the link is not valid, or no longer.
    """
    key_id, _, rest = text.partition(".")
    ends, _, signature = rest.partition(".")
    if KEY_ID.fullmatch(key_id) and re.fullmatch(r"[0-9]{1,12}", ends, re.ASCII) and signature.isascii():
        key = session.get(Key, key_id) if key_id != LOCAL else None
        known = key_id == LOCAL if key is None else api_keys.is_valid(key)
        if known and int(ends) > now().timestamp() and _fits(settings, path, key, int(ends), signature):
            return key
    raise Unauthorized("The link has expired, or its key is no longer valid.", "Ask for a new link: GET /v1/links.")


def _fits(settings: Settings, path: str, key: Key | None, ends: int, signature: str) -> bool:
    try:
        return hmac.compare_digest(signature, _signature(settings, path, key, ends))
    except SharesOff:
        return False


def _signature(settings: Settings, path: str, key: Key | None, ends: int) -> str:
    secret = key.id + key.secret_sha256 if key is not None else local_token.load_or_create(settings.data_dir)
    message = f"file {path} {ends} {secret}"
    digest = hmac.new(signing_key(settings), message.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
