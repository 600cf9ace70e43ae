"""The program `adnerf`: commands that use a service over HTTP, and the operator's commands (worker/__main__.py).

A command loads only what it needs: the commands for users load neither the database nor the queue, and `--help` does not
load the client.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import typer
from typer import Argument
from typer.completion import get_completion_script
from typer.core import TyperCommand, TyperGroup

from adnerf import jobs, subjects, uploads, videos, voices, webhooks
from adnerf.common import service_command
from adnerf.verify import verify
from worker.cli.program import NAME, make_program, run

EPILOG = """\b
Exit status of the commands that use a service:
  0  done          2  wrong command line
  1  an error      3  still running: the time to wait is over, or Ctrl-C was pressed; the work continues"""


class Program(TyperGroup):
    """All commands. The operator's commands load the database and the queue, which takes a second: only on demand."""

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """Returns the command `cmd_name`; None if there is none."""
        if cmd_name not in self.commands:
            self._load_operator_commands()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: typer.Context) -> list[str]:
        """Returns the names of all commands."""
        self._load_operator_commands()
        return super().list_commands(ctx)

    def _load_operator_commands(self) -> None:
        from worker.__main__ import app as operator

        self.commands = {**self.commands, **typer.main.get_command(operator).commands}


app = make_program(cls=Program, epilog=EPILOG)
for group in (subjects, videos, voices, jobs, uploads, webhooks):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2])
service_command(app, "verify")(verify)


@app.command()
def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Argument(show_default=False)]) -> None:
    """Print a completion script for a shell, to be read with: eval "$(adnerf completion bash)"."""
    print(get_completion_script(prog_name=NAME, complete_var=f"_{NAME.upper()}_COMPLETE", shell=shell))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status; a wrong command line raises SystemExit(2)."""
    return run(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
