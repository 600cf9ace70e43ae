"""Large files over unreliable connections: they are sent in chunks, and each chunk once."""

from __future__ import annotations

import httpx
import pytest

from adnerf_client import Client
from adnerf_client.errors import BadUse, NotServed
from tests.client.conftest import CONSENT, Wire

KIB = 1 << 10


@pytest.fixture
def footage(service, monkeypatch):
    """A file of 400 KB, which counts as a large one."""
    monkeypatch.setattr("adnerf_client.made.RESUMABLE_FROM", 100 * KIB)
    monkeypatch.setattr("adnerf_client.uploads.CHUNK", 64 * KIB)
    return service.file("ann.mp4", padding="x" * 200_000)


def offsets(wire):
    return [int(request.headers["Upload-Offset"]) for request in wire.sent if request.method == "PATCH"]


def received(service, subject):
    """The footage of a subject as the service stores it."""
    return (service.settings.objects / "subjects" / subject.id / "source").read_bytes()


def test_a_large_upload_continues_after_a_lost_connection(service, wire, footage):
    whole, reported = [True], []

    def cut(done, total):
        reported.append((done, total))
        if whole and done >= 128 * KIB:
            whole.clear()
            service.cable.cut()
            service.cable.mend()

    subject = service.client(transport=wire).subjects.create(footage, consent=CONSENT, progress=cut)
    assert (subject.name, received(service, subject)) == ("ann", footage.read_bytes())
    size = footage.stat().st_size
    assert reported[0] == (0, size) and reported[-1] == (size, size) and reported == sorted(reported)
    sent = offsets(wire)
    assert sent == sorted(sent) and sent.count(0) == 1 and len(sent) <= size // (64 * KIB) + 2


def test_a_chunk_whose_response_was_lost_is_not_sent_again(service, wire, footage):
    wire.loses = ["PATCH", "PATCH", "POST"]
    subject = service.client(transport=wire).subjects.create(footage, consent=CONSENT)
    assert received(service, subject) == footage.read_bytes()
    assert len(offsets(wire)) == len(set(offsets(wire)))
    assert len(list(service.client().uploads.list())) == 1


def test_an_upload_survives_a_restart_of_the_service(service, client, footage):
    running = [True]

    def restart(done, total):
        if running and done >= 128 * KIB:
            running.clear()
            service.stop()
            service.start()

    assert received(service, client.subjects.create(footage, consent=CONSENT, progress=restart)) == footage.read_bytes()


def test_a_stopped_upload_is_resumed_and_used(service, client, wire, footage):
    def stop(done, total):
        if done >= 128 * KIB:
            raise KeyboardInterrupt

    upload = client.uploads.begin(footage)
    with pytest.raises(KeyboardInterrupt):
        client.uploads.resume(upload.id, footage, progress=stop)
    assert client.uploads.get(upload).received_bytes == 128 * KIB
    done = service.client(transport=wire).uploads.resume(upload.id, footage)
    assert done.state == "complete" and offsets(wire)[0] == 128 * KIB
    subject = client.subjects.create(upload_id=upload.id, consent=CONSENT, name="Ann")
    assert received(service, subject) == footage.read_bytes() and client.uploads.get(upload).used_by == subject.id


def test_resume_refuses_a_file_of_another_size(service, client, footage):
    upload = client.uploads.begin(footage)
    with pytest.raises(BadUse, match="its size differs"):
        client.uploads.resume(upload.id, service.file("other.mp4"))
    client.uploads.delete(upload)


def test_a_file_that_becomes_shorter_is_refused(client, footage):
    def shrink(done, total):
        footage.write_bytes(b"short")

    with pytest.raises(BadUse, match="shorter"):
        client.uploads.create(footage, progress=shrink)


def test_a_service_without_uploads_receives_the_file_in_the_form(service, footage):
    class Older(Wire):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path == "/v1/uploads":
                return httpx.Response(404, json={"code": "not_found", "detail": "There is no such thing."})
            return super().handle_request(request)

    client = service.client(transport=Older())
    assert received(service, client.subjects.create(footage, consent=CONSENT)) == footage.read_bytes()
    with pytest.raises(NotServed):
        client.uploads.create(footage)


def test_a_quota_of_uploads_is_not_taken_for_a_service_without_uploads(footage):
    transport = httpx.MockTransport(
        lambda request: httpx.Response(413, json={"code": "file_too_large", "detail": "No."})
    )
    with Client("http://service", transport=transport) as client, pytest.raises(Exception, match="No") as caught:
        client.uploads.begin(footage)
    assert caught.value.code == "file_too_large"
