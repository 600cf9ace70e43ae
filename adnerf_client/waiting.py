"""Waiting for work to end: the service's events where it sends them, else looks at its pace; through restarts of either."""

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
"""Is told of a job whenever something about it has changed."""

LOOK_S, LONGEST_LOOK_S = 2.0, 10.0
"""Time between looks where the service names none, and at most."""
SILENCE_S = 30.0
"""After so long without an event it is looked whether the job still runs: a cut connection may look like silence."""
AWAY_S = 900.0
"""How long the service may be away while it is waited for, if nothing else was said."""


def wait(
    connection: Connection,
    thing: Thing,
    *,
    progress: JobSeen | None = None,
    timeout_s: float | None = None,
    away_s: float = AWAY_S,
) -> Thing:
    """`thing` as it is once all its work has ended well; the service may be away for `away_s` meanwhile.

    Raises JobFailed, JobCancelled, StillRunning (after `timeout_s`), NotFound (it was deleted), Unreachable.
    """
    deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    watch = _Watch(connection, thing, progress, deadline, away_s)
    while True:
        thing = watch.look()
        job = latest_job(thing)
        if _is_done(thing):
            return thing
        if thing.state in ("failed", "cancelled"):
            raise _bad_end(thing, job)
        if watch.time_left() <= 0:
            raise watch.still_running()
        if job.ended or not watch.hear_out(job):
            watch.pause()


def latest_job(thing: Subject | Video | Job) -> Job:
    """The job that a subject or video waits for, or waited for last; a job is its own."""
    if isinstance(thing, Job):
        return thing
    return thing.jobs[-1] if isinstance(thing, Subject) else thing.job


def path_of(thing: Subject | Video | Job) -> str:
    """Where the service has it."""
    collection = {Subject: "subjects", Video: "videos", Job: "jobs"}[type(thing)]
    return f"/v1/{collection}/{thing.id}"


def _is_done(thing: Subject | Video | Job) -> bool:
    return thing.state == ("succeeded" if isinstance(thing, Job) else "ready")


def _bad_end(thing: Subject | Video | Job, job: Job) -> JobFailed | JobCancelled:
    if job.error is not None:
        return JobFailed(job.error.message, job.error.remedy, job=job, code=job.error.code)
    remedy = "Retry its job to go on from what stands; where consent was withdrawn, there is nothing to be done."
    return JobCancelled(f"{thing.id} was cancelled ({job.kind}).", remedy, job=job)


class _Watch:
    """A look at one thing after the other look, and an ear for what happens in between."""

    def __init__(self, connection: Connection, thing: Thing, progress: JobSeen | None, deadline: float, away_s: float):
        self._connection, self._progress = connection, progress
        self._deadline, self._away_s = deadline, away_s
        self._thing = thing
        self._etag = ""
        self._pause_s = LOOK_S
        self._told: dict[str, Job] = {}
        self._events_served = True

    def time_left(self) -> float:
        """Seconds until the end of waiting."""
        return self._deadline - time.monotonic()

    def look(self) -> Subject | Video | Job:
        """The thing as it is now."""
        headers = {"If-None-Match": self._etag} if self._etag else {}
        patience_s = max(0.0, min(self._away_s, self.time_left()))
        try:
            answer = self._connection.send("GET", path_of(self._thing), patience_s=patience_s, headers=headers)
        except (Unreachable, Unavailable) as error:
            if self.time_left() > 0:
                raise
            raise self.still_running() from error
        self._pause_s = min(retry_after_s(answer) or LOOK_S, LONGEST_LOOK_S)
        if answer.status_code != httpx.codes.NOT_MODIFIED:
            self._thing = parse(type(self._thing), answer)
            self._etag = answer.headers.get("ETag", "")
        for job in self._thing.jobs if isinstance(self._thing, Subject) else [latest_job(self._thing)]:
            self._tell(job)
        return self._thing

    def still_running(self) -> StillRunning:
        """That the time for waiting is over."""
        thing = self._thing
        return StillRunning(f"{thing.id} is {thing.state}.", "The work goes on; wait again.", job=latest_job(thing))

    def pause(self) -> None:
        """Until the next look."""
        time.sleep(max(0.0, min(self._pause_s, self.time_left())))

    def hear_out(self, job: Job) -> bool:
        """Tells of the job's events; True where its end was among them."""
        try:
            for changed in self._events(job) if self._events_served else ():
                self._tell(changed)
                if changed.ended:
                    return True
        except (Problem, SSEError) as error:
            # A service without events, or a proxy that holds them back: looking does as well.
            self._events_served = isinstance(error, Problem) and error.status not in (404, 405, 406)
        except Unreachable:
            pass  # looking finds out for how long
        return False

    def _events(self, job: Job) -> Iterator[Job]:
        timeout = httpx.Timeout(10.0, read=max(0.01, min(SILENCE_S, self.time_left())))
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        path = f"/v1/jobs/{job.id}/events"
        with self._connection.stream(path, headers=headers, timeout=timeout) as answer:
            for event in EventSource(answer).iter_sse():
                try:
                    yield Job.model_validate_json(event.data)
                except ValidationError:
                    continue  # another kind of event than those that this client knows
                if self.time_left() <= 0:
                    return

    def _tell(self, job: Job) -> None:
        if self._progress is not None and self._told.get(job.id) != job:
            self._told[job.id] = job
            self._progress(job)
