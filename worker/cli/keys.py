"""`adnerf keys`: makes, lists, rotates and revokes API keys, directly in the service's database."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated

import typer
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from typer import Argument, BadParameter, Option

from storage.database.models import LOCAL, Key, Subject, now
from storage.tables import api_keys
from worker.cli.options import DataDir, key_name, operator_database, owner_name

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
"""Seconds in the units of a duration."""


def _parse_duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if match is None:
        raise BadParameter("a duration is a number with a unit, such as 30m, 12h, 90d or 4w")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


def _parse_scopes(text: str) -> list[str]:
    scopes = [scope.strip() for scope in text.split(",")]
    if unknown := set(scopes) - set(api_keys.SCOPES):
        raise BadParameter(f"no such scope: {', '.join(sorted(unknown))}")
    return scopes


KeyId = Annotated[str, Argument(metavar="key_...", show_default=False)]
app = typer.Typer(help="Make, list, rotate and revoke API keys.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[
        str, Option(parser=key_name, metavar="NAME", help="Name of the key, such as the machine that uses it.")
    ],
    owner: Annotated[str, Option(parser=owner_name, metavar="NAME", help="Owner whose data the key opens.")] = LOCAL,
    scopes: Annotated[str, Option(metavar="SCOPE,...", help=f"Any of {','.join(api_keys.SCOPES)}.")] = "read,write",
    expires: Annotated[
        timedelta | None, Option(parser=_parse_duration, metavar="90d", help="Lifetime. [default: unlimited]")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print its token, which is not shown again."""
    granted = _parse_scopes(scopes)
    with operator_database(data_dir) as (database, _):
        with database.session() as session:
            key, token = api_keys.create(session, owner=owner, name=name, scopes=granted, expires_at=_from_now(expires))
            shut = _shut_subjects(session)
        if shut:
            print(f"No key opens the subjects ({shut}) that were made without keys. Make one with --owner {LOCAL}.")
        print(f"{key.id} of {key.owner} ({', '.join(key.scopes)}). Its token, which is shown this once:\n{token}")


@app.command("list")
def list_keys(
    owner: Annotated[str | None, Option(parser=owner_name, metavar="NAME", help="Only keys of this owner.")] = None,
    data_dir: DataDir = None,
) -> None:
    """List keys, newest first."""
    query = select(Key).order_by(Key.id.desc())
    if owner is not None:
        query = query.where(Key.owner == owner)
    with operator_database(data_dir) as (database, _), database.session(write=False) as session:
        for key in session.scalars(query):
            print(f"{key.id}  {key.owner}  {key.name}  {','.join(key.scopes)}  {_state(key)}")


@app.command()
def rotate(
    key_id: KeyId,
    grace: Annotated[
        timedelta | None,
        Option(parser=_parse_duration, metavar="1d", help="Time for which the old token still works. [default: 1d]"),
    ] = None,
    expires: Annotated[
        timedelta | None, Option(parser=_parse_duration, metavar="90d", help="Lifetime of the key, from now on.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Give a key a new secret and print its token."""
    grace_s = api_keys.GRACE_S if grace is None else grace.total_seconds()
    with operator_database(data_dir) as (database, _):
        with database.session() as session:
            key, token = api_keys.rotate(session, key_id, grace_s=grace_s, expires_at=_from_now(expires))
        until = _format_time(key.previous_until)
        print(f"{key.id} of {key.owner}: the token before works until {until}. The new one:\n{token}")


@app.command()
def revoke(key_id: KeyId, data_dir: DataDir = None) -> None:
    """Revoke a key: it stops working at once, and this cannot be undone."""
    with operator_database(data_dir) as (database, _):
        with database.session() as session:
            key = api_keys.revoke(session, key_id)
        print(f"{key.id} of {key.owner} is revoked.")


def _shut_subjects(session: Session) -> int:
    """The number of subjects that were made before there were keys, if no key of theirs exists."""
    if session.scalar(select(Key.id).where(Key.owner == LOCAL).limit(1)) is not None:
        return 0
    return session.scalar(select(func.count()).select_from(Subject).where(Subject.owner == LOCAL))


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return f"revoked {_format_time(key.revoked_at)}"
    if key.expires_at is not None:
        return f"{'expired' if key.expires_at <= now() else 'expires'} {_format_time(key.expires_at)}"
    return f"used {_format_time(key.last_used_at)}" if key.last_used_at else "never used"


def _format_time(time: datetime) -> str:
    return time.isoformat(timespec="minutes")


def _from_now(duration: timedelta | None) -> datetime | None:
    return None if duration is None else api_keys.time_after(duration)
