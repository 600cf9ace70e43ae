"""The program `adnerf` as typer runs it. This module loads neither the database nor the queue."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer import Option
from typer.completion import completion_init

NAME = "adnerf"
NO_HELP = {"help": False}
"""A default for --help, as a setting of every group: without one, typer loads pydantic to convert the absent value."""
USAGE_ERROR = 2
"""typer's exit status for a wrong command line."""


def make_program(**settings: Any) -> typer.Typer:
    """Makes the top of the tree of commands; `settings` are further ones of typer.Typer."""
    program = typer.Typer(
        help="Talking-head videos as a service.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "default_map": {**NO_HELP, "versions": False}},
        **settings,
    )
    program.callback()(_program)
    return program


def _print_version(wanted: bool | None) -> None:
    if wanted:
        try:
            from adnerf_core.files.ffmpeg_choice import ffmpeg_version
        except ImportError:  # a machine without the worker's libraries
            print(f"{NAME} {version(NAME)}; no ffmpeg, which only workers need")
        else:
            print(f"{NAME} {version(NAME)}; ffmpeg {ffmpeg_version()}")
        raise typer.Exit


def _program(
    versions: Annotated[
        bool | None,
        Option(
            "--version", is_eager=True, callback=_print_version, help="Print the versions of adnerf and its ffmpeg."
        ),
    ] = None,
) -> None:
    """Talking-head videos as a service."""


def run(program: typer.Typer, arguments: Sequence[str] | None) -> int:
    """Runs one command.

    Args:
        program: All commands.
        arguments: The command line without the program's name; None takes it from sys.argv.

    Returns:
        The exit status.

    Raises:
        SystemExit: With status 2 if the command line is wrong.
    """
    completion_init()  # a shell asks for completions through a variable in the environment of this program
    try:
        typer.main.get_command(program).main(arguments, prog_name=NAME)
    except SystemExit as end:
        if end.code == USAGE_ERROR:
            raise
        return int(end.code or 0)
    return 0
