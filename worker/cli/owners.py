"""`adnerf owners`: what each owner may have, straight in the database of the service."""

from __future__ import annotations

import argparse
import re
from contextlib import closing

from sqlalchemy import select, union

from storage.database import migrations
from storage.database.engine import Database
from storage.database.models import Key, Owner, Subject
from storage.settings import Settings
from storage.tables import quotas
from storage.tables.quotas import QuotaName
from worker.cli.keys import owner_name

DEFAULT = "default"
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Does what the command line says."""
    with closing(Database(settings.database)) as database:
        if database.sqlite:
            migrations.upgrade(database)
        options.carry_out(database, settings, options)
    return 0


def add_commands(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Adds the parser of `owners`."""
    verbs = commands.add_parser("owners", help="show owners and set their quotas").add_subparsers(required=True)
    listing = verbs.add_parser("list", parents=[common], help="list owners with their quotas")
    listing.set_defaults(carry_out=_list)
    setting = verbs.add_parser("set", parents=[common], help="set quotas of an owner")
    setting.add_argument("owner", type=owner_name)
    for name in quotas.NAMES:
        setting.add_argument(
            f"--{name.replace('_', '-')}", type=_amount, help="a number, 10G and the like, or `default`"
        )
    setting.set_defaults(carry_out=_set)


def _list(database: Database, settings: Settings, _options: argparse.Namespace) -> None:
    known = union(select(Owner.name), select(Key.owner), select(Subject.owner)).subquery()
    with database.session(write=False) as session:
        for owner in session.scalars(select(known).order_by(*known.c)):
            _show(owner, quotas.usage(session, settings, owner))


def _set(database: Database, settings: Settings, options: argparse.Namespace) -> None:
    given = {name: getattr(options, name) for name in quotas.NAMES if getattr(options, name) is not None}
    with database.session() as session:
        quotas.set_overrides(
            session, options.owner, {name: None if how == DEFAULT else how for name, how in given.items()}
        )
        _show(options.owner, quotas.usage(session, settings, options.owner))


def _show(owner: str, standing: dict[QuotaName, quotas.Quota]) -> None:
    print(owner)
    for name, quota in standing.items():
        print(f"  {name:14}{quota.used:>20,.0f} of {quota.limit:,.0f}")


def _amount(text: str) -> int | str:
    parts = re.fullmatch(r"(\d{1,15})([KMGT]?)", text)
    if text == DEFAULT:
        return text
    if parts is None:
        raise argparse.ArgumentTypeError("a number such as 20, 500M or 10G, or `default`")
    return int(parts[1]) * UNITS[parts[2]]
