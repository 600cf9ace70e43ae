"""`adnerf subjects`: people of whom videos can be made."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adnerf.common import add_action, add_group, add_waiting, wait

if TYPE_CHECKING:
    from adnerf.output import Screen
    from adnerf_client import Client

COLUMNS = {
    "id": lambda subject: subject.id,
    "state": lambda subject: subject.state,
    "preset": lambda subject: subject.preset,
    "made": lambda subject: f"{subject.created_at:%Y-%m-%d %H:%M}",
    "name": lambda subject: subject.name,
}


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds `subjects` and its actions."""
    actions = add_group(commands, "subjects", "make, list, show, rename and delete subjects")
    create = add_action(actions, "create", _create, "make a subject of a reference video")
    create.add_argument("video", nargs="?", type=Path, help="one person speaking, facing the camera, 8 s to 10 min")
    create.add_argument("--upload", metavar="ID", help="instead of a file: an upload that is complete")
    create.add_argument("--consent", required=True, metavar="TEXT", help="who agreed to be shown, and to what")
    create.add_argument("--consent-by", metavar="NAME", help="who that is, apart from the text")
    create.add_argument("--name", help="default: the name of the file")
    create.add_argument("--preset", default="standard", help="draft, standard, high or paper (default: %(default)s)")
    create.add_argument("--wait", action="store_true", help="until videos can be made of it")
    add_waiting(create)
    listing = add_action(actions, "list", _list, "list subjects, newest first")
    listing.add_argument("--state", help="only those of this state, such as ready")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="at most N (default: %(default)s)")
    add_action(actions, "show", _show, "show a subject, its footage and its quality").add_argument("id")
    rename = add_action(actions, "rename", _rename, "give a subject another name")
    rename.add_argument("id")
    rename.add_argument("name")
    add_action(actions, "delete", _delete, "delete subjects, with their videos and all files").add_argument(
        "id", nargs="+"
    )
    add_action(actions, "consent", _consent, "show the record of who agreed to be shown").add_argument("id")
    withdraw = add_action(
        actions, "withdraw-consent", _withdraw, "withdraw consent: nothing more is made or shown, for ever"
    )
    withdraw.add_argument("id")
    withdraw.add_argument("--purge", action="store_true", help="remove footage, models and videos too")
    for name, action, about, example in (
        ("report", _report, "save the page that tells how good a subject is", "report.html"),
        ("preview", _preview, "save a picture of a subject", "preview.jpg"),
    ):
        saving = add_action(actions, name, action, about)
        saving.add_argument("id")
        saving.add_argument("-o", "--out", type=Path, default=Path(example), help="default: %(default)s")


def _create(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    if (options.video is None) == (options.upload is None):
        options.parser.error("a VIDEO or --upload ID is needed, not both")
    with screen.progress() as progress:
        subject = client.subjects.create(
            options.video,
            upload_id=options.upload,
            name=options.name,
            preset=options.preset,
            consent=options.consent,
            consent_by=options.consent_by,
            progress=progress.transfer("upload"),
        )
    if options.wait or options.timeout is not None:
        screen.say(f"Subject {subject.id}")
        subject = wait(client, screen, subject, options.timeout)
    screen.show(subject)


def _list(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show_list(client.subjects.list(state=options.state, limit=options.limit), COLUMNS)


def _show(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.subjects.get(options.id))


def _rename(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.subjects.rename(options.id, options.name))


def _delete(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    for each in options.id:
        client.subjects.delete(each)
    screen.done(f"Deleted: {', '.join(options.id)}", deleted=options.id)


def _consent(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.subjects.consent(options.id))


def _withdraw(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.subjects.withdraw_consent(options.id, purge=options.purge))


def _report(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.done(str(client.subjects.report(options.id, options.out)), saved=str(options.out))


def _preview(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.done(str(client.subjects.preview(options.id, options.out)), saved=str(options.out))
