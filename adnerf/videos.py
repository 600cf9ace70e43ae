"""`adnerf videos`: the commands for videos, in which a subject speaks."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, BadParameter, Context, Option
from typer.core import TyperCommand

from adnerf.common import Id, Ids, Limit, Service, Timeout, Upload, command_group, service_command

if TYPE_CHECKING:
    from adnerf_client import Video

COLUMNS = {
    "id": lambda video: video.id,
    "state": lambda video: video.state,
    "seconds": lambda video: "" if video.duration_s is None else f"{video.duration_s:.1f}",
    "made": lambda video: f"{video.created_at:%Y-%m-%d %H:%M}",
    "subject": lambda video: video.subject_id,
    "title": lambda video: video.title or "",
}
STANDARD_LABEL = "\0"
"""Stands for the text of a `--label` without one: no argument of a program can hold this character."""

app = command_group("Make, list, show, download, share and delete videos.")


class CreateCommand(TyperCommand):
    """A command whose option --label may stand without a value, which typer does not offer."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Gives each --label that has no value STANDARD_LABEL as its value."""
        for i, word in enumerate(args):
            if word == "--label" and all(following.startswith("-") for following in args[i + 1 : i + 2]):
                args[i] = f"--label={STANDARD_LABEL}"
        return super().parse_args(ctx, args)


def _pose_option(summary: str) -> Any:
    return Option(metavar="N", help=f"Added to the head's pose: {summary}.")


Duration = Annotated[
    float | None, Option(metavar="S", help="Instead of speech: length of a video without any, which loops, 1 to 60.")
]
Out = Annotated[Path | None, Option("--out", "-o", help="Wait, and save the video here; .webm gives WebM.")]
Frame = Annotated[
    str | None,
    Option(
        help="full (that of the footage) or portrait (a square, all of it rendered). [default: full, unless the view, the "
        "background or the motion is changed]"
    ),
]
What = Annotated[
    str | None,
    Option(metavar="WHAT", help="original, transparent (WebM only), a colour such as '#204060', or a picture file."),
]
Format = Annotated[str | None, Option(help="mp4 or webm. [default: by the ending of the name in --out, else mp4]")]
Size = Annotated[
    int | None,
    Option(metavar="PX", help="Longest edge, 64 to 1920 (portrait: 1024). [default: that of footage or subject]"),
]
Label = Annotated[str | None, Option(metavar="[TEXT]", help="Text in a corner; without TEXT it is AI-generated.")]
ScriptText = Annotated[
    str | None, Option(metavar="TEXT", help="Instead of speech: a text to read, or @FILE with the text.")
]
Metadata = Annotated[
    list[str] | None, Option("--metadata", metavar="NAME=VALUE", help="A text of your own; may be repeated.")
]
CaptionKind = Annotated[
    str | None, Option(metavar="KIND", help="srt or vtt: a caption file, saved beside --out; burn: in the picture.")
]


@service_command(app, "create", CreateCommand)
def create(
    service: Service,
    subject: Annotated[str, Argument(help="Id of a subject that is ready.", show_default=False)],
    audio: Annotated[Path | None, Argument(help="The speech.")] = None,
    *,
    upload: Upload = None,
    script: ScriptText = None,
    voice: Annotated[str | None, Option(metavar="ID", help="Voice for --script: see adnerf voices list.")] = None,
    speed: Annotated[float | None, Option(help="Pace of the voice, 0.5 to 2.")] = None,
    title: Annotated[str | None, Option(help="A name for people.")] = None,
    metadata: Metadata = None,
    priority: Annotated[str | None, Option(help="normal or low: rendered when nothing else waits.")] = None,
    duration_s: Duration = None,
    out: Out = None,
    wait: Annotated[bool, Option("--wait", help="Wait until the video is ready.")] = False,
    timeout: Timeout = None,
    frame: Frame = None,
    yaw: Annotated[float | None, _pose_option("degrees to the person's left")] = None,
    pitch: Annotated[float | None, _pose_option("degrees up")] = None,
    roll: Annotated[float | None, _pose_option("degrees clockwise")] = None,
    zoom: Annotated[float | None, _pose_option("0.5 to 2")] = None,
    x: Annotated[float | None, _pose_option("to the right, -0.5 to 0.5 of the picture")] = None,
    y: Annotated[float | None, _pose_option("down, -0.5 to 0.5 of the picture")] = None,
    background: What = None,
    pose: Annotated[str | None, Option(help="track (the motion of the footage) or still.")] = None,
    motion: Annotated[float | None, Option(metavar="SCALE", help="Scale of the head motion, 0 to 1.5.")] = None,
    format: Format = None,
    size: Size = None,
    seed: Annotated[int | None, Option(help="The same seed gives the same pixels.")] = None,
    label: Label = None,
    aspect: Annotated[str | None, Option(metavar="W:H", help="Shape: source, 16:9, 9:16, 1:1 or 4:5.")] = None,
    fit: Annotated[str | None, Option(help="cover (cut, the face in view) or contain (whole, between sides).")] = None,
    sides: Annotated[str | None, Option(metavar="WHAT", help="blur, or a colour, for --fit contain.")] = None,
    captions: CaptionKind = None,
) -> None:
    """Make a video of a subject from speech or a script, or without speech."""
    if [audio, upload, script, duration_s].count(None) != 3:
        raise BadParameter("give either an AUDIO, or --upload ID, or --script TEXT, or --duration-s S")
    speech = _given(upload_id=upload, script=_parse_script(script), voice=voice, speed=speed, duration_s=duration_s)
    texts = _given(title=title, metadata=_parse_metadata(metadata), priority=priority)
    background_option, picture = _parse_background(background)
    by_name = "webm" if out is not None and out.suffix.lower() == ".webm" else None
    options = _given(frame=frame, pose=pose, motion=motion, size=size, seed=seed, aspect=aspect, fit=fit, sides=sides)
    options |= _given(
        label=True if label == STANDARD_LABEL else label,
        format=format or by_name,
        view=_given(yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll, zoom=zoom, x=x, y=y) or None,
        background=background_option,
        captions=_parse_captions(captions),
    )
    with service.output.progress() as progress:
        video = service.client.videos.create(
            subject, audio, **speech, **texts, options=options, background=picture, progress=progress.transfer("upload")
        )
    if wait or out is not None or timeout is not None:
        service.output.say(f"Video {video.id}")
        video = service.wait(video, timeout, f"adnerf videos download {video.id} -o {out}" if out else "")
    if out is not None:
        _save_with_captions(service, video, out)
    service.output.show(video)


