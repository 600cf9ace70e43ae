"""A worker renders preview frames, beside its jobs."""

import io
import tempfile
from datetime import timedelta

import pytest

from adnerf_core.config import Background, RenderOptions
from storage.database import queries
from storage.database.models import PreviewFrame, Subject, now
from storage.tables import preview_frames, removals
from tests.worker import stub_core
from worker.jobs import preview_frames as painting
from worker.jobs.preview_frames import PreviewRenderer


@pytest.fixture
def renderer(house):
    worker = house.worker()
    yield PreviewRenderer(worker.pipeline, worker.stopping)
    worker.lock.release()
    worker.database.close()


def ask(house, subject, options, background=None):
    with house.database.session() as session:
        row = queries.get(session, Subject, subject.id)
        return preview_frames.request(session, house.store, row, options.model_dump(mode="json"), background).digest


def found(house, digest):
    with house.database.session(write=False) as session:
        return preview_frames.find(session, digest)


def test_frames_are_rendered_with_their_options_and_picture(house, renderer, monkeypatch):
    subject = house.ready_subject()
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")  # where nobody removes what a killed worker leaves
    plain = ask(house, subject, RenderOptions())
    picture = house.store.put(f"subjects/{subject.id}/backgrounds/pic_1", io.BytesIO(b"png"))
    before = ask(house, subject, RenderOptions(frame="portrait", background=Background(kind="image")), picture)
    stub_core.LOADED.clear()
    renderer.render_pending()
    assert (found(house, plain).state, found(house, plain).picture) == ("succeeded", b"model None original")
    assert found(house, before).picture == b"model portrait imagepng"
    assert not house.store.exists(picture.key)
    assert len([run for run in stub_core.LOADED if run is not None]) == 1  # it stays loaded
    assert not renderer.render_next()


def test_a_frame_that_fails_says_why_and_the_next_is_rendered(house, renderer):
    subject = house.ready_subject()
    bad = ask(house, subject, RenderOptions(label="crash"))
    good = ask(house, subject, RenderOptions())
    renderer.render_pending()
    assert (found(house, bad).state, found(house, bad).error["code"]) == ("failed", "internal_error")
    assert found(house, good).state == "succeeded"


def test_a_subject_that_goes_takes_its_frames_along(house, renderer):
    subject = house.ready_subject()
    digest = ask(house, subject, RenderOptions())
    with house.database.session() as session:
        preview_frames.claim(session, subject.owner)
        preview_frames.forget(session, PreviewFrame.subject_id == subject.id)
        preview_frames.succeed(session, digest, b"late")
    assert found(house, digest) is None


def test_a_frame_whose_worker_is_lost_fails_and_is_not_rendered_again(house, renderer, monkeypatch):
    subject = house.ready_subject()
    digest = ask(house, subject, RenderOptions())
    with house.database.session() as session, monkeypatch.context() as patch:
        patch.setattr(preview_frames, "LEASE_S", -1.0)
        preview_frames.claim(session, subject.owner)
    assert not renderer.render_next()
    assert ask(house, subject, RenderOptions()) == digest
    assert (found(house, digest).state, found(house, digest).error["code"]) == ("failed", "worker_lost")


def test_a_frame_of_what_went_to_the_trash_is_not_rendered(house, renderer):
    subject = house.ready_subject()
    digest = ask(house, subject, RenderOptions())
    with house.database.session() as session:
        removals.trash(session, queries.get(session, Subject, subject.id), keep_s=60.0)
    renderer.render_pending()
    assert found(house, digest) is None


def test_the_frame_that_is_asked_for_stays_whatever_other_clocks_say(house, monkeypatch):
    subject = house.ready_subject()
    with monkeypatch.context() as ahead:
        ahead.setattr(queries, "now", lambda: now() + timedelta(hours=1))
        for yaw in range(preview_frames.QUEUED):
            ask(house, subject, RenderOptions(view={"yaw_deg": yaw}))
    assert found(house, ask(house, subject, RenderOptions())).state == "queued"


def test_the_subject_is_released_once_nobody_asks(house, renderer, monkeypatch):
    ask(house, house.ready_subject(), RenderOptions())
    renderer.render_pending()
    monkeypatch.setattr(painting, "IDLE_S", -1.0)
    stub_core.LOADED.clear()
    renderer.render_pending()
    assert stub_core.LOADED == [None]
