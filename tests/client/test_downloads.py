"""Downloads: interrupted, stopped, damaged, on a full disk; the file is complete or absent."""

from __future__ import annotations

from hashlib import sha256
from types import SimpleNamespace

import httpx
import pytest

from adnerf_client import Client, Problem, Unreachable
from adnerf_client.errors import BadUse, Damaged, NoSpace
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
    to.with_name(f"a.mp4.{digest(content)}.part").write_bytes(partial)
    assert client.videos.download(video, to).read_bytes() == content


def test_a_complete_partial_file_needs_no_transfer(service, wire, large, tmp_path):
    video, content = large
    client = service.client(transport=wire)
    to = client.videos.download(video, tmp_path / "a.mp4")
    to.rename(to.with_name(f"b.mp4.{digest(content)}.part"))
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


class Previews:
    """A service whose preview is another one at each request of `changes`; it honours Range and If-Range as RFC 9110 says."""

    def __init__(self, *pictures: bytes, changes: str = "", tagged: bool = True, cut: int = 0):
        self.pictures, self.changes, self.tagged, self.cut = list(pictures), changes, tagged, cut
        self.gets: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answers; after the answer to a request with the method `changes` the next picture is there."""
        picture = self.pictures[0]
        tag = f'"job_0198c2a4b1d0f0e1d2c3b4a5968778695a4b-{len(self.pictures)}"'
        headers = {"ETag": tag} if self.tagged else {}
        if request.method == self.changes and len(self.pictures) > 1:
            self.pictures.pop(0)
        if request.method == "HEAD":
            return httpx.Response(200, headers={**headers, "Content-Length": str(len(picture))})
        self.gets.append(request)
        first = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if request.headers.get("If-Range", tag) != tag:
            first = 0
        if first >= len(picture):
            return httpx.Response(416, json={})
        headers |= {"Content-Length": str(len(picture) - first)}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(picture) - 1}/{len(picture)}"
        return httpx.Response(206 if first else 200, headers=headers, stream=Pieces(picture[first:], self._broken()))

    def _broken(self) -> int:
        cut, self.cut = self.cut, 0
        return cut

    def save(self, to, subject="sub_1", patience_s=60.0):
        """Downloads the preview with a client of its own."""
        with Client("http://service", transport=httpx.MockTransport(self), patience_s=patience_s) as client:
            return client.subjects.preview(subject, to).read_bytes()


class Pieces(httpx.SyncByteStream):
    """A body that breaks off after `cut` bytes, if that is not 0."""

    def __init__(self, content: bytes, cut: int):
        self.content, self.cut = content, cut

    def __iter__(self):
        if self.cut:
            yield self.content[: self.cut]
            raise httpx.ReadError("cut")
        yield self.content


@pytest.fixture
def no_pauses(monkeypatch):
    pauses = []
    only_here = SimpleNamespace(sleep=pauses.append)  # threads of other tests sleep too
    monkeypatch.setattr("adnerf_client.downloads.time", only_here)
    return pauses


@pytest.mark.parametrize("sizes", [(3, 5), (5, 3), (4, 4)])
def test_a_preview_that_is_replaced_before_its_bytes_are_sent(tmp_path, no_pauses, sizes):
    old, new = (bytes([number]) * size * 1000 for number, size in enumerate(sizes))
    service = Previews(old, new, changes="HEAD")
    assert service.save(tmp_path / "p.jpg") == new
    assert len(service.gets) == 2 and len(no_pauses) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["p.jpg"]


@pytest.mark.parametrize("tagged", [True, False])
def test_a_cut_preview_is_not_continued_with_another_one(tmp_path, no_pauses, tagged):
    pieces = 300 << 10  # more than one chunk
    old, new = b"a" * 2 * pieces, b"b" * 2 * pieces
    service = Previews(old, new, changes="GET", cut=pieces, tagged=tagged)
    assert service.save(tmp_path / "p.jpg") == new


def test_a_cut_preview_is_continued_while_it_is_the_same(tmp_path, no_pauses):
    picture = bytes(range(256)) * 4000
    service = Previews(picture, cut=300 << 10)
    assert service.save(tmp_path / "p.jpg") == picture
    first, second = service.gets
    assert "Range" not in first.headers
    assert int(second.headers["Range"][6:-1]) > 0 and second.headers["If-Range"].startswith('"job_')


def test_a_preview_that_changes_again_and_again_is_given_up(tmp_path, no_pauses):
    service = Previews(*(bytes(1000 + number) for number in range(50)), changes="HEAD")
    with pytest.raises(Damaged, match="changed"):
        service.save(tmp_path / "p.jpg")
    assert len(service.gets) == 6 and no_pauses == [0.25, 0.5, 1, 2, 4, 8]
    assert list(tmp_path.iterdir()) == []


def test_a_piece_of_the_preview_before_is_not_used(tmp_path, no_pauses):
    picture = b"b" * 2000
    (tmp_path / "p.jpg.job_0198c2a4b1d0.part").write_bytes(b"a" * 1000)
    assert Previews(picture).save(tmp_path / "p.jpg") == picture


def test_a_piece_of_another_subjects_preview_is_not_used(tmp_path, no_pauses):
    with pytest.raises(Unreachable):
        Previews(b"a" * (2 * MIB), cut=MIB).save(tmp_path / "p.jpg", patience_s=0)
    assert len(list(tmp_path.glob("p.jpg.*.part"))) == 1
    picture = b"b" * (2 * MIB)
    service = Previews(picture)  # with the same ETag
    assert service.save(tmp_path / "p.jpg", "sub_2") == picture and "Range" not in service.gets[0].headers


def test_a_long_name_is_saved(tmp_path, no_pauses):
    assert Previews(b"b").save(tmp_path / ("n" * 250)) == b"b"
