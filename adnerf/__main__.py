"""The program `adnerf`: commands that use a service, by HTTP alone, and commands that run one (worker/__main__.py).

Only what a command needs is loaded: the first kind neither database nor queue, and no `--help` the client.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from adnerf import completion, jobs, subjects, uploads, verify, videos, webhooks

EPILOG = """\
exit status of the commands that use a service:
  0  done          2  a wrong command line
  1  an error      3  still running: the time to wait is over, or Ctrl-C was pressed; the work goes on
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line and does what it says; returns an exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = make_parser(arguments).parse_args(arguments)
    return options.run(options)


def make_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for a command line; complete unless the command is one of those that use a service."""
    parser = argparse.ArgumentParser(
        "adnerf",
        description="Talking-head videos as a service.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for room in (subjects, videos, jobs, uploads, webhooks, verify):
        room.add_commands(commands)
    completion.add_commands(commands, parser)
    named = next((word for word in arguments if not word.startswith("-")), None)
    if named not in commands.choices or named == "completion":
        from worker import __main__ as operating  # loads the database and the queue, which takes a second

        operating.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
