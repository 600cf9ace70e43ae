"""Verifying: files made here, changed files, strangers' files; with real pictures, marks, signatures and ffmpeg."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
import time
from datetime import timedelta
from types import SimpleNamespace
from unittest.mock import Mock

import ffmpeg
import numpy as np
import pytest

from adnerf_core.config import ViewChange
from adnerf_core.files.ffmpeg import ffmpeg_path, write_video
from adnerf_core.watermark.embed import WatermarkEmbedder
from api.services import videos
from api.services.verifications import submit_verification
from storage.database import queries
from storage.database.models import LOCAL, Subject, Verification, Video, now
from storage.errors import StoreAway
from storage.settings import bare_environment
from storage.tables import verifications
from tests.incoming import incoming
from tests.worker.conftest import PLAIN
from tests.worker.stub_core import CORE
from worker.processes.polling import PollingWorker
from worker.provenance import inspection, verifier
from worker.provenance.provenance import Provenance
from worker.provenance.verifier import Verifier

SIZE = 160


def scene(seconds):
    """Frames of something that moves a little before a wall with a texture."""
    rng = np.random.default_rng(1)
    rows, cols = np.mgrid[:SIZE, :SIZE] / SIZE
    wall = 110 + 50 * cols + rng.normal(0, 6, (SIZE, SIZE))
    for k in range(seconds * 25):
        sway = 0.5 + 0.02 * np.sin(k / 17)
        head = 1 / (1 + np.exp(np.hypot(rows - 0.5, cols - sway) * 60 - 15))
        gray = wall * (1 - head) + head * (170 + 30 * np.sin(9 * rows + 0.2 * np.sin(k / 5)))
        yield np.dstack([gray, gray * 0.9, gray * 0.8]).clip(0, 255).astype(np.uint8)


def render(run, audio, out, options, progress, *, mark, **others):
    seconds = json.loads(audio.read_bytes()).get("seconds", 10)
    write_video(out, WatermarkEmbedder(mark.number, mark.key, SIZE, SIZE).over(scene(seconds)), fps=25)
    frame = options.frame or "full"
    return SimpleNamespace(frame=frame, frames=250, duration_s=10.0, width=SIZE, height=SIZE, view=ViewChange())


SEALING = dataclasses.replace(CORE, render=render, provenance=Provenance)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """What `render` makes without a mark."""
    path = tmp_path_factory.mktemp("scene") / "plain.mp4"
    write_video(path, scene(3), fps=25)
    return path


def made(house, options=PLAIN, **orders):
    """A video that was rendered, marked and signed, as row and as bytes."""
    video = house.submit_video(house.ready_subject().id, options=options, **orders)
    worker = PollingWorker(house.settings, SEALING)
    assert worker.run_next()
    worker.close()
    video = house.read(videos.video_file, video.id)
    with house.store.open(video.file_key) as file:
        return video, file.read()


def verify(house, content, owner=LOCAL):
    """The verification of a file, answered."""
    with house.database.session() as session:
        row = submit_verification(
            session, house.store, house.settings, owner=owner, video=incoming(house.store, content)
        )
    assert Verifier(house.settings, house.database, house.store).verify_next()
    return house.read(queries.get, Verification, row.id, owner=owner)


def changed(content, folder, **how):
    """A file after ffmpeg has written it anew."""
    source, out = folder / "before.mp4", folder / "after.mp4"
    source.write_bytes(content)
    ffmpeg.output(ffmpeg.input(str(source))["v"], str(out), **how).overwrite_output().run(cmd=ffmpeg_path(), quiet=True)
    return out.read_bytes()


def test_what_was_made_here_is_known_again_by_both_ways(house, tmp_path):
    video, content = made(house)
    whole = verify(house, content).findings
    assert whole["credentials"]["ours"] is True
    assert (whole["credentials"]["video_id"], whole["mark"]["video_id"]) == (video.id, video.id)
    assert whole["mark"]["false_alarm"] < 1e-9

    subject = house.read(queries.get, Subject, video.subject_id)
    assert whole["credentials"]["source_type"] == "compositeWithTrainedAlgorithmicMedia"
    assert whole["credentials"]["footage_sha256"] == subject.footage_sha256 is not None

    copied = verify(house, changed(content, tmp_path, c="copy"))  # strips the credentials
    assert (copied.findings["credentials"]["present"], copied.findings["mark"]["video_id"]) == (False, video.id)

    small = changed(content, tmp_path, vcodec="libx264", crf=28, vf=f"scale={SIZE * 3 // 4}:-2")
    recoded = verify(house, small)
    assert (recoded.findings["credentials"]["present"], recoded.made_id) == (False, video.id)

    broken = bytearray(content)
    broken[-2000] ^= 1
    found = verify(house, bytes(broken)).findings
    assert (found["credentials"]["valid"], found["credentials"]["ours"]) == (False, False)
    assert found["mark"]["video_id"] == video.id

    assert [key for key in house.objects() if key.startswith(verifications.PREFIX)] == []
    assert list((house.settings.work / "verifications").iterdir()) == []

    house.write(videos.delete_video, house.store, video.id)
    gone = verify(house, content)
    assert (gone.findings["credentials"]["ours"], gone.findings["mark"]["video_id"], gone.made_id) == (True, None, None)
    assert gone.findings["made_at"] == whole["credentials"]["created_at"]


def test_a_webm_is_known_by_its_bytes(house):
    video, content = made(house, PLAIN.model_copy(update={"format": "webm"}), seconds=1)
    assert video.credentials_key in house.objects()
    answer = verify(house, content)
    assert (answer.findings["credentials"]["ours"], answer.made_id) == (True, video.id)
    assert verify(house, content + b"\0").findings["credentials"]["present"] is False
    house.write(videos.delete_video, house.store, video.id)
    assert [key for key in house.objects() if "/videos/" in key] == []


def test_what_was_not_made_here_is_not_known(house, clip):
    found = verify(house, clip.read_bytes())
    assert (found.state, found.made_id) == ("succeeded", None)
    assert (found.findings["credentials"]["present"], found.findings["mark"]) == (False, None)


@pytest.mark.parametrize(
    "content",
    [b"\x00\x00\x00\x18ftypmp42" + bytes(3000), b"\x1aE\xdf\xa3" + b"x" * 500, b"#EXTM3U\nfile:///etc/passwd\n"],
    ids=["empty mp4", "broken webm", "playlist"],
)
def test_what_is_no_video_is_refused_with_a_reason(house, content):
    answer = verify(house, content)
    assert (answer.state, answer.error["code"], answer.findings) == ("failed", "not_media", None)
    assert "passwd" not in json.dumps(answer.error)
    assert house.objects() == []


def test_a_file_that_takes_too_long_or_too_much_is_given_up(house, clip, monkeypatch):
    monkeypatch.setattr(inspection, "WALL_S", 0.05)
    before = time.monotonic()
    assert verify(house, clip.read_bytes()).error["code"] == "file_too_complex"
    assert time.monotonic() - before < 60


def test_an_inspection_that_crashes_is_told_apart_from_one_that_takes_too_much(clip):
    order = {"chains": {}, "manifest": None, "mark_key": "no key"}
    assert inspection.inspect(clip, order, threading.Event())["error"]["code"] == "inspection_failed"
    ends = [(-signal.SIGSEGV, b""), (1, b"ValueError: no"), (-signal.SIGXCPU, b""), (1, b"MemoryError: no")]
    reasons = [inspection._reason(*end)["code"] for end in ends]
    assert reasons == ["inspection_failed"] * 2 + ["file_too_complex"] * 2


def test_a_worker_that_dies_leaves_the_file_to_another_one_three_times(house, clip, monkeypatch):
    def die(*_):
        raise SystemExit

    monkeypatch.setattr(verifier, "inspect", die)
    monkeypatch.setattr(verifications, "LEASE_S", -1.0)
    with house.database.session() as session:
        row = submit_verification(
            session, house.store, house.settings, owner=LOCAL, video=incoming(house.store, b"film")
        )
    looker = Verifier(house.settings, house.database, house.store)
    for attempt in (1, 2, 3):
        with pytest.raises(SystemExit):
            looker.verify_next()
        assert house.read(queries.get, Verification, row.id).attempt == attempt
    assert not looker.verify_next()
    assert house.read(queries.get, Verification, row.id).error["code"] == "worker_lost"


def test_a_worker_that_stops_releases_the_file_at_once_and_no_attempt_is_counted(house, clip, monkeypatch):
    with house.database.session() as session:
        row = submit_verification(
            session, house.store, house.settings, owner=LOCAL, video=incoming(house.store, clip.read_bytes())
        )
    worker = house.worker()
    thread = threading.Thread(target=worker.verifier.verify_pending)
    thread.start()
    house.until(lambda: list((house.settings.work / "verifications").glob("*/file")))
    began = time.monotonic()
    worker.stopping.set()
    thread.join(5)
    worker.close()
    assert time.monotonic() - began < 5 and not thread.is_alive()
    row = house.read(queries.get, Verification, row.id)
    assert (row.state, row.attempt, row.max_attempts) == ("queued", 1, verifications.MAX_ATTEMPTS + 1)
    assert Verifier(house.settings, house.database, house.store).verify_next()
    assert house.read(queries.get, Verification, row.id).state == "succeeded"


def test_a_store_that_is_away_costs_no_attempt(house, clip, monkeypatch):
    with house.database.session() as session:
        row = submit_verification(
            session, house.store, house.settings, owner=LOCAL, video=incoming(house.store, clip.read_bytes())
        )
    looker = Verifier(house.settings, house.database, house.store)
    with monkeypatch.context() as away:
        away.setattr(house.store, "fetch", Mock(side_effect=StoreAway("The object store does not answer.")))
        for _ in range(verifications.MAX_ATTEMPTS + 1):
            with pytest.raises(StoreAway):
                looker.verify_next()
    assert looker.verify_next()
    row = house.read(queries.get, Verification, row.id)
    assert (row.state, row.attempt) == ("succeeded", verifications.MAX_ATTEMPTS + 2)


def test_a_worker_whose_clock_is_ahead_takes_no_file_from_a_living_one(house, monkeypatch):
    with house.database.session() as session:
        row = submit_verification(
            session, house.store, house.settings, owner=LOCAL, video=incoming(house.store, b"film")
        )
    with house.database.session() as session:
        verifications.claim(session)
    monkeypatch.setattr(queries, "now", lambda: now() + timedelta(hours=1))
    looker = Verifier(house.settings, house.database, house.store)
    assert not looker.verify_next() and not looker.verify_next()
    row = house.read(queries.get, Verification, row.id)
    assert (row.state, row.attempt) == ("running", 1)


def test_a_late_answer_is_thrown_away(house):
    with house.database.session() as session:
        row = submit_verification(
            session, house.store, house.settings, owner=LOCAL, video=incoming(house.store, b"film")
        )
    with house.database.session() as session:
        first = verifications.claim(session)
    with house.database.session() as session:
        assert verifications.claim(session, lost=[(row.id, 1)]).attempt == 2
        first.attempt = 1
        assert not verifications.fail(session, first, {"code": "late"})


def test_a_late_answer_leaves_the_file_to_the_attempt_that_looks_at_it(house, clip, monkeypatch):
    def late(*_):
        with house.database.session() as session:
            assert verifications.claim(session, lost=[(row.id, 1)]).attempt == 2
        return {"error": {"code": "late", "message": "", "remedy": ""}}

    monkeypatch.setattr(verifier, "inspect", late)
    with house.database.session() as session:
        row = submit_verification(
            session, house.store, house.settings, owner=LOCAL, video=incoming(house.store, b"film")
        )
    assert Verifier(house.settings, house.database, house.store).verify_next()
    row = house.read(queries.get, Verification, row.id)
    assert (row.state, row.attempt, row.error) == ("running", 2, None)
    assert house.objects() == [row.file_key]


def test_answers_and_files_go_after_a_while(house, monkeypatch):
    with house.database.session() as session:
        submit_verification(session, house.store, house.settings, owner=LOCAL, video=incoming(house.store, b"film"))
    worker = house.worker()
    worker.object_cleaner.grace_s = 0.0
    assert worker.object_cleaner.run_batch() == []
    monkeypatch.setattr(verifications, "RETENTION_S", 0.0)
    with house.database.session() as session:
        row = verifications.claim(session)  # it waits still, however long ago it was accepted
    scratch = house.settings.work / "verifications"
    left, used = scratch / "ver_1-1", scratch / f"{row.id}-1"  # the first of a process that was killed
    for folder in (left, used):
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))  # as after a leap of the clock
    worker._clean_up()
    assert list(scratch.iterdir()) == [used]
    with house.database.session() as session:
        assert verifications.fail(session, row, {"code": "c", "message": "m", "remedy": "r"})
    worker._clean_up()
    with house.database.session() as session:
        assert session.query(Verification).count() == 0
    assert not list(scratch.iterdir())
    worker.close()
    assert house.objects() == []


def test_every_video_has_a_number_of_its_own(house):
    subject = house.ready_subject()
    marks = [house.video(house.submit_video(subject.id)).mark for _ in range(5)]
    assert len(set(marks)) == 5
    with house.database.session(write=False) as session:
        assert session.query(Video).count() == 5


def test_who_looks_at_strange_files_knows_no_secrets(monkeypatch):
    monkeypatch.setenv("ADNERF_DATABASE_URL", "postgresql://ann:secret@db/adnerf")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    given = bare_environment()
    assert "PATH" in given and not any("secret" in value for value in given.values())
