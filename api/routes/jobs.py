"""Jobs: the work behind subjects and videos."""

from __future__ import annotations

import hashlib

from fastapi import APIRouter, Request, Response

from api import present, schemas
from api.deps import Cursor, Limit, Reading, Writing
from api.documents import problems
from api.ranges import unchanged
from storage.models import JobKind, JobState
from worker import service

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get("", summary="List jobs, newest first", responses=problems("validation_failed"))
def list_jobs(
    session: Reading,
    state: JobState | None = None,
    kind: JobKind | None = None,
    subject_id: str | None = None,
    video_id: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> schemas.Page[schemas.Job]:
    """A page of jobs; `subject_id` includes the jobs of the subject's videos."""
    page = service.list_jobs(
        session, state=state, kind=kind, subject_id=subject_id, video_id=video_id, limit=limit, cursor=cursor
    )
    return present.jobs(session, page)


@router.get(
    "/{job_id}",
    summary="Read a job",
    response_model=schemas.Job,
    responses={304: {"description": "not changed since the ETag in If-None-Match"}, **problems("not_found")},
)
def get_job(job_id: str, request: Request, session: Reading) -> Response:
    """The job. Poll it with If-None-Match, at the pace of Retry-After."""
    job = present.job(session, service.get_job(session, job_id))
    body = job.model_dump_json().encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", **present.retry_after([job])}
    if unchanged(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


@router.post("/{job_id}/cancel", summary="Cancel a job", responses=problems("not_found", "move_not_allowed"))
def cancel_job(job_id: str, session: Writing) -> schemas.Job:
    """The cancelled job. It must be queued or running; running work stops within seconds."""
    return present.job(session, service.cancel_job(session, job_id))


@router.post("/{job_id}/retry", summary="Retry a job", responses=problems("not_found", "move_not_allowed"))
def retry_job(job_id: str, session: Writing) -> schemas.Job:
    """The job, queued again. It must have failed or been cancelled; it goes on from what stands."""
    return present.job(session, service.retry_job(session, job_id))
