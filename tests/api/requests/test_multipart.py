"""Multipart bodies, also malformed ones that no client library would send."""

import hashlib
import http.client
import io
import json
import os
import socket
import time
from types import SimpleNamespace

import pytest

from api.problems.problems import Problem
from api.requests import multipart
from storage.database.models import Subject
from storage.objects.base import IncomingFile
from tests.api.conftest import VIDEO, check_problem

FORM = {"content-type": "multipart/form-data; boundary=cut"}


def part(name: str, content: bytes, *more: str) -> bytes:
    head = "; ".join([f'Content-Disposition: form-data; name="{name}"', *more])
    return b"--cut\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"


CONSENT = part("consent", b"yes")
FILM = part("video", VIDEO, 'filename="a.mp4"')
END = b"--cut--\r\n"


def files(settings) -> list:
    """All files in the store's folder, finished or not."""
    return [path for path in settings.objects.rglob("*") if path.is_file()]


def post(client, body, headers=FORM):
    return client.post("/v1/subjects", content=body, headers=headers)


def test_a_body_may_come_in_pieces_of_any_size(client, make):
    body = CONSENT + FILM + END
    for size in (1000, 7, len(body)):
        pieces = (body[start : start + size] for start in range(0, len(body), size))
        answer = post(client, pieces)
        assert answer.status_code == 202, answer.text
        with make.store.open(f"subjects/{answer.json()['id']}/source") as source:
            assert source.read() == VIDEO


def test_a_file_may_hold_what_looks_like_the_boundary(client, make):
    film = VIDEO + b"\r\n--cu\r\n--cut\r-\r\n--" + VIDEO
    answer = post(client, CONSENT + part("video", film, 'filename="a.mp4"') + END)
    with make.store.open(f"subjects/{answer.json()['id']}/source") as source:
        assert source.read() == film


def test_the_order_of_parts_and_a_missing_file_name_do_not_matter(client):
    answer = post(client, part("video", VIDEO) + CONSENT + END)
    assert answer.status_code == 202
    assert answer.json()["name"] == "unnamed"


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"", FORM, "malformed_body"),
        (b"nonsense", FORM, "malformed_body"),
        (CONSENT + FILM, FORM, "malformed_body"),
        (CONSENT + FILM[:-2000], FORM, "malformed_body"),
        (CONSENT + FILM + END, {"content-type": "multipart/form-data"}, "malformed_body"),
        (CONSENT + FILM + END, {"content-type": "multipart/form-data; boundary=other"}, "malformed_body"),
        (CONSENT + FILM + END, {"content-type": f"multipart/form-data; boundary={'x' * 5000}"}, "malformed_body"),
        (b"--cut\r\n" + b"X-Header: y\r\n" * 5000 + b"\r\n\r\n" + END, FORM, "malformed_body"),
        (CONSENT + FILM + END, {"content-type": "application/octet-stream"}, "unsupported_media_type"),
        (b'{"consent": "yes"}', {"content-type": "application/json"}, "unsupported_media_type"),
        (b"consent=yes", {"content-type": "application/x-www-form-urlencoded"}, "unsupported_media_type"),
        (CONSENT + FILM + END, {}, "unsupported_media_type"),
        (CONSENT + CONSENT + FILM + END, FORM, "validation_failed"),
        (CONSENT + FILM + FILM + END, FORM, "validation_failed"),
        (CONSENT + part("video", b"") * 2 + END, FORM, "validation_failed"),
        (part("consent", b"\xff\xfe") + FILM + END, FORM, "validation_failed"),
        (b"--cut\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END, FORM, "validation_failed"),
        (b"--cut\r\n\r\nx\r\n" + END, FORM, "validation_failed"),
        (part("consent", b"y" * 1_100_000) + FILM + END, FORM, "body_too_large"),
        (b"".join(part("consent", b"") for _ in range(3)) + END, FORM, "validation_failed"),
    ],
)
def test_bad_bodies_are_refused_and_leave_nothing(client, settings, body, headers, code):
    check_problem(post(client, body, headers), code)
    assert files(settings) == []


