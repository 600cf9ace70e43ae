"""`adnerf videos`: the commands for videos, in which a subject speaks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, BadParameter, Context, Option
from typer.core import TyperCommand

from adnerf.common import Id, Ids, Limit, Service, Timeout, Upload, command_group, service_command

COLUMNS = {
    "id": lambda video: video.id,
    "state": lambda video: video.state,
    "seconds": lambda video: "" if video.duration_s is None else f"{video.duration_s:.1f}",
    "made": lambda video: f"{video.created_at:%Y-%m-%d %H:%M}",
    "subject": lambda video: video.subject_id,
}
STANDARD_LABEL = "\0"
"""Stands for the text of a `--label` without one: no argument of a program can hold this character."""

app = command_group("Make, list, show, download and delete videos.")


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


@service_command(app, "create", CreateCommand)
def create(
    service: Service,
    subject: Annotated[str, Argument(help="Id of a subject that is ready.", show_default=False)],
    audio: Annotated[Path | None, Argument(help="The speech.")] = None,
    *,
    upload: Upload = None,
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
) -> None:
    """Make a video of a subject from speech, or without speech."""
    if [audio, upload, duration_s].count(None) != 2:
        raise BadParameter("give either an AUDIO, or --upload ID, or --duration-s S")
    background_option, picture = _parse_background(background)
    by_name = "webm" if out is not None and out.suffix.lower() == ".webm" else None
    options = {
        "frame": frame,
        "pose": pose,
        "motion": motion,
        "size": size,
        "seed": seed,
        "label": True if label == STANDARD_LABEL else label,
        "format": format or by_name,
        "view": _given(yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll, zoom=zoom, x=x, y=y) or None,
        "background": background_option,
    }
    with service.output.progress() as progress:
        video = service.client.videos.create(
            subject,
            audio,
            upload_id=upload,
            duration_s=duration_s,
            options=_given(**options),
            background=picture,
            progress=progress.transfer("upload"),
        )
    if wait or out is not None or timeout is not None:
        service.output.say(f"Video {video.id}")
        video = service.wait(video, timeout, f"adnerf videos download {video.id} -o {out}" if out else "")
    if out is not None:
        _save(service, video.id, out)
    service.output.show(video)


def _given(**values: Any) -> dict[str, Any]:
    """Leaves out the values that are None."""
    return {name: value for name, value in values.items() if value is not None}


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
    limit: Limit = 50,
) -> None:
    """List videos, newest first."""
    service.output.show_list(service.client.videos.list(state=state, subject_id=subject, limit=limit), COLUMNS)


@service_command(app, "show")
def show(service: Service, video: Id) -> None:
    """Show a video."""
    service.output.show(service.client.videos.get(video))


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


def _save(service: Service, video_id: str, out: Path) -> None:
    with service.output.progress() as progress:
        service.client.videos.download(video_id, out, progress=progress.transfer("download"))


@service_command(app, "delete")
def delete(service: Service, videos: Ids) -> None:
    """Delete videos and their files."""
    for video in videos:
        service.client.videos.delete(video)
    service.output.done(f"Deleted: {', '.join(videos)}", deleted=videos)
