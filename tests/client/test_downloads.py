"""Downloads: interrupted, stopped, damaged, on a full disk; the file is complete or absent."""

from __future__ import annotations

from hashlib import sha256

import pytest

from adnerf_client import Problem, Unreachable
from adnerf_client.errors import BadUse, NoSpace
from tests.api.conftest import empty_database  # noqa: F401 (a fixture)
from tests.client.conftest import CONSENT, a_service

MIB = 1 << 20


@pytest.fixture(scope="module")
def library(tmp_path_factory, empty_database):  # noqa: F811
    """A service with a video of more than 24 MiB (more than the socket buffers hold), the video, and its bytes."""
    with a_service(tmp_path_factory.mktemp("library"), empty_database) as service:
        service.start_worker()
        video = service.ready_video(service.client(), padding="p" * (12 * MIB))
        (file,) = service.settings.objects.rglob("*.mp4")
        assert video.size_bytes == file.stat().st_size > 24 * MIB
        yield service, video, file.read_bytes()


@pytest.fixture
def service(library):
    return library[0]


@pytest.fixture
def large(library):
    return library[1:]


def digest(content):
    return sha256(content).hexdigest()


def ranges(wire):
    return [request.headers.get("Range") for request in wire.sent if request.method == "GET"]


def test_a_download_continues_after_a_lost_connection(service, wire, large, tmp_path):
    video, content = large
    whole = [True]

    def cut(done, total):
        assert total == len(content)
        if whole and done >= MIB:
            whole.clear()
            service.cable.cut()
            service.cable.mend()

    saved = service.client(transport=wire).videos.download(video, tmp_path / "a.mp4", progress=cut)
    assert saved.read_bytes() == content
    first, second = ranges(wire)
    assert first is None and MIB <= int(second.removeprefix("bytes=").removesuffix("-")) < len(content)
    assert [path.name for path in tmp_path.glob("a.mp4*")] == ["a.mp4"]


def test_a_later_download_continues_a_stopped_one(service, client, wire, large, tmp_path):
    video, content = large

    def stop(done, total):
        if done > MIB:
            raise KeyboardInterrupt

    to = tmp_path / "a.mp4"
    with pytest.raises(KeyboardInterrupt):
        client.videos.download(video, to, progress=stop)
    assert not to.exists() and len(list(tmp_path.glob("a.mp4.*.part"))) == 1
    bytes_done = []
    service.client(transport=wire).videos.download(video.id, to, progress=lambda done, total: bytes_done.append(done))
    assert to.read_bytes() == content and bytes_done[0] > MIB and None not in ranges(wire)
    assert list(tmp_path.glob("a.mp4.*")) == []


@pytest.mark.parametrize("partial", [b"x" * 1000, b"x" * (6 * MIB)])
def test_a_damaged_partial_file_is_downloaded_again(client, large, partial, tmp_path):
    video, content = large
    to = tmp_path / "a.mp4"
    to.with_name(f"a.mp4.{digest(content)[:16]}.part").write_bytes(partial)
    assert client.videos.download(video, to).read_bytes() == content


def test_a_complete_partial_file_needs_no_transfer(service, wire, large, tmp_path):
    video, content = large
    client = service.client(transport=wire)
    to = client.videos.download(video, tmp_path / "a.mp4")
    to.rename(to.with_name(f"b.mp4.{digest(content)[:16]}.part"))
    before = len(ranges(wire))
    assert client.videos.download(video, tmp_path / "b.mp4").read_bytes() == content
    assert len(ranges(wire)) == before


def test_an_existing_file_is_replaced_only_by_a_complete_one(service, client, large, tmp_path):
    video, content = large
    to = tmp_path / "a.mp4"
    to.write_bytes(b"older")
    service.stop()
    with pytest.raises(Unreachable, match="does not answer"):
        service.client(patience_s=0.2).videos.download(video, to)
    assert to.read_bytes() == b"older"
    service.start()
    assert client.videos.download(video, to).read_bytes() == content


def test_a_disk_without_space_is_noticed_before_the_transfer(client, large, small_disk):
    video, _ = large
    with pytest.raises(NoSpace, match="more bytes") as caught:
        client.videos.download(video, small_disk / "a.mp4")
    assert caught.value.code == "no_space" and list(small_disk.iterdir()) == []


def test_a_disk_that_becomes_full_leaves_no_partial_file(client, large, small_disk, monkeypatch):
    """Another program fills the disk during the download."""
    video, _ = large
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1 << 40}))
    with pytest.raises(NoSpace, match="full"):
        client.videos.download(video, small_disk / "a.mp4")
    assert list(small_disk.iterdir()) == []


def test_paths_that_cannot_be_files_are_refused(client, large, tmp_path):
    video, _ = large
    for place in (tmp_path, tmp_path / "nowhere" / "a.mp4"):
        with pytest.raises(BadUse, match="cannot be a file"):
            client.videos.download(video, place)


def test_a_preview_that_does_not_exist_yet_raises_and_saves_nothing(service, client, tmp_path):
    subject = client.subjects.create(service.file(steps=100_000, pause=0.01), consent=CONSENT)
    to = tmp_path / "p.jpg"
    with pytest.raises(Problem) as caught:
        client.subjects.preview(subject, to)
    assert caught.value.code in ("preview_not_ready", "http_404") and not to.exists()
    client.subjects.delete(subject)
