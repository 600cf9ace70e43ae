"""`adnerf completion`: lets a shell complete commands, options and files at the Tab key."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

SHELLS = ("bash", "zsh", "tcsh")


def add_commands(commands: argparse._SubParsersAction, parser: argparse.ArgumentParser) -> None:
    """Adds `completion`, of all that `parser` knows by the time it is asked."""
    completion = commands.add_parser(
        "completion",
        help='print what lets a shell complete these commands: eval "$(adnerf completion bash)"',
        description="Prints a script for the shell to read, such as by a line in ~/.bashrc.",
    )
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(run=lambda options: _print(parser, options.shell))


def _print(parser: argparse.ArgumentParser, shell: str) -> int:
    import shtab

    for action in _actions(parser):
        if action.type is Path:
            action.complete = shtab.FILE
    print(shtab.complete(parser, shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _actions(each)
