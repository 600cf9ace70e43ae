"""`adnerf prior`: learns priors of lips from the subjects whose consent allows it, and chooses among them."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from sqlalchemy.orm import Session
from typer import Argument, Option

from storage.database.models import LipPrior
from storage.objects.open_store import open_store
from storage.tables import lip_priors
from worker.cli.options import DataDir, operator_database

POLL_S = 1.0
"""Seconds between two looks at a prior that is being learnt, which takes a minute."""

Version = Annotated[int, Argument(metavar="VERSION", min=0, show_default=False)]
app = typer.Typer(
    help="Learn from the subjects whose consent allows it, so that others' lips follow the sound better.",
    no_args_is_help=True,
)


@app.command()
def learn(
    wait: Annotated[bool, Option("--wait", help="Wait for the end; exit status 1 if the work fails.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Order a prior; a worker that trains learns it, and adopts it if it is better than the shipped one."""
    with operator_database(data_dir) as (database, _):
        with database.session() as session:
            row, new = lip_priors.request(session)
        if not new and row.state not in lip_priors.WAITING:
            print(f"Nothing has changed since version {row.version}: it was learnt from the same subjects.")
        while wait and row.state in lip_priors.WAITING:
            time.sleep(POLL_S)
            with database.session(write=False) as session:
                row = lip_priors.get(session, row.version)
        print(_line(row))
    if wait and row.state == "failed":
        raise typer.Exit(1)


@app.command("list")
def list_priors(data_dir: DataDir = None) -> None:
    """List priors, newest first, with the mean figures of people who were left out: shipped -> learnt."""
    with operator_database(data_dir) as (database, _), database.session(write=False) as session:
        for row in lip_priors.listed(session):
            print(_line(row))
        print(_start(session))


@app.command()
def use(version: Version, data_dir: DataDir = None) -> None:
    """Let trainings start from an adopted prior; 0 is the shipped one."""
    with operator_database(data_dir) as (database, _):
        with database.session() as session:
            lip_priors.use(session, version)
            start = _start(session)
        print(start)


@app.command()
def drop(version: Version, data_dir: DataDir = None) -> None:
    """Delete a prior, or end the work on it; subjects that were trained with it stay as they are."""
    with operator_database(data_dir) as (database, settings):
        with database.session() as session:
            lip_priors.drop(session, open_store(settings), version)
            start = _start(session)
        print(f"Version {version} is dropped. {start}")


def _start(session: Session) -> str:
    """A sentence that says what trainings start from now."""
    chosen, current = lip_priors.chosen(session), lip_priors.current(session)
    if current is not None:
        return f"Trainings start from version {current.version}."
    if chosen is None:
        return "Trainings start from the shipped prior."
    if lip_priors.in_force(session, chosen.people):
        reason = "one of its people is in the trash; if that subject is restored, they start from it again"
    else:
        reason = "one of its people may not be learnt from any more; a worker that trains deletes it"
    return f"Trainings start from the shipped prior instead of version {chosen.version}: {reason}."


def _line(row: LipPrior) -> str:
    parts = [f"{row.version:3}", f"{row.created_at:%Y-%m-%d %H:%M}", row.state + (", chosen" if row.current else "")]
    if row.sha256:
        parts.append(row.sha256[:12])
    if row.people:
        parts.append(f"{sum(told is not None for told in row.people.values())} people")
    if row.figures:
        parts += [
            f"{name} {row.figures['before'][name]:.3f} -> {row.figures['after'][name]:.3f}"
            for name in ("correlation", "amplitude")
        ]
    if row.error:
        parts.append(f"{row.error['message']} {row.error['remedy']}")
    return "  ".join(parts)
