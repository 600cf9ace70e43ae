"""The commands of `adnerf` that run a service (`adnerf/__main__.py` has all of them)."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from adnerf_core import threads
from storage.database.engine import Database, require_database
from storage.errors import BadSetting, StorageError
from storage.settings import Settings, environment_of, load
from storage.tables import workers
from worker import logs
from worker.broker import QUEUES, kinds_of
from worker.cli import keys, owners
from worker.processes.polling import run_worker
from worker.processes.supervisor import API, serve


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m worker`: these commands alone; returns an exit status, unless another program takes over."""
    return run(_parser().parse_args(arguments))


def run(options: argparse.Namespace) -> int:
    """Does what the command line says; returns an exit status, unless another program takes over."""
    threads.sleep_while_waiting()
    try:
        settings = load()
        logs.configure(settings.log)
        if options.data_dir is not None:
            settings = settings.replace(data_dir=options.data_dir)
        return COMMANDS[options.command](settings, options) or 0
    except StorageError as error:
        print(f"adnerf: {error}", file=sys.stderr)
        return 1


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    return serve(settings, options.host, options.port)


def _api(settings: Settings, options: argparse.Namespace) -> None:
    _become(settings, API, "--host", options.host, "--port", str(options.port))


def _worker(settings: Settings, options: argparse.Namespace) -> None:
    if not settings.broker_url:
        run_worker(settings, kinds=kinds_of(options.queues))
        return
    queues = ",".join(options.queues)
    name = f"worker-{os.getpid()}@%h"
    _become(
        settings, *_celery(settings), "worker", "--queues", queues, "--hostname", name, "--loglevel", "INFO", *QUIET
    )


def _beat(settings: Settings, _options: argparse.Namespace) -> None:
    _become(settings, *_celery(settings), "beat")


def _alive(settings: Settings, _options: argparse.Namespace) -> int:
    host = socket.gethostname()
    with (
        closing(Database(settings.database)) as database,
        require_database(),
        database.session(write=False) as session,
    ):
        here = [worker for worker in workers.alive(session, within_s=settings.worker_silence_s) if worker.host == host]
    print(f"{len(here)} alive on {host}")
    return 0 if here else 1


COMMANDS = {
    "serve": _serve,
    "api": _api,
    "worker": _worker,
    "beat": _beat,
    "alive": _alive,
    "keys": keys.run,
    "owners": owners.run,
}


QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
"""Workers need not talk among themselves: the database tells who is alive."""


def _celery(settings: Settings) -> tuple[str, ...]:
    if not settings.broker_url:
        raise BadSetting("There is no broker.", "Set ADNERF_BROKER_URL, such as redis://127.0.0.1:6379/0.")
    return ("celery", "--app", "worker.celery_app")


def _become(settings: Settings, module: str, *arguments: str) -> None:
    """Replaces this process by a Python module that is run as a program, so that signals reach it directly."""
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environment_of(settings))


def _queues(text: str) -> list[str]:
    queues = [name.strip() for name in text.split(",")]
    if unknown := set(queues) - set(QUEUES.values()):
        raise argparse.ArgumentTypeError(f"no such queue: {', '.join(sorted(unknown))}")
    return queues


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds a parser for each command; `run` is what carries them out."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data-dir", type=Path, help="where everything is kept (default: ADNERF_DATA_DIR, else ./data)"
    )
    listening = argparse.ArgumentParser(add_help=False)
    listening.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    listening.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    commands.add_parser("serve", parents=[common, listening], help="run the API and one worker; Ctrl-C stops both")
    commands.add_parser("api", parents=[common, listening], help="run the API only")
    working = commands.add_parser(
        "worker", parents=[common], help="run a worker: on Celery where ADNERF_BROKER_URL is set, else beside a service"
    )
    working.add_argument(
        "--queues",
        type=_queues,
        default=list(QUEUES.values()),
        help=f"what it works on, of {','.join(QUEUES.values())} (default: all)",
    )
    commands.add_parser("beat", parents=[common], help="run the sweep for Celery workers: one or more, anywhere")
    commands.add_parser("alive", parents=[common], help="tell whether a worker of this host is alive (exit status 0)")
    keys.add_commands(commands, common)
    owners.add_commands(commands, common)
    for name in COMMANDS:
        commands.choices[name].set_defaults(run=run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("adnerf", description="Talking-head videos as a service.")
    add_commands(parser.add_subparsers(dest="command", required=True))
    return parser


if __name__ == "__main__":
    sys.exit(main())
