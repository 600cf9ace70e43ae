"""The trash of subjects and videos, as clients see it."""

from datetime import timedelta

from sqlalchemy import update

from storage.database.models import Subject, Video, now
from storage.tables import jobs, removals
from tests.api.conftest import check_problem


def ids(client, path):
    return [each["id"] for each in client.get(path).json()["items"]]


def test_a_video_goes_and_comes_back(client, make):
    subject = make.ready_subject()
    video = make.ready_video(subject, b"film")
    gone = client.post(f"/v1/videos/{video['id']}/trash").json()
    assert gone["trashed_until"] > gone["created_at"]
    assert client.post(f"/v1/videos/{video['id']}/trash").json() == gone  # a second time changes nothing
    assert (ids(client, "/v1/videos"), ids(client, "/v1/videos?trash=true")) == ([], [video["id"]])
    assert client.get(video["links"]["file"]).content == b"film"  # its owner may look before deciding
    assert client.get("/v1/me").json()["quotas"]["stored_bytes"]["used"] > 0
    back = client.post(f"/v1/videos/{video['id']}/restore").json()
    assert back["trashed_until"] is None
    assert (ids(client, "/v1/videos"), ids(client, "/v1/videos?trash=true")) == ([video["id"]], [])


def test_a_subject_takes_its_videos_along_and_brings_only_those_back(client, make):
    subject = make.ready_subject()
    before, after = make.ready_video(subject, b"one"), make.ready_video(subject, b"two")
    client.post(f"/v1/videos/{before['id']}/trash")
    path = f"/v1/subjects/{subject['id']}"
    until = client.post(f"{path}/trash").json()["trashed_until"]
    seen = {each["id"]: each["trashed_until"] for each in client.get("/v1/videos?trash=true").json()["items"]}
    assert seen[before["id"]] < seen[after["id"]] == until
    # It is in the trash already: nothing changes.
    assert client.post(f"/v1/videos/{after['id']}/trash").json()["trashed_until"] == until
    assert ids(client, "/v1/subjects") == ids(client, "/v1/videos") == []
    assert ids(client, "/v1/subjects?trash=true") == [subject["id"]]
    check_problem(client.post(f"/v1/videos/{before['id']}/restore"), "in_trash")
    client.post(f"{path}/restore")
    assert ids(client, "/v1/subjects") == [subject["id"]]
    assert ids(client, "/v1/videos") == [after["id"]]


def test_videos_that_an_earlier_version_put_away_with_their_subject_come_back(client, make, app):
    subject = make.ready_subject()
    video = make.ready_video(subject, b"one")
    client.post(f"/v1/subjects/{subject['id']}/trash")
    with app.state.database.session() as session:
        until = session.get(Subject, subject["id"]).trashed_until
        session.execute(update(Video).where(Video.id == video["id"]).values(trashed_until=until))
    client.post(f"/v1/subjects/{subject['id']}/restore")
    assert ids(client, "/v1/videos") == [video["id"]]


def test_a_deletion_is_answered_when_everything_is_gone(client, make, app, monkeypatch):
    monkeypatch.setattr(removals, "BATCH", 2)
    subject, other = make.ready_subject(), make.ready_subject()
    for _ in range(5):
        make.video(subject)
    kept = make.video(other)
    path = f"/v1/subjects/{subject['id']}"
    stale = {"If-Match": '"another"'}
    check_problem(client.delete(path, headers=stale), "precondition_failed")
    assert client.delete(path).status_code == 204
    check_problem(client.delete(path), "not_found")
    with app.state.database.session(write=False) as session:
        assert [row.id for row in session.query(Video)] == [kept["id"]]
        assert [row.id for row in session.query(Subject)] == [other["id"]]


def test_nothing_is_made_of_what_is_in_the_trash(client, make, app):
    subject = make.ready_subject()
    video = make.video(subject)
    path = f"/v1/subjects/{subject['id']}"
    running = make.claim()
    waiting = make.video(subject)
    client.post(f"{path}/trash")
    assert client.get(video["job"]["links"]["self"]).json()["state"] == "cancelled" and running.id == video["job"]["id"]
    queued = client.get(waiting["job"]["links"]["self"]).json()
    assert (queued["state"], queued["queue_position"]) == ("queued", None)
    with app.state.database.session() as session:
        assert jobs.claim(session, "test", lease_s=60) is None
    answer = client.post("/v1/videos", json={"subject_id": subject["id"], "duration_s": 2})
    check_problem(answer, "in_trash")
    check_problem(client.post(f"{path}/preview-frame", json={}), "in_trash")
    check_problem(client.post(video["job"]["links"]["retry"]), "in_trash")
    client.post(f"{path}/restore")
    assert client.post(video["job"]["links"]["retry"]).json()["state"] == "queued"
    assert make.claim().id == waiting["job"]["id"]


def test_delete_and_withdrawal_go_on_as_before(client, make, app):
    subject = make.ready_subject()
    video = make.ready_video(subject, b"film")
    client.post(f"/v1/subjects/{subject['id']}/trash")
    withdrawn = client.post(f"/v1/subjects/{subject['id']}/withdraw-consent", json={"purge": True}).json()
    assert withdrawn["consent"]["purged_at"] and withdrawn["trashed_until"]
    assert not list(app.state.store.keys(older_than_s=-60, prefix=f"subjects/{subject['id']}/"))
    assert client.delete(f"/v1/subjects/{subject['id']}").status_code == 204
    check_problem(client.get(f"/v1/videos/{video['id']}"), "not_found")


def test_what_was_in_the_trash_for_its_time_is_deleted_for_good(client, make, app):
    subject = make.ready_subject()
    kept, gone = make.ready_video(subject, b"one"), make.ready_video(subject, b"two")
    other = make.ready_subject()
    for each in (kept, gone):
        client.post(f"/v1/videos/{each['id']}/trash")
    client.post(f"/v1/subjects/{other['id']}/trash")
    past = {"trashed_until": now() - timedelta(seconds=1)}
    with app.state.database.session() as session:
        session.execute(update(Video).where(Video.id == gone["id"]).values(past))
        session.execute(update(Subject).where(Subject.id == other["id"]).values(past))
    with app.state.database.session() as session:
        assert removals.delete_due(session, app.state.store) == [other["id"], gone["id"]]
    assert ids(client, "/v1/videos?trash=true") == [kept["id"]]
    assert ids(client, "/v1/subjects?trash=true") == []
    assert ids(client, "/v1/subjects") == [subject["id"]]
    places = f"subjects/{other['id']}/", f"subjects/{subject['id']}/videos/{gone['id']}/"
    assert not [key for place in places for key in app.state.store.keys(older_than_s=-60, prefix=place)]
