"""A video that can be watched while it is rendered. The stub core, whose segments say which process made them; in one test real media."""

from __future__ import annotations

import subprocess
import threading

import httpx

from adnerf_core.config import FPS
from adnerf_core.files import ffmpeg
from api.app import create_app
from api.responses.playlist import playlist
from api.services import jobs as job_service
from api.services import streams as use_cases
from storage.database.models import now
from storage.errors import NotFound, StoreFull
from storage.tables import jobs, streams
from tests import hls
from tests.api.conftest import serving
from tests.page.core import order, write_tone
from worker.jobs import video_stream

FRAMES = [2, 25, 25, 25, 25, 12]


def segments(house):
    """What is stored of streams, by key."""
    found = {}
    for key in house.objects():
        if "/stream/" in key:
            with house.store.open(key) as file:
                found[key] = file.read()
    return found


def shown(house, video):
    """What can be watched of a video; None if nothing can."""
    try:
        return house.read(lambda session, owner: use_cases.stream(session, video.id, None, owner=owner))
    except NotFound:
        return None


def expire(house):
    with house.database.session() as session:
        streams.expire(session, house.store)


def test_a_video_is_watched_until_it_is_whole_and_then_its_segments_go(house, monkeypatch):
    video = house.submit_video(house.ready_subject().id, watch=FRAMES, steps=6, pause=0.2)
    worker = house.worker()
    thread = threading.Thread(target=worker.run_next)
    thread.start()
    seen = house.until(lambda: (now := shown(house, video)) and now.frames >= 27 and now)
    assert not seen.ended and house.video(video).state == "rendering"
    before = playlist(seen)
    thread.join()
    worker.close()
    whole = shown(house, video)
    assert (whole.attempt, whole.frames, whole.ended) == (1, sum(FRAMES), True)
    assert playlist(whole).startswith(before) and playlist(whole).count("#EXTINF") == len(FRAMES)
    assert len(segments(house)) == len(FRAMES) + 1
    expire(house)
    assert shown(house, video) == whole, "who watches it reaches the end"
    monkeypatch.setattr(streams, "KEPT_S", 0.0)
    expire(house)
    assert shown(house, video) is None and segments(house) == {}
    assert house.video(video).state == "ready"


def test_a_killed_worker_leaves_no_segment_to_its_successor(house):
    video = house.submit_video(house.ready_subject().id, watch=FRAMES, steps=6, pause=0.3)
    worker = house.start()
    first = house.until(lambda: (now := shown(house, video)) and now.frames >= 52 and now)
    worker.kill()
    worker.wait()
    successor = house.start()
    second = house.until(lambda: (now := shown(house, video)) and now.attempt == 2 and now)
    assert (first.attempt, second.frames < first.frames) == (1, True)
    house.until(lambda: house.video(video).state == "ready")
    assert shown(house, video) == (2, sum(FRAMES), True)
    stored = segments(house)
    assert len(stored) == len(FRAMES) + 1
    assert all("/stream/2-" in key for key in stored)
    assert all(f"of process {successor.pid}" in text.decode() for text in stored.values() if text != b"header")


class Player:
    """Reads a stream as players do: the playlist again and again, each segment once."""

    def __init__(self, client, link):
        self.client, self.url = client, httpx.URL(client.base_url).join(link)
        self.playlist, self.files = None, {}

    def look(self):
        """Reads what there is now; returns the playlist."""
        self.playlist = hls.read(self.client.get(self.url).raise_for_status().text, self.playlist)
        for uri in (self.playlist.header, *(uri for _, uri in self.playlist.segments)):
            if uri not in self.files:
                self.files[uri] = self.client.get(self.url.join(uri)).raise_for_status().content
        return self.playlist

    def pictures(self):
        """The number of pictures that were read; all are decoded."""
        lengths, uris = zip(*self.playlist.segments, strict=True)
        header, *segments = (self.files[uri] for uri in (self.playlist.header, *uris))
        found = hls.check_media(header, segments, lengths)
        command = [ffmpeg.ffmpeg_path(), "-v", "error", "-xerror", "-i", "-", "-map", "0:v", "-f", "framecrc", "-"]
        done = subprocess.run(command, input=b"".join((header, *segments)), capture_output=True, check=True)
        assert not done.stderr
        count = done.stdout.decode().count("\n0,")
        assert count == sum(each["vide"].samples for each in found)
        return count


