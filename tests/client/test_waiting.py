"""Waiting: the progress that it reports, how it ends, and the faults that it survives."""

from __future__ import annotations

import threading
from itertools import pairwise

import httpx
import pytest

from adnerf_client import Client, Job, JobCancelled, NotFound, StillRunning
from tests.client.conftest import CONSENT, Wire

SLOW = {"steps": 30, "pause": 0.05}


class WithoutEvents(Wire):
    """A connection to a service that sends no events."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request; answers one for events as an earlier version of the service would."""
        if request.url.path.endswith("/events"):
            return httpx.Response(404, json={"code": "not_found", "detail": "There is no such thing."})
        return super().handle_request(request)


@pytest.fixture(params=[Wire, WithoutEvents])
def any_client(request, service):
    """A client that receives events, and one that must poll."""
    return service.client(transport=request.param())


def test_progress_reports_every_change(service, any_client):
    service.start_worker()
    reported: list[Job] = []
    subject = any_client.subjects.create(service.file(**SLOW), consent=CONSENT)
    any_client.wait(subject, progress=reported.append, timeout=300)
    work = [job.progress for job in reported if job.kind == "preprocess" and job.state == "running"]
    assert len(set(work)) > 1 and work == sorted(work) and 0 < work[-1] <= 1
    assert all(first != second for first, second in pairwise(reported))
    assert [(job.kind, job.progress) for job in reported if job.ended] == [("preprocess", 1.0), ("train", 1.0)]


def test_waiting_survives_a_restart_of_the_service(service, any_client):
    service.start_worker()
    subject = any_client.subjects.create(service.file(**SLOW), consent=CONSENT)
    running, restarted = threading.Event(), threading.Event()

    def restart():
        running.wait(60)
        service.stop()
        service.start()
        restarted.set()

    thread = threading.Thread(target=restart)
    thread.start()
    done = any_client.wait(subject, progress=lambda job: job.state == "running" and running.set(), timeout=300)
    thread.join()
    assert done.state == "ready" and restarted.is_set()


def test_waiting_survives_lost_connections(service, any_client):
    service.start_worker()
    subject = any_client.subjects.create(service.file(**SLOW), consent=CONSENT)

    def cut(job):
        service.cable.cut()
        service.cable.mend()

    assert any_client.wait(subject, progress=cut, timeout=300).state == "ready"


def test_the_work_continues_after_the_timeout(service, client):
    subject = client.subjects.create(service.file(), consent=CONSENT)
    with pytest.raises(StillRunning) as caught:
        client.wait(subject, timeout=0.3)
    assert (caught.value.code, caught.value.job.id) == ("still_running", subject.jobs[0].id)
    service.start_worker()
    assert client.wait(caught.value.job, timeout=300).state == "succeeded"


def test_the_timeout_ends_while_the_service_is_unreachable(service, client):
    subject = client.subjects.create(service.file(), consent=CONSENT)
    service.stop()
    with pytest.raises(StillRunning):
        client.wait(subject, timeout=0.5)


@pytest.mark.parametrize(("end", "error"), [("cancel", JobCancelled), ("delete", NotFound)])
def test_waiting_ends_when_another_client_cancels_or_deletes(service, client, end, error):
    service.start_worker()
    subject = client.subjects.create(service.file(steps=100_000, pause=0.01), consent=CONSENT)

    def stop(job):
        if job.state == "running":
            client.jobs.cancel(job) if end == "cancel" else client.subjects.delete(subject)

    with pytest.raises(error):
        client.wait(subject, progress=stop, timeout=300)


def test_an_unchanged_resource_is_not_sent_again(service, client):
    job = client.subjects.create(service.file(), consent=CONSENT).jobs[0]

    class Cancelling(WithoutEvents):
        def handle_request(self, request):
            if len(self.sent) == 2:
                client.jobs.cancel(job)
            return super().handle_request(request)

    wire = Cancelling()
    with pytest.raises(JobCancelled):
        service.client(transport=wire).wait(job)
    first, second, third = [request.headers.get("If-None-Match") for request in wire.sent]
    assert first is None and second == third != ""
    assert [answer.status_code for answer in wire.answers] == [200, 304, 200]


def test_events_of_an_unknown_kind_are_ignored():
    """Responses without events, and events that hold no job, do not end the waiting."""
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
        reported = []
        client.wait(job("queued"), progress=lambda job: reported.append(job.state))
    assert reported == ["queued", "succeeded", "running", "succeeded"]


def job(state):
    moment = "2026-01-01T00:00:00Z"
    return Job.model_validate(
        {"id": "job_1", "kind": "train", "state": state, "subject_id": "sub_1", "created_at": moment}
    )
