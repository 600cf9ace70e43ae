"""Rows become what goes over the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from sqlalchemy.orm import Session

from api.schemas import resources
from api.services import jobs as job_service
from storage.database import models
from storage.database.queries import Page
from storage.tables import consents

MADE_OF_UPLOADS = {"sub": "subjects", "vid": "videos", "ver": "verifications"}
"""By the beginning of an id: where it is found."""

Row = TypeVar("Row")
Out = TypeVar("Out")


def job(session: Session, row: models.Job) -> resources.Job:
    """A job with its place in the queue."""
    return _job(row, job_service.queue_positions(session, [row]))


def job_with_position(row: models.Job, places: dict[str, int]) -> resources.Job:
    """A job of which it is known whether it has a place in the queue."""
    return _job(row, places)


def subject(session: Session, row: models.Subject) -> resources.Subject:
    """A subject with its jobs."""
    return _subject(row, job_service.queue_positions(session, row.jobs))


def video(session: Session, row: models.Video) -> resources.Video:
    """A video with its job."""
    return _video(row, job_service.queue_positions(session, [row.job]))


def jobs(session: Session, page: Page[models.Job]) -> resources.Page[resources.Job]:
    """A page of jobs."""
    return _page(session, page, _job, page.items)


def subjects(session: Session, page: Page[models.Subject]) -> resources.Page[resources.Subject]:
    """A page of subjects."""
    return _page(session, page, _subject, (each for row in page.items for each in row.jobs))


def videos(session: Session, page: Page[models.Video]) -> resources.Page[resources.Video]:
    """A page of videos."""
    return _page(session, page, _video, (row.job for row in page.items))


def upload(row: models.Upload) -> resources.Upload:
    """An upload."""
    state = "used" if row.used_by else "complete" if row.received == row.size else "receiving"
    used_by = row.used_by and f"/v1/{MADE_OF_UPLOADS[row.used_by[:3]]}/{row.used_by}"
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


def uploads(page: Page[models.Upload]) -> resources.Page[resources.Upload]:
    """A page of uploads."""
    return resources.Page(items=[upload(row) for row in page.items], next_cursor=page.next_cursor)


def retry_after(waited_for: Iterable[resources.Job]) -> dict[str, str]:
    """The header Retry-After: a tenth of the time left, 1 to 10 s; none where no job is queued or running."""
    active = [job for job in waited_for if job.state in ("queued", "running")]
    if not active:
        return {}
    left = min((job.eta_s for job in active if job.eta_s is not None), default=20.0)
    return {"Retry-After": str(round(min(max(left / 10, 1), 10)))}


def consent(row: models.Subject) -> resources.Consent:
    """The record of a subject's consent."""
    return resources.Consent(
        by=row.consent_by,
        text=row.consent,
        owner=row.owner,
        given_at=row.created_at,
        footage_sha256=row.footage_sha256,
        digest=consents.digest(row),
        withdrawn_at=row.withdrawn_at,
        purged_at=row.purged_at,
    )


def _page(
    session: Session, page: Page[Row], show: Callable[[Row, dict[str, int]], Out], waiting: Iterable[models.Job]
) -> resources.Page[Out]:
    places = job_service.queue_positions(session, list(waiting))
    return resources.Page(items=[show(row, places) for row in page.items], next_cursor=page.next_cursor)


def _job(row: models.Job, places: dict[str, int]) -> resources.Job:
    path = f"/v1/jobs/{row.id}"
    return resources.Job(
        id=row.id,
        kind=row.kind,
        state=row.state,
        stage=row.stage,
        progress=row.progress,
        eta_s=row.eta_s,
        queue_position=places.get(row.id),
        attempt=row.attempt,
        max_attempts=row.max_attempts,
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


def _subject(row: models.Subject, places: dict[str, int]) -> resources.Subject:
    path = f"/v1/subjects/{row.id}"
    shown = row.withdrawn_at is None
    return resources.Subject(
        id=row.id,
        name=row.name,
        state=row.state,
        preset=row.preset,
        created_at=row.created_at,
        updated_at=row.updated_at,
        footage=row.footage,
        quality=row.quality,
        view_limits=row.view_limits,
        views=row.views,
        consent=consent(row),
        jobs=[_job(each, places) for each in row.jobs],
        links=resources.SubjectLinks(
            self=path,
            preview=f"{path}/preview" if shown and row.preview_key else None,
            report=f"{path}/report" if shown and row.report_key else None,
            views=f"{path}/views" if shown and row.views_key else None,
            jobs=f"/v1/jobs?subject_id={row.id}",
            videos=f"/v1/videos?subject_id={row.id}",
        ),
    )


def _video(row: models.Video, places: dict[str, int]) -> resources.Video:
    path = f"/v1/videos/{row.id}"
    return resources.Video(
        id=row.id,
        subject_id=row.subject_id,
        state=row.state,
        options=row.options,
        view=row.view,
        duration_s=row.duration_s,
        frames=row.frames,
        width=row.width,
        height=row.height,
        size_bytes=row.size_bytes,
        created_at=row.created_at,
        job=_job(row.job, places),
        links=resources.VideoLinks(
            self=path,
            subject=f"/v1/subjects/{row.subject_id}",
            file=f"{path}/file" if row.state == "ready" else None,
        ),
    )
