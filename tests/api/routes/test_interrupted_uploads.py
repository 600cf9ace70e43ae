"""Resumable uploads whose connection or server ends, and several requests for one upload."""

from __future__ import annotations

import hashlib
import http.client
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import httpx
import pytest

from api.app import create_app
from api.requests import arrivals, tus
from storage.database.models import Upload
from storage.settings import environment_of
from tests.api.conftest import check_problem, serving
from tests.api.routes.test_uploads import FILE, begin, objects, offset, patch, stored


def send_a_part(url: httpx.URL, path: str, content: bytes, part: int) -> socket.socket:
    """A PATCH of the whole of `content`, of which so far only `part` bytes are sent."""
    connection = socket.create_connection((url.host, url.port), timeout=30)
    head = [f"PATCH {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(content)}", "Upload-Offset: 0"]
    head += [f"Content-Type: {tus.MEDIA_TYPE}", "Tus-Resumable: 1.0.0", "", ""]
    connection.sendall("\r\n".join(head).encode() + content[:part])
    return connection


def await_offset(client, url: str, least: int) -> int:
    end = time.monotonic() + 60
    while (current := offset(client, url)) < least:
        assert time.monotonic() < end, current
        time.sleep(0.05)
    return current


def test_a_cut_connection_keeps_what_arrived(client, make):
    url = begin(client).headers["location"]
    send_a_part(client.base_url, url, FILE, 100_001).close()
    assert await_offset(client, url, 1) == 100_001
    assert patch(client, url, 100_001, FILE[100_001:]).status_code == 204
    form = {"consent": (None, "yes"), "upload_id": (None, url.split("/")[-1])}
    subject = client.post("/v1/subjects", files=form).json()
    assert stored(make, f"subjects/{subject['id']}/source") == FILE


def test_a_sender_that_stalls_is_refused_and_keeps_what_arrived(client, monkeypatch):
    monkeypatch.setattr("api.requests.multipart.STALL_S", 0.2)
    url = begin(client).headers["location"]
    with send_a_part(client.base_url, url, FILE, 100) as connection:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 408
        assert answer.headers["tus-resumable"] == "1.0.0"
    assert offset(client, url) == 100


def test_an_upload_has_one_writer_until_nothing_comes_from_it(client, app, monkeypatch):
    monkeypatch.setattr(arrivals, "SILENCE_S", 60.0)
    url = begin(client).headers["location"]
    with send_a_part(client.base_url, url, FILE, 100) as first:
        until(lambda: app.state.arrivals._bytes["local"] == 100)
        for _ in range(3):
            locked = patch(client, url, 0, FILE)
            check_problem(locked, "upload_locked")
            assert locked.headers["retry-after"] == "60"
        assert patch(client, begin(client).headers["location"], 0, FILE).status_code == 204  # another one is free
        monkeypatch.setattr(arrivals, "SILENCE_S", 0.0)
        assert patch(client, url, 0, FILE).status_code == 204
        answer = http.client.HTTPResponse(first)
        answer.begin()
        assert answer.status == 423
    assert offset(client, url) == len(FILE)
    assert not app.state.arrivals._bytes and not app.state.arrivals._writers


def until(condition):
    """Waits for the condition."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_server_keeps_what_it_counted_and_the_rest_follows(settings, make, client):
    """The parts that were stored before the kill count, and nothing else: no byte is missing or comes twice."""
    settings = settings.replace(max_video_bytes=64 << 20)
    content = random.Random(7).randbytes(2 * tus.PART_BYTES + 1_000_000)

    def start_server() -> tuple[subprocess.Popen, httpx.Client]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "api", "--port", str(port)]
        process = subprocess.Popen(command, env=environment_of(settings))
        http_client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                http_client.get("/healthz")
                return process, http_client
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError("the server did not start")

    process, http_client = start_server()
    try:
        url = begin(http_client, content).headers["location"]
        with send_a_part(http_client.base_url, url, content, len(content) - 500_000):
            await_offset(http_client, url, 2 * tus.PART_BYTES)
            process.send_signal(signal.SIGKILL)
            process.wait()
        http_client.close()
        process, http_client = start_server()
        current = offset(http_client, url)
        assert 2 * tus.PART_BYTES <= current < len(content) - 500_000
        assert patch(http_client, url, current, content[current:]).status_code == 204
        with make.database.session(write=False) as session:
            row = session.get(Upload, url.split("/")[-1])
            parts = [stored(make, part.key) for part in row.parts]
        assert hashlib.sha256(b"".join(parts)).digest() == hashlib.sha256(content).digest()
    finally:
        process.kill()
        process.wait()
        http_client.close()


def test_of_requests_that_send_the_same_bytes_one_succeeds(client, settings):
    url = begin(client).headers["location"]
    barrier, answers = threading.Barrier(4), []

    def send() -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as own_client:
            barrier.wait()
            answers.append(patch(own_client, url, 0, FILE[:90_000]))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.is_success for answer in answers) == [False, False, False, True]
    for answer in answers:
        if not answer.is_success:
            check_problem(answer, "offset_mismatch" if answer.status_code == 409 else "upload_locked")
    assert offset(client, url) == 90_000
    assert len(objects(settings)) == 1


@pytest.mark.parametrize("request_kind", ["begin", "send"])
def test_requests_that_wait_for_the_database_leave_threads_to_others(settings, request_kind):
    app = create_app(settings.replace(max_open_uploads=100))
    with serving(app) as url, httpx.Client(base_url=url, timeout=60, limits=httpx.Limits()) as client:
        uploads = [begin(client).headers["location"] for _ in range(50)]
        with ThreadPoolExecutor(50) as pool:
            with app.state.database.session() as session:
                session.query(Upload).first()  # from here on no other session can write
                asks = (pool.submit(begin, client) if request_kind == "begin" else pool.submit(patch, client, at, 0, FILE)
                        for at in uploads)  # fmt: skip
                waiting = list(asks)
                assert not wait(waiting, timeout=1).done
                assert client.get("/v1/uploads", timeout=5).status_code == 200
            assert all(answer.result().is_success for answer in waiting)
