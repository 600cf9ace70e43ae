"""Routes of jobs: the work that subjects and videos need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from fastapi.sse import EventSourceResponse

from api.auth import CallerDep
from api.deps import Cursor, JobEventHubDep, Limit, ReadSession, SearchTurn, SettingsDep, WriteSession
from api.openapi import responses
from api.openapi.responses import problems
from api.requests.idempotency import IdempotencyDep
from api.responses import serializers
from api.responses.job_events import subscribe
from api.schemas import base, resources
from api.services import jobs
from storage.database import queries
from storage.database.models import Job, JobKind, JobState

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

EVENT_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Headers of an event stream. Without the second one nginx buffers events."""


async def _stream_slot(caller: CallerDep, hub: JobEventHubDep) -> AsyncIterator[None]:
    """Counts the request as a stream until its connection has ended, however it ends."""
    with hub.stream_of(caller.owner):
        yield


@router.get("", summary="List jobs, newest first", responses=problems("validation_failed"))
def list_jobs(
    caller: CallerDep,
    search: SearchTurn,
    session: ReadSession,
    state: JobState | None = None,
    kind: JobKind | None = None,
    subject_id: str | None = None,
    video_id: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> base.Page[resources.Job]:
    """A page of jobs; `subject_id` includes the jobs of the subject's videos."""
    # A video has few jobs: an expression keeps SQLite from reading all of the owner's, in the order of their ids, to find them.
    mine = Job.owner if video_id is None else Job.owner.concat("")
    page = queries.page(
        session,
        Job,
        mine == caller.owner,
        state=state,
        kind=kind,
        subject_id=subject_id,
        video_id=video_id,
        limit=limit,
        cursor=cursor,
    )
    return serializers.jobs(session, page)


@router.get("/{job_id}", summary="Read a job", responses=problems("not_found"))
def get_job(job_id: str, caller: CallerDep, response: Response, session: ReadSession) -> resources.Job:
    """The job. Poll it with If-None-Match, waiting Retry-After seconds each time, or follow its events."""
    job = serializers.job(session, queries.get(session, Job, job_id, owner=caller.owner))
    response.headers.update(serializers.retry_after([job]))
    return job


@router.head("/{job_id}/events", include_in_schema=False)
def head_events(job_id: str, caller: CallerDep, session: ReadSession) -> Response:
    """The headers of an event stream; the stream itself would not end."""
    queries.get(session, Job, job_id, owner=caller.owner)
    return Response(media_type="text/event-stream", headers=EVENT_HEADERS)


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: responses.events(
            "`state`, `stage`, `progress` or `queue`: what has changed, with the job as it is now", resources.Job
        ),
        204: {
            "description": "the job has ended, and by Last-Event-ID the client knows it: there is no need to reconnect"
        },
        **problems("not_found", "too_many_streams", "unavailable"),
    },
    dependencies=[Depends(_stream_slot)],
)
def follow_job(
    job_id: str,
    caller: CallerDep,
    session: ReadSession,
    hub: JobEventHubDep,
    last_event_id: Annotated[str | None, Header(description="continue after the event with this id")] = None,
) -> Response:
    """Server-sent events: first the job as it is, then every change as it happens, until the job has ended."""
    job = queries.get(session, Job, job_id, owner=caller.owner)
    subscription = subscribe(session, job, last_event_id)
    if subscription.ended:
        return Response(status_code=204)  # the only status after which a browser's EventSource does not reconnect
    return EventSourceResponse(hub.follow(job.id, subscription, caller), headers=EVENT_HEADERS)


@router.post(
    "/{job_id}/cancel",
    response_model=resources.Job,
    summary="Cancel a job",
    responses=problems("not_found", "move_not_allowed"),
)
def cancel_job(job_id: str, caller: CallerDep, idempotency: IdempotencyDep, session: WriteSession) -> Response:
    """Cancels a queued or running job; running work stops within seconds."""
    row = jobs.cancel_job(session, job_id, owner=caller.owner)
    return idempotency.respond(session, serializers.job(session, row))


@router.post(
    "/{job_id}/retry",
    response_model=resources.Job,
    summary="Retry a job",
    responses=problems("not_found", "move_not_allowed", "consent_withdrawn", "in_trash", "quota_exceeded"),
)
def retry_job(
    job_id: str, caller: CallerDep, idempotency: IdempotencyDep, settings: SettingsDep, session: WriteSession
) -> Response:
    """Queues a failed or cancelled job again. It continues from its last checkpoint."""
    row = jobs.retry_job(session, settings, job_id, owner=caller.owner)
    return idempotency.respond(session, serializers.job(session, row))
