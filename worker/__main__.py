"""The operator's commands of the program `adnerf`, which run a service; adnerf/__main__.py adds them to its own."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from typing import Annotated, NoReturn

import typer
from typer import BadParameter, Option

from storage.database import migrations
from storage.database.engine import Database, require_database
from storage.database.startup import require_upgradable, require_usable_or_away
from storage.errors import BadSetting
from storage.settings import Settings
from storage.tables import workers
from worker.broker import QUEUES, kinds_of
from worker.cli import backup, keys, owners, priors, store
from worker.cli.options import DataDir, operator_database, operator_settings
from worker.cli.program import make_program, run
from worker.processes import supervisor
from worker.processes.polling import run_worker
from worker.provenance.mark_key import adopt_mark_key, require_mark_key

QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
"""Options that stop Celery workers from exchanging messages: the database records which workers are alive."""
WITH_WORKER = "pip install 'adnerf[worker]', then what README says under `Install it`."
ALL_QUEUES = ",".join(QUEUES.values())

Host = Annotated[str, Option(help="Address to listen on.")]
Port = Annotated[int, Option(help="Port to listen on.")]

app = make_program()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one of the operator's commands; `python -m worker` has no others.

    Returns:
        The exit status.

    Raises:
        SystemExit: With status 2 if the command line is wrong.
    """
    return run(app, arguments)


@app.command()
def serve(host: Host = "127.0.0.1", port: Port = 8000, data_dir: DataDir = None) -> None:
    """Run the API and two workers, one of them for trainings; Ctrl-C stops all."""
    with operator_settings(data_dir) as settings:
        _require_core()
        raise typer.Exit(supervisor.serve(settings, host, port))


@app.command()
def api(host: Host = "127.0.0.1", port: Port = 8000, data_dir: DataDir = None) -> None:
    """Run the API only; it is replaced when it ends or hangs."""
    with operator_settings(data_dir) as settings:
        supervisor.require_port(port)
        _supervise(settings, "api", supervisor.API, "--host", host, "--port", str(port))


@app.command()
def worker(
    queues: Annotated[str, Option(metavar="QUEUE,...", help="Queues to take jobs from.")] = ALL_QUEUES,
    unsupervised: Annotated[bool, Option("--unsupervised", hidden=True)] = False,
    data_dir: DataDir = None,
) -> None:
    """Run a worker: on Celery if ADNERF_BROKER_URL is set, else as a second worker of a service on this machine.

    It is replaced when it ends or hangs.
    """
    names = [name.strip() for name in queues.split(",")]
    if unknown := set(names) - set(QUEUES.values()):
        raise BadParameter(f"no such queue: {', '.join(sorted(unknown))}; there are {ALL_QUEUES}")
    with operator_settings(data_dir) as settings:
        if unsupervised:  # a child of `adnerf serve`, or of this command
            run_worker(settings, kinds=kinds_of(names))
            return
        _require_core()
        require_usable_or_away(settings.database)
        require_mark_key(settings)
        if not settings.broker_url:
            _supervise(settings, "worker", "worker", "worker", "--queues", ",".join(names), "--unsupervised")
        hostname = f"worker-{os.getpid()}@%h"
        options = ("--queues", ",".join(names), "--hostname", hostname, "--loglevel", "INFO", *QUIET)
        _supervise(settings, "worker", *_celery(settings), "worker", *options)


@app.command()
def beat(data_dir: DataDir = None) -> None:
    """Run the periodic sweep for Celery workers; several may run, on any machine. It is replaced when it ends or hangs."""
    with operator_settings(data_dir) as settings:
        celery = _celery(settings)
        require_usable_or_away(settings.database)
        _supervise(settings, "beat", *celery, "beat")


@app.command()
def alive(data_dir: DataDir = None) -> None:
    """Check that a worker of this host is alive (exit status 0, else 1)."""
    host = socket.gethostname()
    with (
        operator_settings(data_dir) as settings,
        closing(Database(settings.database)) as database,
        require_database(),
        database.session(write=False) as session,
    ):
        here = [worker for worker in workers.alive(session, within_s=settings.worker_silence_s) if worker.host == host]
    print(f"{len(here)} alive on {host}")
    raise typer.Exit(0 if here else 1)


@app.command("adopt-mark-key")
def adopt_key(data_dir: DataDir = None) -> None:
    """Record that this machine's mark.key is the service's from now on, after the one before was lost."""
    with operator_database(data_dir) as (database, settings):
        adopt_mark_key(settings, database)
        print(f"The key in {settings.signing.absolute()} is the service's. Copy it to all workers, and restart them.")


@app.command()
def migrate(
    down_to: Annotated[str | None, Option(metavar="REVISION", help="Revert the migrations after this one.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Create the tables of the database, or update them; services of this version and the one before may run."""
    with operator_settings(data_dir) as settings, closing(Database(settings.database)) as database:
        require_upgradable(database)
        if down_to is not None:
            migrations.downgrade(database, down_to)
            print(f"The tables are those of revision {down_to}.")
            return
        migrations.upgrade(database)
        print("The tables are those of this version.")


app.add_typer(keys.app, name="keys")
app.add_typer(owners.app, name="owners")
app.add_typer(priors.app, name="prior")
app.add_typer(store.app, name="store")
app.command("backup")(backup.back_up)
app.command("restore")(backup.restore)


def _require_core() -> None:
    """Raises BadSetting if the packages are missing that workers need and the API does not."""
    if find_spec("torch") is None:
        raise BadSetting(
            "This installation has no packages for workers: there is no torch.", f"Install them: {WITH_WORKER}"
        )


def _celery(settings: Settings) -> tuple[str, ...]:
    if not settings.broker_url:
        raise BadSetting("There is no broker.", "Set ADNERF_BROKER_URL, such as redis://127.0.0.1:6379/0.")
    return ("celery", "--app", "worker.celery_app")


def _supervise(settings: Settings, name: str, module: str, *arguments: str) -> NoReturn:
    """Runs a Python module as a program, under a supervisor, until this process is asked to stop."""
    raise typer.Exit(supervisor.supervise(settings, {name: [sys.executable, "-m", module, *arguments]}))


if __name__ == "__main__":
    sys.exit(main())
