"""`adnerf voices`: the commands for the voices that read scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from adnerf.common import Id, Service, command_group, service_command

COLUMNS = {
    "id": lambda voice: voice.id,
    "name": lambda voice: voice.name,
    "language": lambda voice: voice.language,
    "licence": lambda voice: voice.licence,
    "default": lambda voice: "yes" if voice.default else "",
}

app = command_group("List the voices that can read scripts, and hear them.")


@service_command(app, "list")
def list_voices(service: Service) -> None:
    """List the voices, the default first."""
    service.output.show_list(service.client.voices.list(), COLUMNS)


@service_command(app, "sample")
def sample(
    service: Service,
    voice: Id,
    out: Annotated[Path | None, Option("--out", "-o", help="File to save to. [default: the id with .wav]")] = None,
) -> None:
    """Save a sentence in this voice."""
    out = out or Path(f"{voice}.wav")
    service.client.voices.sample(voice, out)
    service.output.done(str(out), saved=str(out))
