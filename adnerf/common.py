"""What the commands for users of a service share: their options, their exit statuses, and waiting for work to end."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option
from typer.core import TyperCommand

from worker.cli.program import NO_HELP

if TYPE_CHECKING:
    from adnerf.output import Output
    from adnerf_client import Client
    from adnerf_client.waiting import Thing

FAILED, STILL_RUNNING, INTERRUPTED = 1, 3, 130
"""Exit statuses besides 0 (done) and typer's 2 (wrong command line); 130 is 128 + SIGINT, as shells report Ctrl-C."""

Id = Annotated[str, Argument(metavar="ID", show_default=False)]
Ids = Annotated[list[str], Argument(metavar="ID...", show_default=False)]
Limit = Annotated[int, Option(metavar="N", help="List at most N.")]
Timeout = Annotated[
    float | None, Option(metavar="S", help="Wait for at most S seconds, then exit with status 3; the work continues.")
]
Upload = Annotated[str | None, Option(metavar="ID", help="Id of a complete upload, instead of a file.")]


@dataclass
class Service:
    """The service that a command uses, and the output of the command."""

    client: Client
    output: Output

    def wait(self, resource: Thing, timeout: float | None, next_command: str = "") -> Thing:
        """Waits until the work on a subject, video or job has succeeded, and shows its progress.

        Args:
            resource: The subject, video or job.
            timeout: Seconds to wait at most; None waits without limit.
            next_command: A command that continues afterwards; it is suggested if waiting ends early.

        Returns:
            The resource after its work.

        Raises:
            StillRunning: After `timeout` seconds, or after Ctrl-C. Only the waiting ends; the work continues.
        """
        from adnerf_client.errors import StillRunning
        from adnerf_client.waiting import latest_job

        try:
            with self.output.progress() as progress:
                return self.client.wait(resource, progress=progress.job, timeout=timeout)
        except (KeyboardInterrupt, StillRunning):
            self.output.show(resource)
            remedy = f"Continue watching with: adnerf jobs watch {resource.id}"
            if next_command:
                remedy += f"\nThen: {next_command}"
            raise StillRunning(f"{resource.id} is still running.", remedy, job=latest_job(resource)) from None


Action = Callable[..., None]
"""A command: takes a Service, then its own arguments and options."""


def command_group(summary: str) -> typer.Typer:
    """Creates a group of commands, such as `adnerf jobs`."""
    return typer.Typer(help=summary, no_args_is_help=True, context_settings={"default_map": NO_HELP})


def service_command(app: typer.Typer, name: str, cls: type[TyperCommand] = TyperCommand) -> Callable[[Action], Action]:
    """Makes a decorator that adds a command to `app`. typer reads the parameters of the function, except the Service.

    Every command gets the options of the service: --url, --api-key and --json.
    """

    def register(action: Action) -> Action:
        def command(
            *,
            url: Annotated[
                str | None, Option(help="Address of the service. [default: ADNERF_URL, else http://127.0.0.1:8000]")
            ] = None,
            api_key: Annotated[
                str | None,
                Option(metavar="KEY", help="API key. [default: ADNERF_API_KEY, which other users cannot see]"),
            ] = None,
            as_json: Annotated[
                bool, Option("--json", help="Print one JSON document to stdout; progress goes to stderr.")
            ] = False,
            **values: Any,
        ) -> None:
            _run(action, url, api_key, as_json, values)

        own = list(inspect.signature(action, eval_str=True).parameters.values())[1:]
        shared = list(inspect.signature(command, eval_str=True).parameters.values())[:-1]
        command.__signature__ = inspect.Signature([*own, *shared])
        app.command(name, cls=cls, help=action.__doc__)(command)
        return action

    return register


def _run(action: Action, url: str | None, api_key: str | None, as_json: bool, values: dict[str, Any]) -> None:
    """Calls `action`; an error is printed and ends the program with its exit status."""
    from adnerf.output import Output
    from adnerf_client.client import Client
    from adnerf_client.errors import AdnerfError, StillRunning

    output = Output(as_json=as_json)
    try:
        with Client(url, api_key) as client:
            action(Service(client, output), **values)
    except StillRunning as error:
        output.say(str(error))
        raise typer.Exit(STILL_RUNNING) from error
    except AdnerfError as error:
        output.fail(error)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        output.say("Stopped.")
        raise typer.Exit(INTERRUPTED) from error