def test_a_received_file_becomes_the_object_itself(client, make, settings, monkeypatch):
    inodes = []
    put_incoming = make.store.put_incoming

    def watched(key, incoming):
        inodes.append(os.fstat(incoming.file.fileno()).st_ino)
        return put_incoming(key, incoming)

    monkeypatch.setattr(make.store, "put_incoming", watched)
    subject = post(client, CONSENT + FILM + END).json()
    assert [path.stat().st_ino for path in files(settings)] == inodes
    with make.database.session(write=False) as session:
        assert session.get(Subject, subject["id"]).footage_sha256 == hashlib.sha256(VIDEO).hexdigest()


def test_a_full_disk_is_refused_and_leaves_nothing(client, make, settings, monkeypatch):
    monkeypatch.setattr(make.store, "create_incoming", lambda: IncomingFile(io.FileIO("/dev/full", "r+")))
    check_problem(post(client, CONSENT + FILM + END), "disk_full")
    assert files(settings) == []


def test_a_full_store_is_refused_and_leaves_nothing(client, settings, monkeypatch):
    def full(descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    check_problem(post(client, CONSENT + FILM + END), "disk_full")
    assert files(settings) == []
    assert client.get("/v1/subjects").json()["items"] == []


@pytest.mark.parametrize("pause_s", [60, 0.05])
def test_a_body_that_stalls_or_trickles_is_refused(client, settings, monkeypatch, pause_s):
    monkeypatch.setattr(multipart, "STALL_S", 0.4)
    with raw(client) as connection:
        connection.sendall(head(99_999) + CONSENT)
        connection.settimeout(pause_s)
        for _ in range(100):
            try:
                assert connection.recv(1, socket.MSG_PEEK)
                break
            except TimeoutError:
                connection.sendall(b"x")
        with http.client.HTTPResponse(connection) as answer:
            answer.begin()
            body = json.loads(answer.read())
    assert (answer.status, body["code"]) == (408, "upload_stalled")
    assert files(settings) == []


def test_a_slow_upload_may_take_longer_than_a_stall(client, monkeypatch):
    """What a minute is to a body of gigabytes, half a second is to this one: it arrives a little above the lowest rate."""
    monkeypatch.setattr(multipart, "STALL_S", 0.5)
    monkeypatch.setattr(multipart, "STALL_BYTES", 500)
    content = CONSENT + FILM + END
    with raw(client) as connection:
        connection.sendall(head(len(content)))
        begun = time.monotonic()
        for start in range(0, len(content), 500):
            connection.sendall(content[start : start + 500])
            time.sleep(0.15)
        assert time.monotonic() - begun > 1.0
        with http.client.HTTPResponse(connection) as answer:
            answer.begin()
            assert answer.status == 202, answer.read()


def head(length: int) -> bytes:
    """The head of a form of `length` bytes."""
    fields = f"Host: localhost\r\nContent-Type: {FORM['content-type']}\r\nContent-Length: {length}\r\n\r\n"
    return f"POST /v1/subjects HTTP/1.1\r\n{fields}".encode()


def raw(client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=20)


def test_a_body_beyond_every_limit_is_too_large_even_if_the_disk_is_small(client, monkeypatch):
    monkeypatch.setattr(multipart.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    too_large = {"video": ("a.mp4", VIDEO + bytes(2_000_000))}
    check_problem(client.post("/v1/subjects", data={"consent": "yes"}, files=too_large), "file_too_large")
    check_problem(client.post("/v1/subjects", data={"consent": "yes"}, files={"video": ("a.mp4", VIDEO)}), "disk_full")


def test_the_headers_of_a_part_are_bounded_whatever_the_parser_passes_on():
    handler = multipart._MultipartHandler((), {}, lambda: None)
    for _ in range(2):  # parts
        handler.on_part_begin()
        for _ in range(multipart.PART_HEAD_BYTES // 1000):
            handler.on_header_value(bytes(1000), 0, 1000)
    with pytest.raises(Problem, match="16384 bytes"):
        handler.on_header_field(bytes(1000), 0, 1000)
