"""API keys: creation, lookup, rotation and revocation. Only a hash of a key is stored, so the database reveals no key.

A token is `adnerf_<id>_<secret>`: the id identifies the row, the secret is 256 random bits. A random secret cannot be guessed,
so a single SHA-256 protects it. A slow hash, which protects passwords, would cost time at every request for nothing.

Rows of keys are never deleted: a service whose last key was revoked must not return to the open mode without keys.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Key, new_id, now
from storage.errors import KeyRevoked, NotSafe, Unauthorized

Scope = Literal["read", "write", "admin", "metrics"]
"""Permissions of a key: `read` and `write` the owner's resources, `admin` all keys and quotas, `metrics` GET /metrics."""
SCOPES: tuple[Scope, ...] = get_args(Scope)

OWNER = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
"""Pattern of an owner's name: safe in URLs, file names and shells without quoting; e-mail addresses are allowed."""

TOKEN = re.compile(r"adnerf_([0-9a-f]{32})_([0-9a-f]{64})")
"""Pattern of a token; its fixed prefix lets secret scanners find leaked tokens."""

END_OF_TIME = datetime(9000, 1, 1, tzinfo=UTC)
"""Times that clients choose lie before this one. Python's calendar ends with the year 9999, and a conversion between time zones
close to its end fails."""

TOUCH_S = 60.0
"""Shortest interval between two writes of `last_used_at`, so that reading requests rarely write to the database."""
GRACE_S = 86_400.0
"""Default time for which the previous secret stays valid after a rotation: a day to deploy the new one."""


def any_exist(session: Session) -> bool:
    """Returns whether a key was ever created. From then on every request needs a key."""
    return session.scalars(select(Key.id).limit(1)).first() is not None


def create(
    session: Session, *, owner: str, name: str, scopes: Collection[Scope], expires_at: datetime | None = None
) -> tuple[Key, str]:
    """Creates a key.

    Args:
        owner: A name that matches OWNER.
        scopes: At least one scope.

    Returns:
        The key and its token, which is not stored and cannot be shown again.
    """
    secret = secrets.token_hex(32)
    ordered = [scope for scope in SCOPES if scope in scopes]
    key = Key(
        id=new_id("key"), owner=owner, name=name, scopes=ordered, secret_sha256=_digest(secret), expires_at=expires_at
    )
    session.add(key)
    session.flush()
    return key, _token(key, secret)


def find(session: Session, token: str) -> Key:
    """Returns the key of a token. Raises Unauthorized if it is unknown, revoked or expired."""
    parts = TOKEN.fullmatch(token)
    key = session.get(Key, f"key_{parts[1]}") if parts else None
    if key is None or not _matches(key, _digest(parts[2])):
        raise Unauthorized("There is no such key.")
    if key.revoked_at is not None:
        raise Unauthorized("The key was revoked.", "Ask for another key.")
    if not is_valid(key):
        raise Unauthorized("The key has expired.", "Ask for another key, or for a rotation of this one.")
    return key


def is_valid(key: Key) -> bool:
    """Returns whether a key was neither revoked nor has expired."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now())


def is_stale(key: Key) -> bool:
    """Returns whether `last_used_at` is due to be written."""
    return key.last_used_at is None or key.last_used_at <= now() - timedelta(seconds=TOUCH_S)


def touch(session: Session, key_id: str) -> None:
    """Writes `last_used_at`, unless another process has just done so."""
    latest = now() - timedelta(seconds=TOUCH_S)
    stale = update(Key).where(Key.id == key_id, (Key.last_used_at.is_(None)) | (Key.last_used_at <= latest))
    queries.execute_update(session, stale.values(last_used_at=now()))


def rotate(
    session: Session, key_id: str, *, grace_s: float = GRACE_S, expires_at: datetime | None = None
) -> tuple[Key, str]:
    """Replaces the secret of a key.

    Args:
        grace_s: Time for which the previous secret stays valid.
        expires_at: New expiry time; None keeps the present one.

    Returns:
        The key and its new token.

    Raises:
        NotFound: there is no such key.
        KeyRevoked: the key was revoked.
    """
    key, secret = _unrevoked(session, key_id), secrets.token_hex(32)
    key.previous_sha256, key.previous_until = key.secret_sha256, time_after(timedelta(seconds=grace_s))
    key.secret_sha256 = _digest(secret)
    if expires_at is not None:
        key.expires_at = expires_at
    session.flush()
    return key, _token(key, secret)


def time_after(span: timedelta) -> datetime:
    """Returns the time at which a span that begins now ends, or END_OF_TIME if that is earlier."""
    start = now()
    return start + min(span, END_OF_TIME - start)


def revoke(session: Session, key_id: str) -> Key:
    """Revokes a key for ever. Raises NotFound or, if it was revoked before, KeyRevoked."""
    key = _unrevoked(session, key_id)
    key.revoked_at = now()
    session.flush()
    return key


def is_loopback(host: str) -> bool:
    """Returns whether a server on `host` (a name or an address) can be reached from this machine only."""
    host = host.strip("[]").removeprefix("::ffff:").rstrip(".").lower()
    return (
        host in ("localhost", "::1")
        or host.endswith(".localhost")
        or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
    )


def check_listening(session: Session, host: str) -> None:
    """Raises NotSafe if other machines can reach `host` and no key exists yet."""
    if not is_loopback(host) and not any_exist(session):
        raise NotSafe(f"Anybody who can reach {host} could read, create and delete everything: no key was made yet.")


def _unrevoked(session: Session, key_id: str) -> Key:
    key = queries.get(session, Key, key_id)
    if key.revoked_at is not None:
        raise KeyRevoked(f"Key {key_id} was revoked.")
    return key


def _matches(key: Key, digest: str) -> bool:
    current = hmac.compare_digest(digest, key.secret_sha256)
    previous = key.previous_until is not None and key.previous_until > now()
    return current or (previous and hmac.compare_digest(digest, key.previous_sha256))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _token(key: Key, secret: str) -> str:
    return f"adnerf_{key.id.removeprefix('key_')}_{secret}"
