"""The file of a video: in ranges, on conditions, and missing from the store."""

from __future__ import annotations

import pytest

from tests.api.conftest import check_problem
from tests.api.routes.test_videos import FILM

SIZE = len(FILM)


@pytest.fixture
def subject(make):
    return make.ready_subject()


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299", 100, 300),
        ("bytes=1000-", 1000, SIZE),
        ("bytes=-500", SIZE - 500, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
        (f"bytes=5-{SIZE * 2}", 5, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        ("Bytes=7-8", 7, 9),
    ],
)
def test_a_range_returns_that_part(client, make, subject, asked, start, stop):
    path = make.ready_video(subject, FILM)["links"]["file"]
    answer = client.get(path, headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == FILM[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(stop - start)


def test_malformed_ranges_return_the_whole_file(client, make, subject):
    path = make.ready_video(subject, b"0123456789")["links"]["file"]
    for asked in (
        "bytes=",
        "bytes=-",
        "bytes=5-2",
        "bytes=a-b",
        "lines=1-2",
        "bytes=0-1,4-5",
        "x",
        "bytes=" + "9" * 9999,
    ):
        answer = client.get(path, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (200, b"0123456789"), asked
    assert client.head(path, headers={"Range": "bytes=2-3"}).headers["content-length"] == "10"


def test_a_range_beyond_the_end_cannot_be_satisfied(client, make, subject):
    path = make.ready_video(subject, b"0123456789")["links"]["file"]
    for asked in ("bytes=10-", "bytes=99-100", "bytes=-0"):
        answer = client.get(path, headers={"Range": asked})
        check_problem(answer, "range_not_satisfiable")
        assert answer.headers["content-range"] == "bytes */10"


def test_conditional_downloads(client, make, subject):
    path = make.ready_video(subject, b"0123456789")["links"]["file"]
    tag = client.get(path).headers["etag"]
    assert tag.startswith('"') and tag.endswith('"')
    for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        answer = client.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
    assert client.get(path, headers={"Range": "bytes=2-3", "If-Range": tag}).content == b"23"
    changed = client.get(path, headers={"Range": "bytes=2-3", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, b"0123456789")


def test_a_file_missing_from_the_object_store_is_not_found(client, make, settings, subject, caplog):
    video = make.ready_video(subject, b"0123456789")
    next(settings.objects.rglob("1.mp4")).unlink()
    answer = client.get(video["links"]["file"])
    check_problem(answer, "object_missing")
    assert "1.mp4" not in answer.text and "1.mp4" in caplog.text
