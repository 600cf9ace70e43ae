"""Converts database rows to response bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from sqlalchemy.orm import Session

from api.schemas import base, resources
from api.services import jobs as job_service
from api.services.jobs import JobForecast
from storage.database import models
from storage.database.queries import Page
from storage.tables import consents, removals, streams
from storage.tables.queue import PRIORITIES

COLLECTIONS = {"sub": "subjects", "vid": "videos", "ver": "verifications"}
"""Path of a resource by the prefix of its id."""

Row = TypeVar("Row")
Out = TypeVar("Out")


def job(session: Session, row: models.Job) -> resources.Job:
    """Converts a job, with its position in the queue."""
    return _job(row, job_service.forecast(session, [row]))


def job_with_position(row: models.Job, positions: dict[str, int]) -> resources.Job:
    """Converts a job whose position in the queue was already looked up."""
    return _job(row, job_service.JobForecast(positions, {}, {}))


def subject(session: Session, row: models.Subject) -> resources.Subject:
    """Converts a subject with its jobs."""
    return _subject(row, job_service.forecast(session, row.jobs))


def video(session: Session, row: models.Video) -> resources.Video:
    """Converts a video with its job."""
    return _video(row, job_service.forecast(session, [row.job]))


def jobs(session: Session, page: Page[models.Job]) -> base.Page[resources.Job]:
    """Converts a page of jobs."""
    return _page(session, page, _job, page.items)


def subjects(session: Session, page: Page[models.Subject]) -> base.Page[resources.Subject]:
    """Converts a page of subjects."""
    return _page(session, page, _subject, (each for row in page.items for each in row.jobs))


def videos(session: Session, page: Page[models.Video]) -> base.Page[resources.Video]:
    """Converts a page of videos."""
    return _page(session, page, _video, (row.job for row in page.items))


def upload(row: models.Upload) -> resources.Upload:
    """Converts an upload."""
    state = "used" if row.used_by else "complete" if row.received == row.size else "receiving"
    used_by = row.used_by and f"/v1/{COLLECTIONS[row.used_by[:3]]}/{row.used_by}"
    return resources.Upload(
        id=row.id,
        name=row.name,
        state=state,
        size_bytes=row.size,
        received_bytes=row.received,
        used_by=row.used_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        links=resources.UploadLinks(self=f"/v1/uploads/{row.id}", used_by=used_by),
    )


def uploads(page: Page[models.Upload]) -> base.Page[resources.Upload]:
    """Converts a page of uploads."""
    return base.Page(items=[upload(row) for row in page.items], next_cursor=page.next_cursor)


def voices(rows: list[models.Voice]) -> resources.Voices:
    """Converts all voices, of which the first is the default."""
    items = [
        resources.Voice(
            id=row.id,
            name=row.name,
            language=row.language,
            engine=row.engine,
            licence=row.licence,
            default=row is rows[0],
            links=resources.VoiceLinks(sample=f"/v1/voices/{row.id}/sample" if row.sample_sha256 else None),
        )
        for row in rows
    ]
    return resources.Voices(items=items)


def retry_after(jobs: Iterable[resources.Job]) -> dict[str, str]:
    """Returns the header Retry-After: a tenth of the remaining time, clamped to 1..10 s; none if no job is queued or running.

    Ten polls per job keep a progress bar smooth; without an estimate, 2 s are suggested.
    """
    active = [job for job in jobs if job.state in ("queued", "running")]
    if not active:
        return {}
    # A queued job may start any moment, whatever was estimated: it is asked for as one whose end nobody knows.
    running = (job.eta_s for job in active if job.state == "running" and job.eta_s is not None)
    remaining_s = min(running, default=20.0)
    return {"Retry-After": str(round(min(max(remaining_s / 10, 1), 10)))}


def consent(row: models.Subject) -> resources.Consent:
    """Converts the record of a subject's consent."""
    return resources.Consent(
        by=row.consent_by,
        text=row.consent,
        owner=row.owner,
        given_at=row.created_at,
        footage_sha256=row.footage_sha256,
        clip_sha256=row.consent_clip_sha256,
        digest=consents.digest(row),
        may_improve_others=row.may_improve_others,
        may_improve_others_at=row.may_improve_others_at,
        withdrawn_at=row.withdrawn_at,
        purged_at=row.purged_at,
    )


