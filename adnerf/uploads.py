"""`adnerf uploads`: the commands for resumable uploads, files that are sent before a subject or video is made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from adnerf.common import Id, Limit, Service, command_group, service_command

COLUMNS = {
    "id": lambda upload: upload.id,
    "state": lambda upload: upload.state,
    "received": lambda upload: f"{upload.received_bytes / upload.size_bytes:.0%}",
    "bytes": lambda upload: upload.size_bytes,
    "until": lambda upload: f"{upload.expires_at:%Y-%m-%d %H:%M}",
    "name": lambda upload: upload.name,
}

app = command_group("Send large files over unreliable connections.")


@service_command(app, "create")
def create(service: Service, file: Path) -> None:
    """Send a file; --upload of other commands takes the id that is printed."""
    upload = service.client.uploads.begin(file)
    service.output.say(f"Upload {upload.id}; if it is interrupted: adnerf uploads resume {upload.id} {file}")
    _send(service, upload.id, file)


@service_command(app, "resume")
def resume(
    service: Service,
    upload: Id,
    file: Annotated[Path, Argument(help="The file that the upload was created for.", show_default=False)],
) -> None:
    """Send the rest of a file."""
    _send(service, upload, file)


def _send(service: Service, upload_id: str, file: Path) -> None:
    with service.output.progress() as progress:
        upload = service.client.uploads.resume(upload_id, file, progress=progress.transfer("upload"))
    service.output.show(upload)


@service_command(app, "list")
def list_uploads(service: Service, limit: Limit = 50) -> None:
    """List uploads, newest first."""
    service.output.show_list(service.client.uploads.list(limit=limit), COLUMNS)


@service_command(app, "show")
def show(service: Service, upload: Id) -> None:
    """Show an upload and how much of it was received."""
    service.output.show(service.client.uploads.get(upload))


@service_command(app, "delete")
def delete(service: Service, upload: Id) -> None:
    """Delete an upload."""
    service.client.uploads.delete(upload)
    service.output.done(f"Deleted: {upload}", deleted=[upload])
