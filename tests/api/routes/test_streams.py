"""Watching a video while it is rendered: the playlist grows, belongs to one attempt, and ends with the video."""

from __future__ import annotations

import io

import httpx
import pytest

from api.app import create_app
from storage.database import queries
from storage.database.models import Video
from storage.tables import jobs, streams
from tests import hls
from tests.api.conftest import Maker, check_problem, serving
from tests.api.routes.test_links import keyed, link


class Rendering:
    """A video in work, of which a worker stores pieces."""

    def __init__(self, client, make):
        self.client, self.make = client, make
        self.video = make.video(make.ready_subject())
        self.path = self.video["links"]["self"]
        self._begin()

    def _begin(self):
        """A worker takes the job."""
        self.job, self.number = self.make.claim(), 0
        self.name = streams.new_name(self.job.attempt)

    def store(self, name):
        with self.make.database.session(write=False) as session:
            video = queries.get(session, Video, self.job.video_id)
        key = streams.folder(video, self.name) + name
        self.make.store.put(key, io.BytesIO(f"{name} of {self.job.attempt}".encode()))

    def add(self, frames):
        """One more segment, with which there are so many frames."""
        if self.number == 0:
            self.store(streams.HEADER)
        self.store(streams.segment(self.number))
        self.number += 1
        with self.make.database.session() as session:
            return streams.publish(session, self.make.store, self.job, self.name, frames)

    def lose(self):
        """Its worker is lost, and another takes the job."""
        with self.make.database.session() as session:
            jobs.sweep(session, lambda job: True)
        self._begin()

    def finish(self, frames):
        with self.make.database.session() as session:
            assert jobs.succeed(session, self.job.id, self.job.attempt, frames=frames)

    def link(self):
        return self.client.get(self.path).json()["links"]["stream"]


@pytest.fixture
def rendering(client, make):
    return Rendering(client, make)


def test_a_playlist_grows_as_the_standard_says(client, rendering):
    check_problem(client.get(f"{rendering.path}/stream.m3u8"), "not_found")
    assert rendering.link() is None
    rendering.add(2)
    link = rendering.link()
    assert link == f"{rendering.path}/stream.m3u8?attempt=1"
    answer = client.get(link)
    assert answer.headers["content-type"].startswith("application/vnd.apple.mpegurl")
    seen = hls.read(answer.text)
    assert (seen.segments, seen.ended) == ([(0.08, "stream/1/0.m4s")], False)
    assert "EXT-X-INDEPENDENT-SEGMENTS" in seen.tags
    for count, frames in enumerate((27, 52, 59), 2):
        rendering.add(frames)
        seen = hls.read(client.get(link).text, seen)
        assert len(seen.segments) == count and not seen.ended
    rendering.finish(59)
    whole = hls.read(client.get(rendering.link()).text, seen)
    assert whole.ended and [seconds for seconds, _ in whole.segments] == [0.08, 1.0, 1.0, 0.28]
    base = httpx.URL(client.base_url).join(link)
    uris = [whole.header, *(uri for _, uri in whole.segments)]
    pieces = [client.get(base.join(uri)) for uri in uris]
    assert [piece.text for piece in pieces] == [f"{uri.split('/')[-1]} of 1" for uri in uris]
    assert {piece.headers["content-type"] for piece in pieces} == {"video/mp4"}
    assert client.get(base.join(uris[1]), headers={"Range": "bytes=0-4"}).status_code == 206
    assert client.head(base.join(uris[1])).headers["content-length"] == str(len(pieces[1].content))


def test_the_segments_of_a_lost_worker_are_never_mixed_with_those_of_the_next(client, rendering, settings):
    rendering.add(2)
    rendering.add(27)
    before = rendering.link()
    segment = f"{rendering.path}/stream/1/1.m4s"
    assert client.get(segment).text == "1.m4s of 1"
    first = int(hls.read(client.get(before).text).tags["EXT-X-MEDIA-SEQUENCE"])
    lost = rendering.job, rendering.name
    rendering.lose()
    assert rendering.link() is None
    for path in (before, segment, f"{rendering.path}/stream.m3u8"):
        check_problem(client.get(path), "not_found")
    with rendering.make.database.session() as session:
        assert not streams.publish(session, rendering.make.store, *lost, 52), "a worker that was taken for dead"
    rendering.add(2)
    assert rendering.link() == f"{rendering.path}/stream.m3u8?attempt=2"
    for path in (before, segment):
        check_problem(client.get(path), "not_found")
    again = hls.read(client.get(f"{rendering.path}/stream.m3u8").text)
    assert again.segments == [(0.08, "stream/2/0.m4s")] and again.header.startswith("stream/2/")
    assert int(again.tags["EXT-X-MEDIA-SEQUENCE"]) > first + 1 + 7200
    assert {path.parent.name for path in settings.objects.rglob("*.m4s")} == {rendering.name}