def test_a_player_gets_a_whole_stream_although_a_worker_is_killed_in_the_middle(house, tmp_path):
    seconds = 4
    sound = order(write_tone(tmp_path / "say.wav", seconds), frame_pause=0.03).read_bytes()
    video = house.submit_video(house.ready_subject().id, audio=sound)
    path = f"/v1/videos/{video.id}"
    with serving(create_app(house.settings)) as url, httpx.Client(base_url=url, timeout=30) as client:

        def link():
            return client.get(path).json()["links"]["stream"]

        worker = house.start("drawing_worker")
        first = Player(client, house.until(link))
        house.until(lambda: len(first.look().segments) >= 3)
        worker.kill()
        worker.wait()
        assert 0 < first.pictures() < seconds * FPS and not first.playlist.ended
        house.start("drawing_worker")
        second = Player(client, house.until(lambda: (now := link()) and "attempt=2" in now and now))
        assert client.get(first.url).status_code == 404
        assert all(client.get(first.url.join(uri)).status_code == 404 for uri in first.files)
        house.until(lambda: second.look().ended)
    assert all(uri.startswith("stream/2/") for uri in second.files)
    assert second.pictures() == seconds * FPS == house.video(video).frames


def test_what_is_cancelled_cannot_be_watched_and_is_deleted(house):
    video = house.submit_video(house.ready_subject().id, watch=FRAMES, steps=6, pause=0.3)
    worker = house.worker()
    thread = threading.Thread(target=worker.run_next)
    thread.start()
    house.until(lambda: shown(house, video))
    house.write(job_service.cancel_job, video.job.id)
    assert shown(house, video) is None
    thread.join()
    worker.close()
    assert segments(house)
    expire(house)
    assert segments(house) == {}


def test_a_store_that_refuses_ends_the_stream_and_not_the_video(house, monkeypatch, caplog):
    video = house.submit_video(house.ready_subject().id, watch=FRAMES, steps=6)
    worker = house.worker()
    put = worker.pipeline.store.put

    def refuse(key, source):
        if key.endswith("/2.m4s"):
            raise StoreFull("No space left in the object store.")
        return put(key, source)

    monkeypatch.setattr(worker.pipeline.store, "put", refuse)
    worker.run_next()
    worker.close()
    assert house.video(video).state == "ready" and shown(house, video) is None
    assert "cannot be watched any further: No space left" in caplog.text


def test_segments_of_unexpected_lengths_end_the_stream(house, caplog):
    """The playlist would name lengths that are not those of the segments."""
    video = house.submit_video(house.ready_subject().id, watch=[2, 24, 25], steps=3)
    house.work()
    assert house.video(video).state == "ready" and shown(house, video) is None
    assert "is not the last" in caplog.text


def test_the_encoder_does_not_wait_for_a_store_that_hangs(house, monkeypatch, caplog):
    monkeypatch.setattr(video_stream, "PENDING", 2)
    monkeypatch.setattr(video_stream, "PATIENCE_S", 0.05)
    monkeypatch.setattr(video_stream, "END_S", 0.2)
    video = house.submit_video(house.ready_subject().id, watch=FRAMES, steps=6)
    worker, released = house.worker(), threading.Event()
    put = worker.pipeline.store.put
    monkeypatch.setattr(
        worker.pipeline.store,
        "put",
        lambda key, file: (not key.endswith("m4s") or released.wait(60)) and put(key, file),
    )
    started = now()
    worker.run_next()
    assert house.video(video).state == "ready" and (now() - started).total_seconds() < 20
    released.set()
    worker.close()
    assert shown(house, video) is None and "too slow" in caplog.text


def test_a_cancelled_video_does_not_wait_for_its_last_pieces(house, monkeypatch):
    monkeypatch.setattr(video_stream, "END_S", 60.0)
    house.submit_video(house.ready_subject().id, watch=FRAMES, steps=6)
    worker, released = house.worker(), threading.Event()

    job = house.newest_job()

    def hang(key, file):
        with house.database.session() as session:
            jobs.cancel(session, job.id)
        released.wait(60)

    monkeypatch.setattr(worker.pipeline.store, "put", hang)
    started = now()
    worker.run_next()
    assert house.job(job).state == "cancelled" and (now() - started).total_seconds() < 20
    released.set()
    worker.close()


def test_an_operator_can_do_without(settings, house):
    house.settings = settings.replace(streams=False)
    video = house.submit_video(house.ready_subject().id, idle_s=1.0)
    house.work()
    assert house.video(video).state == "ready" and segments(house) == {} and shown(house, video) is None