def _page(
    session: Session, page: Page[Row], convert: Callable[[Row, JobForecast], Out], waiting: Iterable[models.Job]
) -> base.Page[Out]:
    forecast = job_service.forecast(session, list(waiting))
    return base.Page(items=[convert(row, forecast) for row in page.items], next_cursor=page.next_cursor)


def _job(row: models.Job, forecast: JobForecast) -> resources.Job:
    path = f"/v1/jobs/{row.id}"
    return resources.Job(
        id=row.id,
        kind=row.kind,
        state=row.state,
        stage=row.stage,
        progress=row.progress,
        eta_s=forecast.etas.get(row.id, row.eta_s),
        queue_position=forecast.positions.get(row.id),
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        priority=PRIORITIES[row.priority],
        error=row.error,
        subject_id=row.subject_id,
        video_id=row.video_id,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        links=resources.JobLinks(
            self=path,
            subject=f"/v1/subjects/{row.subject_id}",
            video=f"/v1/videos/{row.video_id}" if row.video_id else None,
            cancel=f"{path}/cancel",
            retry=f"{path}/retry",
        ),
    )


def _subject(row: models.Subject, forecast: JobForecast) -> resources.Subject:
    path = f"/v1/subjects/{row.id}"
    viewable = row.withdrawn_at is None
    return resources.Subject(
        id=row.id,
        name=row.name,
        state=row.state,
        preset=row.preset,
        created_at=row.created_at,
        updated_at=row.updated_at,
        trashed_until=row.trashed_until,
        imported_from=row.imported_from,
        face=row.face,
        footage=row.footage,
        quality=row.quality,
        view_limits=row.view_limits,
        full_frame=row.full_frame,
        views=row.views,
        consent=consent(row),
        eta_s=forecast.subjects.get(row.id),
        jobs=[_job(each, forecast) for each in row.jobs],
        links=resources.SubjectLinks(
            self=path,
            footage=f"{path}/footage" if viewable else None,
            consent_clip=f"{path}/consent/clip" if row.consent_clip_key else None,
            preview=f"{path}/preview" if viewable and row.preview_key else None,
            thumbnail=f"{path}/thumbnail" if viewable and row.thumbnail_key else None,
            report=f"{path}/report" if viewable and row.report_key else None,
            views=f"{path}/views" if viewable and row.views_key else None,
            jobs=f"/v1/jobs?subject_id={row.id}",
            videos=f"/v1/videos?subject_id={row.id}",
        ),
    )


def _video(row: models.Video, forecast: JobForecast) -> resources.Video:
    path, attempt = f"/v1/videos/{row.id}", streams.attempt_shown(row)
    return resources.Video(
        id=row.id,
        subject_id=row.subject_id,
        state=row.state,
        title=row.title,
        metadata=row.client_metadata or {},
        script=row.script,
        voice=row.voice,
        speed=row.speed,
        options=row.options,
        view=row.view,
        idle_s=row.idle_s,
        duration_s=row.duration_s,
        frame=row.frame,
        frames=row.frames,
        width=row.width,
        height=row.height,
        size_bytes=row.size_bytes,
        warnings=row.warnings or [],
        created_at=row.created_at,
        trashed_until=removals.trashed_until(row),
        job=_job(row.job, forecast),
        links=resources.VideoLinks(
            self=path,
            subject=f"/v1/subjects/{row.subject_id}",
            file=f"{path}/file" if row.state == "ready" else None,
            stream=f"{path}/stream.m3u8?attempt={attempt}" if attempt else None,
            audio=f"{path}/audio" if row.speech_key else None,
            captions=f"{path}/captions" if row.captions_key else None,
            thumbnail=f"{path}/thumbnail" if row.thumbnail_key else None,
            preview_clip=f"{path}/preview-clip" if row.clip_key else None,
        ),
    )
