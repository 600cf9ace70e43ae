"""What the commands that use a service have in common: their arguments, how they end, and waiting."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adnerf.output import Screen
    from adnerf_client import Client
    from adnerf_client.waiting import Thing

DONE, FAILED, RUNNING = 0, 1, 3
"""Exit statuses; 2, a wrong command line, is argparse's own."""
INTERRUPTED = 130

Action = Callable[["Client", "Screen", argparse.Namespace], None]


def add_group(commands: argparse._SubParsersAction, name: str, about: str) -> argparse._SubParsersAction:
    """A command whose next word is an action; returns where to add those."""
    group = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    return group.add_subparsers(dest="action", required=True, metavar="ACTION")


def add_action(actions: argparse._SubParsersAction, name: str, action: Action, about: str) -> argparse.ArgumentParser:
    """A parser for something that `action` asks of a service."""
    parser = actions.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    service = parser.add_argument_group("the service")
    service.add_argument("--url", help="its address (default: ADNERF_URL, else http://127.0.0.1:8000)")
    service.add_argument("--api-key", metavar="KEY", help="default: ADNERF_API_KEY, which other users cannot see")
    service.add_argument("--json", action="store_true", help="print one JSON document; progress goes to stderr")
    parser.set_defaults(run=lambda options: ask(options, action), parser=parser)
    return parser


def add_waiting(parser: argparse.ArgumentParser) -> None:
    """The argument that limits waiting."""
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help="wait for at most S seconds, then exit with status 3; the work goes on",
    )


def ask(options: argparse.Namespace, action: Action) -> int:
    """Does `action` with the service that the options name; says what went wrong, and returns an exit status."""
    from adnerf.output import Screen
    from adnerf_client.client import Client
    from adnerf_client.errors import AdnerfError, StillRunning

    screen = Screen(as_json=options.json)
    try:
        with Client(options.url, options.api_key) as client:
            action(client, screen, options)
        return DONE
    except StillRunning as error:
        screen.say(str(error))
        return RUNNING
    except AdnerfError as error:
        screen.fail(error)
        return FAILED
    except KeyboardInterrupt:
        screen.say("Stopped.")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read what is printed has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def wait(client: Client, screen: Screen, thing: Thing, timeout: float | None, then: str = "") -> Thing:
    """`thing` once its work is done, with its progress on the screen. `then` is a command to be told where it goes on.

    Raises StillRunning after `timeout` seconds and for Ctrl-C, which ends the waiting, not the work.
    """
    from adnerf_client.errors import StillRunning
    from adnerf_client.waiting import latest_job

    try:
        with screen.progress() as progress:
            return client.wait(thing, progress=progress.job, timeout=timeout)
    except (KeyboardInterrupt, StillRunning):
        screen.show(thing)
        advice = f"Go on watching with: adnerf jobs watch {thing.id}"
        if then:
            advice += f"\nThen: {then}"
        raise StillRunning(f"{thing.id} goes on.", advice, job=latest_job(thing)) from None
