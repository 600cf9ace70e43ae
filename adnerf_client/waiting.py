"""Waits for work to end: by the service's events if it sends them, else by polling; continues after restarts of the service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import httpx
from httpx_sse import EventSource, SSEError
from pydantic import ValidationError

from adnerf_client.connection import Connection, parse, retry_after_s
from adnerf_client.errors import JobCancelled, JobFailed, Problem, StillRunning, Unavailable, Unreachable
from adnerf_client.models import Job, Subject, Video

Thing = TypeVar("Thing", Subject, Video, Job)
JobSeen = Callable[[Job], None]
"""Callback for a job that has changed."""

LOOK_S, LONGEST_LOOK_S = 2.0, 10.0
"""Seconds between two polls if the service names none, and the most. Jobs take minutes: shorter intervals show nothing new."""
SILENCE_S = 30.0
"""Seconds without any data after which the event stream is given up: twice the interval of the service's keep-alives."""
AWAY_S = 900.0
"""Default of the seconds for which the service may be unreachable: enough for a restart or an update."""


def wait(
    connection: Connection,
    thing: Thing,
    *,
    progress: JobSeen | None = None,
    timeout_s: float | None = None,
    away_s: float = AWAY_S,
) -> Thing:
    """Waits until the work on a subject, video or job has succeeded.

    The polled state of the resource decides; events only make the progress faster.

    Args:
        connection: The connection to the service.
        thing: The subject, video or job.
        progress: Called with a Job whenever it has changed.
        timeout_s: Seconds to wait at most; None waits without limit.
        away_s: Seconds for which the service may be unreachable.

    Returns:
        The resource after its work.

    Raises:
        JobFailed: The work failed.
        JobCancelled: The work was cancelled.
        StillRunning: `timeout_s` is over.
        NotFound: The resource was deleted.
        Unreachable: The service was unreachable for longer than `away_s`.
    """
    deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    watch = _Watch(connection, thing, progress, deadline, away_s)
    while True:
        thing = watch.poll()
        job = latest_job(thing)
        if _is_done(thing):
            return thing
        if thing.state in ("failed", "cancelled"):
            raise job_error(thing, job)
        if watch.time_left() <= 0:
            raise watch.still_running()
        if job.ended or not watch.follow_events(job):
            watch.pause()


def latest_job(thing: Subject | Video | Job) -> Job:
    """Returns the current or last job of a subject or video; a job itself if `thing` is one."""
    if isinstance(thing, Job):
        return thing
    return thing.jobs[-1] if isinstance(thing, Subject) else thing.job


def path_of(thing: Subject | Video | Job) -> str:
    """Returns the path of a subject, video or job at the service."""
    collection = {Subject: "subjects", Video: "videos", Job: "jobs"}[type(thing)]
    return f"/v1/{collection}/{thing.id}"


def _is_done(thing: Subject | Video | Job) -> bool:
    return thing.state == ("succeeded" if isinstance(thing, Job) else "ready")


def job_error(thing: Subject | Video | Job, job: Job) -> JobFailed | JobCancelled:
    """Returns the error for work that ended without its result."""
    if job.error is not None:
        return JobFailed(job.error.message, job.error.remedy, job=job, code=job.error.code)
    remedy = "Retry its job to continue from saved work; after a withdrawal of consent, this is not possible."
    return JobCancelled(f"{thing.id} was cancelled ({job.kind}).", remedy, job=job)


class _Watch:
    """Polls one resource, follows the events of its jobs, and reports each change of a job once."""

    def __init__(self, connection: Connection, thing: Thing, progress: JobSeen | None, deadline: float, away_s: float):
        self._connection, self._progress = connection, progress
        self._deadline, self._away_s = deadline, away_s
        self._thing = thing
        self._etag = ""
        self._pause_s = LOOK_S
        self._reported: dict[str, Job] = {}
        self._events_served = True

    def time_left(self) -> float:
        """Returns the seconds until the deadline."""
        return self._deadline - time.monotonic()

    def poll(self) -> Subject | Video | Job:
        """Gets the current state of the resource."""
        headers = {"If-None-Match": self._etag} if self._etag else {}
        patience_s = max(0.0, min(self._away_s, self.time_left()))
        try:
            response = self._connection.send("GET", path_of(self._thing), patience_s=patience_s, headers=headers)
        except (Unreachable, Unavailable) as error:
            if self.time_left() > 0:
                raise
            raise self.still_running() from error
        self._pause_s = min(retry_after_s(response) or LOOK_S, LONGEST_LOOK_S)
        if response.status_code != httpx.codes.NOT_MODIFIED:
            self._thing = parse(type(self._thing), response)
            self._etag = response.headers.get("ETag", "")
        for job in self._thing.jobs if isinstance(self._thing, Subject) else [latest_job(self._thing)]:
            self._report(job)
        return self._thing

    def still_running(self) -> StillRunning:
        """Returns the error that says that the time to wait is over."""
        thing = self._thing
        return StillRunning(f"{thing.id} is {thing.state}.", "The work continues; wait again.", job=latest_job(thing))

    def pause(self) -> None:
        """Sleeps until the next poll."""
        time.sleep(max(0.0, min(self._pause_s, self.time_left())))

    def follow_events(self, job: Job) -> bool:
        """Reports the events of a job until they stop; returns True if the job has ended."""
        try:
            for changed in self._events(job) if self._events_served else ():
                self._report(changed)
                if changed.ended:
                    return True
        except (Problem, SSEError) as error:
            # The service sends no events, or a proxy blocks them: polling is sufficient.
            self._events_served = isinstance(error, Problem) and error.status not in (404, 405, 406)
        except Unreachable:
            pass  # the next poll decides whether the service has been unreachable for too long
        return False

    def _events(self, job: Job) -> Iterator[Job]:
        timeout = httpx.Timeout(10.0, read=max(0.01, min(SILENCE_S, self.time_left())))
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        path = f"/v1/jobs/{job.id}/events"
        with self._connection.stream(path, headers=headers, timeout=timeout) as response:
            for event in EventSource(response).iter_sse():
                try:
                    yield Job.model_validate_json(event.data)
                except ValidationError:
                    continue  # a kind of event that this client does not know
                if self.time_left() <= 0:
                    return

    def _report(self, job: Job) -> None:
        if self._progress is not None and self._reported.get(job.id) != job:
            self._reported[job.id] = job
            self._progress(job)
