"""`adnerf keys`: makes, lists, rotates and revokes API keys, straight in the database of the service."""

from __future__ import annotations

import argparse
import re
from contextlib import closing
from datetime import datetime, timedelta

from sqlalchemy import select

from storage.database import migrations
from storage.database.engine import Database
from storage.database.models import LOCAL, Key, now
from storage.settings import Settings
from storage.tables import api_keys

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Does what the command line says; raises StorageError where that is not possible."""
    with closing(Database(settings.database)) as database:
        if database.sqlite:
            migrations.upgrade(database)  # as `adnerf serve` does: the first key may be made before it ever ran
        options.carry_out(database, options)
    return 0


def add_commands(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Adds the parser of `keys`."""
    verbs = commands.add_parser("keys", help="make, list, rotate and revoke API keys").add_subparsers(required=True)
    making = verbs.add_parser("create", parents=[common], help="make a key and print its token, this once")
    making.add_argument("--owner", type=owner_name, default=LOCAL, help="whose things it sees (default: %(default)s)")
    making.add_argument("--name", required=True, help="what to call it, such as the machine that it is for")
    making.add_argument("--scopes", type=_scopes, default=["read", "write"], help=f"of {','.join(api_keys.SCOPES)}")
    making.add_argument("--expires", type=_span, metavar="90d", help="how long it works (default: for ever)")
    making.set_defaults(carry_out=_create)
    listing = verbs.add_parser("list", parents=[common], help="list keys, newest first")
    listing.add_argument("--owner", type=owner_name, help="only this owner's")
    listing.set_defaults(carry_out=_list)
    rotating = verbs.add_parser("rotate", parents=[common], help="give a key a new secret, and print its token")
    rotating.add_argument("key_id", metavar="key_...")
    rotating.add_argument("--grace", type=_span, default=timedelta(seconds=api_keys.GRACE_S), metavar="1d",
                          help="how long the secret before works on (default: 1d)")  # fmt: skip
    rotating.add_argument("--expires", type=_span, metavar="90d", help="how long the key works from now on")
    rotating.set_defaults(carry_out=_rotate)
    revoking = verbs.add_parser("revoke", parents=[common], help="make a key useless, at once and for ever")
    revoking.add_argument("key_id", metavar="key_...")
    revoking.set_defaults(carry_out=_revoke)


def _create(database: Database, options: argparse.Namespace) -> None:
    with database.session() as session:
        key, token = api_keys.create(
            session,
            owner=options.owner,
            name=options.name,
            scopes=options.scopes,
            expires_at=_from_now(options.expires),
        )
    print(f"{key.id} of {key.owner} ({', '.join(key.scopes)}). Its token, which is shown this once:\n{token}")


def _list(database: Database, options: argparse.Namespace) -> None:
    query = select(Key).order_by(Key.id.desc())
    if options.owner is not None:
        query = query.where(Key.owner == options.owner)
    with database.session(write=False) as session:
        for key in session.scalars(query):
            print(f"{key.id}  {key.owner}  {key.name}  {','.join(key.scopes)}  {_standing(key)}")


def _rotate(database: Database, options: argparse.Namespace) -> None:
    with database.session() as session:
        key, token = api_keys.rotate(
            session,
            options.key_id,
            grace_s=options.grace.total_seconds(),
            expires_at=_from_now(options.expires),
        )
    print(f"{key.id} of {key.owner}: the token before works until {_time(key.previous_until)}. The new one:\n{token}")


def _revoke(database: Database, options: argparse.Namespace) -> None:
    with database.session() as session:
        key = api_keys.revoke(session, options.key_id)
    print(f"{key.id} of {key.owner} is revoked.")


def _standing(key: Key) -> str:
    if key.revoked_at is not None:
        return f"revoked {_time(key.revoked_at)}"
    if key.expires_at is not None:
        return f"{'expired' if key.expires_at <= now() else 'expires'} {_time(key.expires_at)}"
    return f"used {_time(key.last_used_at)}" if key.last_used_at else "never used"


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")


def _from_now(span: timedelta | None) -> datetime | None:
    return None if span is None else api_keys.time_after(span)


def owner_name(text: str) -> str:
    """A word of the command line as the name of an owner."""
    if not re.fullmatch(api_keys.OWNER, text):
        raise argparse.ArgumentTypeError(
            "up to 64 letters, digits, dots, dashes, underscores and @, a letter or digit first"
        )
    return text


def _scopes(text: str) -> list[str]:
    scopes = [scope.strip() for scope in text.split(",")]
    if unknown := set(scopes) - set(api_keys.SCOPES):
        raise argparse.ArgumentTypeError(f"no such scope: {', '.join(sorted(unknown))}")
    return scopes


def _span(text: str) -> timedelta:
    parts = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if parts is None:
        raise argparse.ArgumentTypeError("a time such as 30m, 12h, 90d or 4w")
    return timedelta(seconds=int(parts[1]) * UNITS[parts[2]])
