"""`adnerf subjects`: the commands for subjects, the people of whom videos are made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

from adnerf.common import Id, Ids, Limit, Service, Timeout, Upload, command_group, service_command

COLUMNS = {
    "id": lambda subject: subject.id,
    "state": lambda subject: subject.state,
    "preset": lambda subject: subject.preset,
    "made": lambda subject: f"{subject.created_at:%Y-%m-%d %H:%M}",
    "name": lambda subject: subject.name,
}

app = command_group("Make, list, show, rename and delete subjects.")


@service_command(app, "create")
def create(
    service: Service,
    video: Annotated[Path | None, Argument(help="One person speaking, facing the camera, 8 s to 10 min.")] = None,
    *,
    upload: Upload = None,
    sample: Annotated[
        bool, Option("--sample", help="The sample person, an animated photograph, in place of a video.")
    ] = False,
    consent: Annotated[str, Option(metavar="TEXT", help="Who agreed to be shown, and to what.")],
    consent_by: Annotated[str | None, Option(metavar="NAME", help="Name of that person, besides the text.")] = None,
    consent_clip: Annotated[
        Path | None,
        Option(metavar="FILE", help="Video of 2 to 60 s in which that person says so, where the service takes one."),
    ] = None,
    may_improve_others: Annotated[
        bool,
        Option("--may-improve-others", help="That person agreed that others' lips are learnt from the footage."),
    ] = False,
    name: Annotated[str | None, Option(help="Name of the subject. [default: the name of the file]")] = None,
    preset: Annotated[str, Option(help="draft, standard, high or paper.")] = "standard",
    audio_track: Annotated[
        int | None,
        Option(metavar="N", help="Sound track of the video, from 1 on. [default: the one that holds speech]"),
    ] = None,
    face: Annotated[
        tuple[float, float, float] | None,
        Option(
            metavar="X Y SECOND",
            help="Which face, if there are several: its middle (0..1 from the upper left), and when.",
        ),
    ] = None,
    wait: Annotated[bool, Option("--wait", help="Wait until the subject is ready.")] = False,
    timeout: Timeout = None,
) -> None:
    """Make a subject from a reference video."""
    if [video is not None, upload is not None, sample].count(True) != 1:
        raise BadParameter("give either a VIDEO, or --upload ID, or --sample")
    with service.output.progress() as progress:
        subject = service.client.subjects.create(
            video,
            upload_id=upload,
            sample="person" if sample else None,
            name=name,
            preset=preset,
            audio_track=audio_track,
            face=face,
            consent=consent,
            consent_by=consent_by,
            consent_clip=consent_clip,
            may_improve_others=may_improve_others,
            progress=progress.transfer("upload"),
        )
    if wait or timeout is not None:
        service.output.say(f"Subject {subject.id}")
        subject = service.wait(subject, timeout)
    service.output.show(subject)


@service_command(app, "list")
def list_subjects(
    service: Service,
    state: Annotated[str | None, Option(help="Only subjects in this state, such as ready.")] = None,
    limit: Limit = 50,
) -> None:
    """List subjects, newest first."""
    service.output.show_list(service.client.subjects.list(state=state, limit=limit), COLUMNS)


@service_command(app, "show")
def show(service: Service, subject: Id) -> None:
    """Show a subject, its footage and its quality."""
    service.output.show(service.client.subjects.get(subject))


@service_command(app, "rename")
def rename(service: Service, subject: Id, name: str) -> None:
    """Rename a subject."""
    service.output.show(service.client.subjects.rename(subject, name))


@service_command(app, "delete")
def delete(service: Service, subjects: Ids) -> None:
    """Delete subjects, with their videos and all files."""
    for subject in subjects:
        service.client.subjects.delete(subject)
    service.output.done(f"Deleted: {', '.join(subjects)}", deleted=subjects)


@service_command(app, "trash")
def trash(service: Service, subjects: Ids) -> None:
    """Put subjects and their videos into the trash, from which they can be restored for a day."""
    for subject in subjects:
        service.client.subjects.trash(subject)
    service.output.done(f"In the trash: {', '.join(subjects)}", trashed=subjects)


@service_command(app, "restore")
def restore(service: Service, subjects: Ids) -> None:
    """Take subjects, with the videos that went with them, out of the trash."""
    for subject in subjects:
        service.client.subjects.restore(subject)
    service.output.done(f"Restored: {', '.join(subjects)}", restored=subjects)


@service_command(app, "export")
def export(service: Service, subject: Id, out: Annotated[Path, Option("--out", "-o")] = Path("subject.zip")) -> None:
    """Save a subject as a bundle, which other services can import."""
    service.output.done(str(service.client.subjects.export(subject, out)), saved=str(out))


@service_command(app, "import")
def import_bundle(
    service: Service,
    bundle: Path,
    *,
    name: Annotated[str | None, Option(help="Name of the subject. [default: the one in the bundle]")] = None,
) -> None:
    """Make a subject from a bundle."""
    with service.output.progress() as progress:
        subject = service.client.subjects.import_bundle(bundle, name=name, progress=progress.transfer("upload"))
    service.output.show(subject)


@service_command(app, "consent")
def show_consent(
    service: Service,
    subject: Id,
    may_improve_others: Annotated[
        bool | None,
        Option(
            "--may-improve-others/--may-not-improve-others",
            help="First record whether the lips of others may be learnt from the footage.",
        ),
    ] = None,
) -> None:
    """Show the record of consent: who agreed to be shown, and to what."""
    if may_improve_others is not None:
        service.client.subjects.set_may_improve_others(subject, may_improve_others)
    service.output.show(service.client.subjects.consent(subject))


@service_command(app, "consent-clip")
def save_consent_clip(
    service: Service, subject: Id, out: Annotated[Path, Option("--out", "-o")] = Path("consent.mp4")
) -> None:
    """Save the clip in which the person speaks the consent."""
    service.output.done(str(service.client.subjects.consent_clip(subject, out)), saved=str(out))


@service_command(app, "withdraw-consent")
def withdraw_consent(
    service: Service,
    subject: Id,
    purge: Annotated[bool, Option("--purge", help="Also remove footage, models and videos.")] = False,
) -> None:
    """Withdraw consent: nothing more is made or shown of the subject; this cannot be undone."""
    service.output.show(service.client.subjects.withdraw_consent(subject, purge=purge))


@service_command(app, "report")
def save_report(
    service: Service, subject: Id, out: Annotated[Path, Option("--out", "-o")] = Path("report.html")
) -> None:
    """Save the HTML report on the quality of a subject."""
    service.output.done(str(service.client.subjects.report(subject, out)), saved=str(out))


@service_command(app, "preview")
def save_preview(
    service: Service, subject: Id, out: Annotated[Path, Option("--out", "-o")] = Path("preview.jpg")
) -> None:
    """Save a preview picture of a subject."""
    service.output.done(str(service.client.subjects.preview(subject, out)), saved=str(out))
