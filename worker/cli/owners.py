"""`adnerf owners`: shows owners and sets their quotas, directly in the service's database."""

from __future__ import annotations

import re
from typing import Annotated

import typer
from sqlalchemy import select, union
from typer import Argument, BadParameter, Option

from storage.database.models import Key, Owner, Subject
from storage.tables import quotas
from storage.tables.quotas import QuotaName
from worker.cli.options import DataDir, operator_database, owner_name

DEFAULT = "default"
"""The word that removes an owner's own quota, so that the settings' quota applies again."""
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
"""Factors of the suffixes of an amount."""


def _check_amount(text: str) -> str:
    if text != DEFAULT and not re.fullmatch(r"\d{1,15}[KMGT]?", text):
        raise BadParameter("an amount is a number such as 20, 500M or 10G, or `default`")
    return text


Amount = Annotated[
    str | None, Option(parser=_check_amount, metavar="AMOUNT", help="A number such as 20 or 10G, or `default`.")
]
app = typer.Typer(help="Show owners and set their quotas.", no_args_is_help=True)


@app.command("list")
def list_owners(data_dir: DataDir = None) -> None:
    """List owners with their quotas."""
    names = union(select(Owner.name), select(Key.owner), select(Subject.owner)).subquery()
    with operator_database(data_dir) as (database, settings), database.session(write=False) as session:
        for owner in session.scalars(select(names).order_by(*names.c)):
            _show(owner, quotas.usage(session, settings, owner))


@app.command("set")
def set_quotas(
    owner: Annotated[str, Argument(parser=owner_name, show_default=False)],
    subjects: Amount = None,
    videos: Amount = None,
    queued_jobs: Amount = None,
    verifications: Amount = None,
    daily_seconds: Amount = None,
    stored_bytes: Amount = None,
    data_dir: DataDir = None,
) -> None:
    """Set quotas of an owner."""
    amounts: dict[QuotaName, str | None] = {
        "subjects": subjects,
        "videos": videos,
        "queued_jobs": queued_jobs,
        "verifications": verifications,
        "daily_seconds": daily_seconds,
        "stored_bytes": stored_bytes,
    }
    overrides = {name: _parse_amount(text) for name, text in amounts.items() if text is not None}
    with operator_database(data_dir) as (database, settings), database.session() as session:
        quotas.set_overrides(session, owner, overrides)
        _show(owner, quotas.usage(session, settings, owner))


def _parse_amount(text: str) -> int | None:
    """Returns the number; None for `default`."""
    return None if text == DEFAULT else int(text.rstrip("KMGT")) * UNITS[text.lstrip("0123456789")]


def _show(owner: str, usage: dict[QuotaName, quotas.Quota]) -> None:
    print(owner)
    for name, quota in usage.items():
        print(f"  {name:14}{quota.used:>20,.0f} of {quota.limit:,.0f}")
