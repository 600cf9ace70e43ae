"""API keys: made, found, rotated, revoked. Of a key only a hash is kept, so whoever reads the database cannot use it.

A token is `adnerf_<id>_<secret>`: the id says which row to look at, the secret is 256 random bits. Nobody can guess at those,
so one SHA-256 keeps them as well as a slow hash, which is made for passwords, would; and every request computes it.

Rows of keys are never removed: a service that had a key once does not fall open when the last one is revoked.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Key, new_id, now
from storage.errors import KeyRevoked, NotSafe, Unauthorized

Scope = Literal["read", "write", "admin", "metrics"]
"""What a key may do: `read` and `write` what its owner has; `admin` keys and quotas, of everybody; `metrics` GET /metrics."""
SCOPES: tuple[Scope, ...] = get_args(Scope)

OWNER = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
"""What the name of an owner looks like."""

TOKEN = re.compile(r"adnerf_([0-9a-f]{32})_([0-9a-f]{64})")
"""What a token looks like; for scanners that search for lost secrets, too."""

TOUCH_S = 60.0
"""`last_used_at` is not written more often than this."""
GRACE_S = 86_400.0
"""How long the secret before works on after a rotation, where nothing else is asked for."""


def any_exist(session: Session) -> bool:
    """Whether a key was ever made: from then on, requests need one."""
    return session.scalars(select(Key.id).limit(1)).first() is not None


def create(
    session: Session, *, owner: str, name: str, scopes: Collection[Scope], expires_at: datetime | None = None
) -> tuple[Key, str]:
    """A new key and its token, which cannot be had again. `owner` looks like OWNER; at least one scope."""
    secret = secrets.token_hex(32)
    ordered = [scope for scope in SCOPES if scope in scopes]
    key = Key(
        id=new_id("key"), owner=owner, name=name, scopes=ordered, secret_sha256=_digest(secret), expires_at=expires_at
    )
    session.add(key)
    session.flush()
    return key, _token(key, secret)


def find(session: Session, token: str) -> Key:
    """The key that a client showed. Raises Unauthorized where it is unknown, revoked or out of date."""
    parts = TOKEN.fullmatch(token)
    key = session.get(Key, f"key_{parts[1]}") if parts else None
    if key is None or not _matches(key, _digest(parts[2])):
        raise Unauthorized("There is no such key.")
    if key.revoked_at is not None:
        raise Unauthorized("The key was revoked.", "Ask for another key.")
    if key.expires_at is not None and key.expires_at <= now():
        raise Unauthorized("The key has expired.", "Ask for another key, or for this one to be rotated.")
    return key


def is_stale(key: Key) -> bool:
    """Whether it is time to note that the key is used."""
    return key.last_used_at is None or key.last_used_at <= now() - timedelta(seconds=TOUCH_S)


def touch(session: Session, key_id: str) -> None:
    """Notes that the key is used, where nobody else has done so just now."""
    latest = now() - timedelta(seconds=TOUCH_S)
    mine = update(Key).where(Key.id == key_id, (Key.last_used_at.is_(None)) | (Key.last_used_at <= latest))
    session.execute(mine.values(last_used_at=now()), execution_options={"synchronize_session": False})


def rotate(
    session: Session, key_id: str, *, grace_s: float = GRACE_S, expires_at: datetime | None = None
) -> tuple[Key, str]:
    """The key with a new secret, and its token; the secret before works for `grace_s` seconds more.

    `expires_at` is the new end, where one is given. Raises NotFound, KeyRevoked.
    """
    key, secret = _standing(session, key_id), secrets.token_hex(32)
    key.previous_sha256, key.previous_until = key.secret_sha256, now() + timedelta(seconds=grace_s)
    key.secret_sha256 = _digest(secret)
    if expires_at is not None:
        key.expires_at = expires_at
    session.flush()
    return key, _token(key, secret)


def revoke(session: Session, key_id: str) -> Key:
    """The key, of no use from now on. Raises NotFound, KeyRevoked."""
    key = _standing(session, key_id)
    key.revoked_at = now()
    session.flush()
    return key


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`, a name or an address."""
    host = host.strip("[]").removeprefix("::ffff:").rstrip(".").lower()
    return (
        host in ("localhost", "::1")
        or host.endswith(".localhost")
        or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
    )


def check_listening(session: Session, host: str) -> None:
    """Raises NotSafe where others could reach `host` and there is no key that they would need."""
    if not is_loopback(host) and not any_exist(session):
        raise NotSafe(f"Whoever reaches {host} could see, make and delete everything: no key was made yet.")


def _standing(session: Session, key_id: str) -> Key:
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
