"""`adnerf videos`: subjects saying something."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adnerf.common import add_action, add_group, add_waiting, wait

if TYPE_CHECKING:
    from adnerf.output import Screen
    from adnerf_client import Client

COLUMNS = {
    "id": lambda video: video.id,
    "state": lambda video: video.state,
    "seconds": lambda video: "" if video.duration_s is None else f"{video.duration_s:.1f}",
    "made": lambda video: f"{video.created_at:%Y-%m-%d %H:%M}",
    "subject": lambda video: video.subject_id,
}
VIEW = {
    "yaw": ("yaw_deg", "degrees to the person's left"),
    "pitch": ("pitch_deg", "degrees up"),
    "roll": ("roll_deg", "degrees clockwise"),
    "zoom": ("zoom", "0.5 to 2"),
    "x": ("x", "to the right, -0.5 to 0.5 of the picture"),
    "y": ("y", "down, -0.5 to 0.5 of the picture"),
}


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds `videos` and its actions."""
    actions = add_group(commands, "videos", "make, list, show, download and delete videos")
    _add_create(actions)
    listing = add_action(actions, "list", _list, "list videos, newest first")
    listing.add_argument("--state", help="only those of this state, such as ready")
    listing.add_argument("--subject", metavar="ID", help="only those of this subject")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="at most N (default: %(default)s)")
    add_action(actions, "show", _show, "show a video").add_argument("id")
    saving = add_action(actions, "download", _download, "save a video; goes on where an earlier try was cut off")
    saving.add_argument("id")
    saving.add_argument("-o", "--out", type=Path, help="default: its id, and .mp4 or .webm")
    add_action(actions, "delete", _delete, "delete videos and their files").add_argument("id", nargs="+")


def _add_create(actions: argparse._SubParsersAction) -> None:
    create = add_action(actions, "create", _create, "make a video of a subject and speech")
    create.add_argument("subject", help="id of a subject that is ready")
    create.add_argument("audio", nargs="?", type=Path, help="what the subject shall say")
    create.add_argument("--upload", metavar="ID", help="instead of a file: an upload that is complete")
    create.add_argument("-o", "--out", type=Path, help="wait, and save the video there; .webm gives WebM")
    create.add_argument("--wait", action="store_true", help="until it is ready")
    add_waiting(create)
    looks = create.add_argument_group("how it looks")
    for name, (_, about) in VIEW.items():
        looks.add_argument(f"--{name}", type=float, metavar="N", help=f"added to the head's pose: {about}")
    looks.add_argument(
        "--background",
        metavar="WHAT",
        help="original, transparent (WebM only), a colour such as '#204060', or a picture",
    )
    looks.add_argument("--pose", help="track (the footage's own motion) or still")
    looks.add_argument("--format", help="mp4 or webm (default: as the name in --out ends, else mp4)")
    looks.add_argument("--size", type=int, metavar="PX", help="64 to 1024 (default: the subject's own)")
    looks.add_argument("--seed", type=int, help="the same seed gives the same pixels")
    looks.add_argument(
        "--label", nargs="?", const=True, metavar="TEXT", help="words in a corner (without TEXT: AI-generated)"
    )


def _create(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    if (options.audio is None) == (options.upload is None):
        options.parser.error("an AUDIO or --upload ID is needed, not both")
    asked, picture = asked_for(options)
    with screen.progress() as progress:
        video = client.videos.create(
            options.subject,
            options.audio,
            upload_id=options.upload,
            options=asked,
            background=picture,
            progress=progress.transfer("upload"),
        )
    if options.wait or options.out is not None or options.timeout is not None:
        screen.say(f"Video {video.id}")
        then = f"adnerf videos download {video.id} -o {options.out}" if options.out else ""
        video = wait(client, screen, video, options.timeout, then)
    if options.out is not None:
        _save(client, screen, video.id, options.out)
    screen.show(video)


def asked_for(options: argparse.Namespace) -> tuple[dict[str, Any], Path | None]:
    """The options of the request, and the picture for the background, if one was named."""
    asked = {
        name: getattr(options, name) for name in ("pose", "size", "seed", "label") if getattr(options, name) is not None
    }
    by_name = "webm" if options.out is not None and options.out.suffix.lower() == ".webm" else None
    if form := options.format or by_name:
        asked["format"] = form
    view = {field: getattr(options, name) for name, (field, _) in VIEW.items() if getattr(options, name) is not None}
    if view:
        asked["view"] = view
    what = options.background
    if what is None:
        return asked, None
    if what in ("original", "transparent"):
        return {**asked, "background": {"kind": what}}, None
    if re.fullmatch(r"#[0-9a-fA-F]{6}", what):
        return {**asked, "background": {"kind": "color", "color": what}}, None
    return {**asked, "background": {"kind": "image"}}, Path(what)


def _list(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    found = client.videos.list(state=options.state, subject_id=options.subject, limit=options.limit)
    screen.show_list(found, COLUMNS)


def _show(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.videos.get(options.id))


def _download(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    out = options.out or Path(f"{options.id}.{client.videos.get(options.id).options.format or 'mp4'}")
    _save(client, screen, options.id, out)
    screen.done(str(out), saved=str(out))


def _save(client: Client, screen: Screen, video_id: str, out: Path) -> None:
    with screen.progress() as progress:
        client.videos.download(video_id, out, progress=progress.transfer("download"))


def _delete(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    for each in options.id:
        client.videos.delete(each)
    screen.done(f"Deleted: {', '.join(options.id)}", deleted=options.id)
