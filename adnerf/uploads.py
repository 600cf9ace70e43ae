"""`adnerf uploads`: files that are sent piece by piece, before a subject or video is made of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adnerf.common import add_action, add_group

if TYPE_CHECKING:
    from adnerf.output import Screen
    from adnerf_client import Client

COLUMNS = {
    "id": lambda upload: upload.id,
    "state": lambda upload: upload.state,
    "received": lambda upload: f"{upload.received_bytes / upload.size_bytes:.0%}",
    "bytes": lambda upload: upload.size_bytes,
    "until": lambda upload: f"{upload.expires_at:%Y-%m-%d %H:%M}",
    "name": lambda upload: upload.name,
}


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds `uploads` and its actions."""
    actions = add_group(commands, "uploads", "send large files over shaky connections")
    create = add_action(actions, "create", _create, "send a file; --upload of other commands takes its id")
    create.add_argument("file", type=Path)
    resume = add_action(actions, "resume", _resume, "go on sending a file")
    resume.add_argument("id")
    resume.add_argument("file", type=Path, help="the file that it was begun with")
    listing = add_action(actions, "list", _list, "list uploads, newest first")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="at most N (default: %(default)s)")
    add_action(actions, "show", _show, "show how far an upload has come").add_argument("id")
    add_action(actions, "delete", _delete, "give up an upload").add_argument("id")


def _create(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    upload = client.uploads.begin(options.file)
    screen.say(f"Upload {upload.id}; if it is cut off: adnerf uploads resume {upload.id} {options.file}")
    _send(client, screen, upload.id, options.file)


def _resume(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    _send(client, screen, options.id, options.file)


def _send(client: Client, screen: Screen, upload_id: str, file: Path) -> None:
    with screen.progress() as progress:
        upload = client.uploads.resume(upload_id, file, progress=progress.transfer("upload"))
    screen.show(upload)


def _list(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show_list(client.uploads.list(limit=options.limit), COLUMNS)


def _show(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.uploads.get(options.id))


def _delete(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    client.uploads.delete(options.id)
    screen.done(f"Deleted: {options.id}", deleted=[options.id])
