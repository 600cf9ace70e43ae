"""Waiting: what is told meanwhile, how it ends, and what it sits through."""

from __future__ import annotations

import threading
from itertools import pairwise

import httpx
import pytest

from adnerf_client import Client, Job, JobCancelled, NotFound, StillRunning
from tests.client.conftest import CONSENT, Wire

SLOW = {"steps": 30, "pause": 0.05}


class Deaf(Wire):
    """A line on which no events come."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends it, or answers as a service of an earlier version would."""
        if request.url.path.endswith("/events"):
            return httpx.Response(404, json={"code": "not_found", "detail": "There is no such thing."})
        return super().handle_request(request)


@pytest.fixture(params=[Wire, Deaf])
def hearing(request, service):
    """A client that hears events, where the service sends them, and one that has to look."""
    return service.client(transport=request.param())


def test_progress_is_told_as_it_changes(service, hearing):
    service.start_worker()
    seen: list[Job] = []
    subject = hearing.subjects.create(service.file(**SLOW), consent=CONSENT)
    hearing.wait(subject, progress=seen.append, timeout=300)
    work = [job.progress for job in seen if job.kind == "preprocess" and job.state == "running"]
    assert len(set(work)) > 3 and work == sorted(work) and 0 < work[-1] <= 1
    assert all(first != second for first, second in pairwise(seen))
    assert [(job.kind, job.progress) for job in seen if job.ended] == [("preprocess", 1.0), ("train", 1.0)]


def test_a_restart_of_the_service_is_sat_through(service, hearing):
    service.start_worker()
    subject = hearing.subjects.create(service.file(**SLOW), consent=CONSENT)
    running, restarted = threading.Event(), threading.Event()

    def restart():
        running.wait(60)
        service.stop()
        service.start()
        restarted.set()

    thread = threading.Thread(target=restart)
    thread.start()
    done = hearing.wait(subject, progress=lambda job: job.state == "running" and running.set(), timeout=300)
    thread.join()
    assert done.state == "ready" and restarted.is_set()


def test_cut_connections_are_sat_through(service, hearing):
    service.start_worker()
    subject = hearing.subjects.create(service.file(**SLOW), consent=CONSENT)

    def cut(job):
        service.cable.cut()
        service.cable.mend()

    assert hearing.wait(subject, progress=cut, timeout=300).state == "ready"


def test_the_time_is_over_and_the_work_goes_on(service, client):
    subject = client.subjects.create(service.file(), consent=CONSENT)
    with pytest.raises(StillRunning) as caught:
        client.wait(subject, timeout=0.3)
    assert (caught.value.code, caught.value.job.id) == ("still_running", subject.jobs[0].id)
    service.start_worker()
    assert client.wait(caught.value.job, timeout=300).state == "succeeded"


def test_the_time_is_over_while_the_service_is_away(service, client):
    subject = client.subjects.create(service.file(), consent=CONSENT)
    service.stop()
    with pytest.raises(StillRunning):
        client.wait(subject, timeout=0.5)


@pytest.mark.parametrize(("end", "error"), [("cancel", JobCancelled), ("delete", NotFound)])
def test_somebody_else_ends_it(service, client, end, error):
    service.start_worker()
    subject = client.subjects.create(service.file(steps=100_000, pause=0.01), consent=CONSENT)

    def stop(job):
        if job.state == "running":
            client.jobs.cancel(job) if end == "cancel" else client.subjects.delete(subject)

    with pytest.raises(error):
        client.wait(subject, progress=stop, timeout=300)


def test_what_has_not_changed_is_not_sent_again(service, client):
    job = client.subjects.create(service.file(), consent=CONSENT).jobs[0]

    class Watched(Deaf):
        def handle_request(self, request):
            if len(self.sent) == 2:
                client.jobs.cancel(job)
            return super().handle_request(request)

    wire = Watched()
    with pytest.raises(JobCancelled):
        service.client(transport=wire).wait(job)
    first, second, third = [request.headers.get("If-None-Match") for request in wire.sent]
    assert first is None and second == third != ""
    assert [answer.status_code for answer in wire.answers] == [200, 304, 200]


def test_events_of_an_unknown_kind_are_passed_over():
    """Another answer than events, and events that are no job, are no reason to give up."""
    states = iter(["queued", "running", "succeeded"])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            text = (
                'event: mood\ndata: {"mood": "good"}\n\nevent: job\ndata: '
                + job("succeeded").model_dump_json()
                + "\n\n"
            )
            return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=text)
        return httpx.Response(200, json=job(next(states)).model_dump(mode="json"))

    with Client("http://service", transport=httpx.MockTransport(answer)) as client:
        seen = []
        client.wait(job("queued"), progress=lambda job: seen.append(job.state))
    assert seen == ["queued", "succeeded", "running", "succeeded"]


def job(state):
    moment = "2026-01-01T00:00:00Z"
    return Job.model_validate(
        {"id": "job_1", "kind": "train", "state": state, "subject_id": "sub_1", "created_at": moment}
    )