def _given(**values: Any) -> dict[str, Any]:
    """Leaves out the values that are None."""
    return {name: value for name, value in values.items() if value is not None}


def _parse_captions(kind: str | None) -> dict[str, Any] | None:
    """Returns the captions of the request's options: a file of this kind, or in the picture."""
    if kind is None:
        return None
    return {"burn": {}} if kind == "burn" else {"file": kind}


def _parse_script(text: str | None) -> str | None:
    """Returns the text of --script, or of the file that it names."""
    if text is None or not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadParameter(f"--script {text}: {error}") from error


def _parse_metadata(entries: list[str] | None) -> dict[str, str] | None:
    """Returns the entries NAME=VALUE of --metadata by name."""
    if not entries:
        return None
    if wrong := [each for each in entries if "=" not in each]:
        raise BadParameter(f"--metadata {wrong[0]}: write NAME=VALUE")
    return dict(each.split("=", 1) for each in entries)


def _parse_background(text: str | None) -> tuple[dict[str, str] | None, Path | None]:
    """Returns the `background` of the request's options, and the picture file that goes with it."""
    if text is None:
        return None, None
    if text in ("original", "transparent"):
        return {"kind": text}, None
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return {"kind": "color", "color": text}, None
    return {"kind": "image"}, Path(text)


@service_command(app, "list")
def list_videos(
    service: Service,
    state: Annotated[str | None, Option(help="Only videos in this state, such as ready.")] = None,
    subject: Annotated[str | None, Option(metavar="ID", help="Only videos of this subject.")] = None,
    title: Annotated[str | None, Option(help="Only videos with this in their title.")] = None,
    limit: Limit = 50,
) -> None:
    """List videos, newest first."""
    found = service.client.videos.list(state=state, subject_id=subject, title=title, limit=limit)
    service.output.show_list(found, COLUMNS)


@service_command(app, "show")
def show(service: Service, video: Id) -> None:
    """Show a video."""
    service.output.show(service.client.videos.get(video))


@service_command(app, "rename")
def rename(service: Service, video: Id, title: str) -> None:
    """Give a video another title."""
    service.output.show(service.client.videos.update(video, title=title))


@service_command(app, "download")
def download(
    service: Service,
    video: Id,
    out: Annotated[
        Path | None, Option("--out", "-o", help="File to save to. [default: the id with .mp4 or .webm]")
    ] = None,
) -> None:
    """Save a video; an interrupted download continues from where it stopped."""
    out = out or Path(f"{video}.{service.client.videos.get(video).options.format or 'mp4'}")
    _save(service, video, out)
    service.output.done(str(out), saved=str(out))


@service_command(app, "watch")
def watch(service: Service, video: Id) -> None:
    """Write a video to standard output while it is rendered, for a player: adnerf videos watch ID | mpv -"""
    try:
        for piece in service.client.videos.watch(video):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    except BrokenPipeError:  # the player was closed, and nothing can be written any more, at the end of Python neither
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _save(service: Service, video_id: str, out: Path) -> None:
    with service.output.progress() as progress:
        service.client.videos.download(video_id, out, progress=progress.transfer("download"))


def _save_with_captions(service: Service, video: Video, out: Path) -> None:
    """Saves a video, and its caption file beside it."""
    _save(service, video.id, out)
    if video.options.captions is not None and video.options.captions.file and not video.warnings:
        service.client.videos.captions(video, out.with_suffix(f".{video.options.captions.file}"))


@service_command(app, "delete")
def delete(service: Service, videos: Ids) -> None:
    """Delete videos and their files."""
    for video in videos:
        service.client.videos.delete(video)
    service.output.done(f"Deleted: {', '.join(videos)}", deleted=videos)


@service_command(app, "trash")
def trash(service: Service, videos: Ids) -> None:
    """Put videos into the trash, from which they can be restored for a day."""
    for video in videos:
        service.client.videos.trash(video)
    service.output.done(f"In the trash: {', '.join(videos)}", trashed=videos)


@service_command(app, "restore")
def restore(service: Service, videos: Ids) -> None:
    """Take videos out of the trash."""
    for video in videos:
        service.client.videos.restore(video)
    service.output.done(f"Restored: {', '.join(videos)}", restored=videos)


@service_command(app, "share")
def share(
    service: Service, video: Id, days: Annotated[float, Option(help="How long the link is valid.")] = 7.0
) -> None:
    """Make a link by which everybody can watch a video, without a key."""
    service.output.show(service.client.videos.share(video, expires_in_s=round(days * 86_400)))
