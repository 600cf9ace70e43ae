"""The `adnerf` command."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from storage.errors import StorageError
from storage.settings import load
from worker.local import run_worker
from worker.serve import serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line and does what it says; returns an exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {options.command} %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # its steps are of no interest on every start
    try:
        settings = load()
        if options.data_dir is not None:
            settings = dataclasses.replace(settings, data_dir=options.data_dir)
        if options.command == "worker":
            run_worker(settings)
            return 0
        return serve(settings, options.host, options.port)
    except StorageError as error:
        print(f"adnerf: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("adnerf", description="Talking-head videos as a service.")
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data-dir", type=Path, help="where everything is kept (default: ADNERF_DATA_DIR, else ./data)"
    )
    both = commands.add_parser("serve", parents=[common], help="run the API and one worker; Ctrl-C stops both")
    both.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    both.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    commands.add_parser("worker", parents=[common], help="run one more worker beside a service")
    return parser


if __name__ == "__main__":
    sys.exit(main())
