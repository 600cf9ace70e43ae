"""Preview frames, with the test in the place of the worker."""

import json
import threading

import pytest

from api.routes import preview_frames as routes
from storage import object_places
from storage.database.models import PreviewFrame
from storage.tables import preview_frames
from tests.api.conftest import PNG, check_problem


@pytest.fixture
def path(make):
    return f"/v1/subjects/{make.ready_subject()['id']}/preview-frame"


def paint(app, picture=b"jpeg"):
    """Renders the newest frame that waits; its options, and the key of its background."""
    with app.state.database.session() as session:
        frame = preview_frames.claim(session, "local")
        preview_frames.succeed(session, frame.digest, picture)
        return frame.options, frame.background_key


def backgrounds(app, path):
    """The keys of the backgrounds that are stored for the subject."""
    folder = path.removeprefix("/v1/").removesuffix("preview-frame") + "backgrounds/"
    return [*app.state.store.keys(older_than_s=-60, prefix=folder)]


def test_a_frame_is_rendered_once_and_equal_requests_get_it_again(client, app, path, monkeypatch):
    monkeypatch.setattr(routes, "WAIT_S", 0.0)
    form = {"options": '{"view": {"yaw_deg": 5}, "label": true}'}
    later = client.post(path, files={name: (None, text) for name, text in form.items()})
    assert (later.status_code, later.json(), later.headers["retry-after"]) == (202, {"state": "queued"}, "1")
    options, background = paint(app)
    assert (options["view"]["yaw_deg"], options["label"], background) == (5, True, None)
    same = client.post(path, json={"options": {"label": True, "view": {"yaw_deg": 5.0}, "captions": {"file": "srt"}}})
    assert (same.status_code, same.content, same.headers["content-type"]) == (200, b"jpeg", "image/jpeg")
    assert client.post(path, json={}).status_code == 202


def test_a_request_waits_for_its_frame(client, app, path):
    answers = []
    asking = threading.Thread(target=lambda: answers.append(client.post(path, json={})))
    asking.start()
    while True:
        with app.state.database.session(write=False) as session:
            if preview_frames.waiting_owners(session):
                break
    paint(app)
    asking.join()
    assert answers[0].content == b"jpeg"


def test_a_background_picture_goes_along_and_is_forgotten(client, app, path, monkeypatch):
    monkeypatch.setattr(routes, "WAIT_S", 0.0)
    assert client.post(path, files={"background": ("b.png", PNG)}).status_code == 202
    (stored,) = backgrounds(app, path)
    assert client.post(path, files={"background": ("same.png", PNG)}).status_code == 202
    assert backgrounds(app, path) == [stored], "an equal request needs no second one"
    options, key = paint(app)
    with app.state.store.open(key) as background:
        assert (options["background"]["kind"], background.read(), key) == ("image", PNG, stored)
    with app.state.database.session(write=False) as session:
        (row,) = session.query(PreviewFrame)
        assert row.background_key is None
        assert object_places.unneeded(session, [stored]) == [stored]
    for number in range(preview_frames.QUEUED + 2):
        client.post(path, files={"background": ("b.png", PNG + bytes([number]))})
    waiting = set(backgrounds(app, path)) - {stored}
    with app.state.database.session(write=False) as session:
        assert len(waiting) == preview_frames.QUEUED and object_places.unneeded(session, waiting) == []
        assert object_places.named_keys(session) >= waiting
    new = path.replace("sub_", "sub_0")
    check_problem(client.post(new, files={"background": ("b.png", PNG)}), "not_found")
    assert not backgrounds(app, new)
    check_problem(client.post(path, files={"background": ("b.png", b"text")}), "not_an_image")
    check_problem(client.post(path, json={"options": {"background": {"kind": "image"}}}), "validation_failed")


def test_only_the_newest_of_many_choices_wait(client, app, path, monkeypatch):
    monkeypatch.setattr(routes, "WAIT_S", 0.0)
    for k in range(6):
        client.post(path, json={"options": {"view": {"yaw_deg": k}}})
    painted = []
    with app.state.database.session(write=False) as session:
        waiting = preview_frames.waiting_owners(session)
    while waiting:
        painted.append(paint(app)[0]["view"]["yaw_deg"])
        with app.state.database.session(write=False) as session:
            waiting = preview_frames.waiting_owners(session)
    assert painted == [5, 4, 3]


def test_a_failure_is_told_once(client, app, path, monkeypatch):
    monkeypatch.setattr(routes, "WAIT_S", 0.0)
    client.post(path, json={})
    with app.state.database.session() as session:
        frame = preview_frames.claim(session, "local")
        error = {"code": "not_media", "message": "The picture cannot be read.", "remedy": "Send another."}
        preview_frames.fail(session, frame.digest, error)
    problem = check_problem(client.post(path, json={}), "preview_failed")
    assert problem["detail"] == "The picture cannot be read. Send another."
    assert client.post(path, json={}).status_code == 202


def test_who_has_no_frame_hears_why(client, make, path):
    new = make.subject()
    check_problem(client.post(f"/v1/subjects/{new['id']}/preview-frame", json={}), "subject_not_ready")
    bad = {"options": json.loads('{"frame": "full", "motion": 0.5}')}
    check_problem(client.post(path, json=bad), "validation_failed")
    subject = path.split("/")[3]
    client.post(f"/v1/subjects/{subject}/withdraw-consent", json={})
    check_problem(client.post(path, json={}), "consent_withdrawn")