def test_a_player_that_can_send_no_key_follows_a_signed_playlist(client, app, rendering):
    rendering.add(2)
    rendering.add(27)
    _, key = keyed(app)
    signed = f"{link(client, f'{rendering.path}/stream.m3u8', key)['url']}&attempt=1"
    seen = hls.read(client.get(signed).text)
    base = httpx.URL(client.base_url).join(signed)
    names = [client.get(base.join(uri)).text for uri in (seen.header, *(uri for _, uri in seen.segments))]
    assert names == ["init.mp4 of 1", "0.m4s of 1", "1.m4s of 1"]
    rendering.add(52)
    assert len(hls.read(client.get(signed).text, seen).segments) == 3
    access = base.query.decode()
    for wrong in (
        f"{rendering.path}/stream.m3u8",
        f"{rendering.path}/stream/1/0.m4s",
        f"{rendering.path}/file?{access}",
        f"/v1/videos/vid_other/stream/1/0.m4s?{access}",
    ):
        check_problem(client.get(wrong), "unauthorized")


def test_what_is_not_there_is_not_found(client, rendering):
    rendering.add(2)
    for name in ("1.m4s", "00.m4s", "-1.m4s", "0.mp4", "init.mp4.x", "99999999.m4s", "0.m4s%0A"):
        check_problem(client.get(f"{rendering.path}/stream/1/{name}"), "not_found")
    for attempt in ("2", "999999"):
        check_problem(client.get(f"{rendering.path}/stream.m3u8?attempt={attempt}"), "not_found")
    for wrong in ("0", "x", "1_0"):
        check_problem(client.get(f"{rendering.path}/stream.m3u8?attempt={wrong}"), "validation_failed")
        check_problem(client.get(f"{rendering.path}/stream/{wrong}/0.m4s"), "validation_failed")


def test_a_cancelled_video_is_not_shown_any_further(client, rendering):
    rendering.add(2)
    assert client.post(rendering.video["job"]["links"]["cancel"]).status_code == 200
    check_problem(client.get(f"{rendering.path}/stream.m3u8"), "not_found")
    check_problem(client.get(f"{rendering.path}/stream/1/0.m4s"), "not_found")


def test_after_a_withdrawal_nothing_is_shown(client, rendering):
    rendering.add(2)
    link = rendering.link()
    client.post(f"{rendering.video['links']['subject']}/withdraw-consent", json={"purge": False})
    for path in (link, f"{rendering.path}/stream/1/0.m4s"):
        check_problem(client.get(path), "consent_withdrawn")


@pytest.mark.parametrize("signed", [True, False])
def test_segments_in_a_bucket_are_read_by_signed_links_where_clients_can_reach_it(settings, s3_settings, signed):
    app = create_app(settings.replace(**s3_settings | ({} if signed else {"s3_public_url": ""})))
    with serving(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        rendering = Rendering(client, Maker(client, app))
        rendering.add(2)
        assert hls.read(client.get(rendering.link()).text).segments == [(0.08, "stream/1/0.m4s")]
        answer = client.get(f"{rendering.path}/stream/1/0.m4s")
        assert answer.status_code == (307 if signed else 200)
        if signed:
            answer = httpx.get(answer.headers["location"])  # without the key
        assert (answer.text, answer.headers["content-type"]) == ("0.m4s of 1", "video/mp4")


@pytest.mark.parametrize(
    ("attempt", "name", "folder"), [(1, None, "1"), (2, "1-0a1b2c3d", "2"), (2, "2-0a1b2c3d", "2-0a1b2c3d")]
)
def test_the_segments_of_a_worker_of_an_earlier_version_are_found(attempt, name, folder):
    video = Video(id="vid_1", subject_id="sub_1", stream_attempt=attempt, stream_name=name)
    assert streams.folder_shown(video) == f"subjects/sub_1/videos/vid_1/stream/{folder}/"
