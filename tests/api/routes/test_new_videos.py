"""Videos from a script, from JSON, and many at once; titles, metadata and filters."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest

from storage.database.models import Video
from storage.tables import idempotency, quotas, voices
from storage.tables.voices import AnnouncedVoice
from tests.api.conftest import AUDIO, check_problem
from tests.api.routes.test_uploads import upload

VOICES = [
    AnnouncedVoice("hibari-heart", "Heart", "en-US", "hibari", "Apache-2.0"),
    AnnouncedVoice("espeak-de", "German", "de", "espeak", "GPL-3.0-or-later"),
]
HELLO = "Hello, I am Ann."


@pytest.fixture
def subject(make):
    return make.ready_subject()


@pytest.fixture
def speaking(make):
    """The voices of a worker; one has a sample."""
    with make.database.session() as session:
        voices.announce(session, VOICES)
        voices.store_sample(session, "hibari-heart", b"RIFF sample")


def post(client, subject, **body):
    return client.post("/v1/videos", json={"subject_id": subject["id"]} | body)


def pointers(answer):
    return [entry["pointer"] for entry in check_problem(answer, "validation_failed")["errors"]]


def test_voices_are_listed_with_their_licence_and_a_sample(client, speaking):
    heart, german = client.get("/v1/voices").json()["items"]
    assert heart == {
        "id": "hibari-heart",
        "name": "Heart",
        "language": "en-US",
        "engine": "hibari",
        "licence": "Apache-2.0",
        "default": True,
        "links": {"sample": "/v1/voices/hibari-heart/sample"},
    }
    assert (german["default"], german["links"]["sample"]) == (False, None)
    sample = client.get(heart["links"]["sample"])
    assert (sample.content, sample.headers["content-type"]) == (b"RIFF sample", "audio/wav")
    assert client.get(heart["links"]["sample"], headers={"If-None-Match": sample.headers["etag"]}).status_code == 304
    check_problem(client.get("/v1/voices/espeak-de/sample"), "not_found")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_script_replaces_the_audio(client, subject, speaking, as_json):
    wanted = {"script": HELLO, "voice": "espeak-de", "speed": 1.5}
    if as_json:
        answer = post(client, subject, options={"size": 640}, **wanted)
    else:
        fields = wanted | {"subject_id": subject["id"], "options": '{"size": 640}'}
        answer = client.post("/v1/videos", files={name: (None, str(value)) for name, value in fields.items()})
    assert answer.status_code == 202, answer.text
    video = answer.json()
    assert {name: video[name] for name in wanted} == wanted and video["options"]["size"] == 640
    assert (video["links"]["audio"], video["warnings"], video["job"]["priority"]) == (None, [], "normal")


def test_the_first_voice_reads_at_its_own_pace_unless_another_is_named(client, subject, speaking):
    video = post(client, subject, script=HELLO).json()
    assert (video["voice"], video["speed"]) == ("hibari-heart", 1.0)


def test_the_speech_of_a_script_can_be_heard(client, make, subject, speaking):
    video = post(client, subject, script=HELLO).json()
    check_problem(client.get(f"/v1/videos/{video['id']}/audio"), "not_found")
    stored = make.store.put(f"subjects/{subject['id']}/videos/{video['id']}/1.wav", io.BytesIO(b"RIFF speech"))
    with make.database.session() as session:
        session.get(Video, video["id"]).speech_key = stored.key
    link = client.get(video["links"]["self"]).json()["links"]["audio"]
    heard = client.get(link, headers={"Range": "bytes=5-"})
    assert (heard.status_code, heard.content, heard.headers["content-type"]) == (206, b"speech", "audio/wav")


def test_without_a_voice_a_script_is_refused_with_the_remedy(client, subject):
    assert "pip install hibari-tts" in check_problem(post(client, subject, script=HELLO), "voice_unavailable")["remedy"]


def test_an_unknown_voice_is_refused(client, subject, speaking):
    problem = check_problem(post(client, subject, script=HELLO, voice="hibari-nobody"), "voice_unavailable")
    assert "GET /v1/voices" in problem["remedy"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/audio"),
        ({"script": "😀 …"}, "/script"),
        ({"script": " \n"}, "/script"),
        ({"script": "a" * 10_001}, "/script"),
        ({"script": "a\x00b"}, "/script"),
        ({"script": "a" + "[pause 10s]" * 61}, "/script"),
        ({"script": HELLO, "duration_s": 5}, "/duration_s"),
        ({"script": HELLO, "upload_id": "upl_1"}, "/script"),
        ({"duration_s": 5, "voice": "hibari-heart"}, "/voice"),
        ({"duration_s": 5, "speed": 1}, "/speed"),
        ({"script": HELLO, "speed": 2.5}, "/speed"),
        ({"script": HELLO, "speed": "1"}, "/speed"),
        ({"script": HELLO, "voice": "a/b"}, "/voice"),
        ({"script": HELLO, "audio_url": "https://example.com/a.wav"}, "/audio_url"),
        ({"script": HELLO, "audio": "a.wav"}, "/audio"),
        ({"script": HELLO, "options": {"size": 3}}, "/options/size"),
        ({"script": HELLO, "options": {"background": {"kind": "image"}}}, "/background"),
        ({"script": HELLO, "options": {"label": "\u202e"}}, "/options/label"),
        ({"script": HELLO, "title": "a\nb"}, "/title"),
        ({"script": HELLO, "priority": "high"}, "/priority"),
        ({"script": HELLO, "metadata": {str(i): "" for i in range(17)}}, "/metadata"),
        ({"script": HELLO, "metadata": {"a": "b" * 501}}, "/metadata/a"),
        ({"script": HELLO, "metadata": {"a": 1}}, "/metadata/a"),
        ({"script": HELLO, "metadata": {"ä": "b"}}, "/metadata/ä"),
    ],
)
def test_what_is_wrong_in_a_json_body_is_named(client, subject, speaking, body, pointer):
    assert pointers(post(client, subject, **body)) == [pointer]


def test_a_json_body_takes_an_upload_and_is_sent_once_with_a_key(client, subject, speaking):
    sent = upload(client, AUDIO, "say.wav")
    headers = {"Idempotency-Key": "k"}
    body = {"subject_id": subject["id"], "upload_id": sent}
    first, again = (client.post("/v1/videos", json=body, headers=headers) for _ in range(2))
    assert (
        first.status_code == 202 and again.content == first.content and again.headers["idempotency-replayed"] == "true"
    )
    assert client.get(f"/v1/uploads/{sent}").json()["used_by"] == first.json()["id"]
    check_problem(
        client.post("/v1/videos", content=b"{", headers={"Content-Type": "application/json"}), "validation_failed"
    )
    check_problem(
        client.post("/v1/videos", content=b"x", headers={"Content-Type": "text/plain"}), "unsupported_media_type"
    )


def test_title_and_metadata_are_returned_and_the_title_can_be_searched(client, make, subject):
    form = {
        "subject_id": subject["id"],
        "title": "100% of Ann, für Ärzte",
        "metadata": json.dumps({"order": "7", "note": ""}),
    }
    video = client.post("/v1/videos", data=form, files={"audio": ("a.wav", AUDIO)}).json()
    assert (video["title"], video["metadata"]) == ("100% of Ann, für Ärzte", {"order": "7", "note": ""})
    other = make.video(subject)
    assert (other["title"], other["metadata"]) == (None, {})

    def found(**query):
        return [each["id"] for each in client.get("/v1/videos", params=query).json()["items"]]

    assert found(title="0% OF") == [video["id"]] and found(title="_") == []
    assert all(found(title=each) == [video["id"]] for each in ("FÜR ", "füR äRzTe", "Ärzte"))
    assert found(ids=f"{video['id']},vid_0") == [video["id"]] and found(ids=f"{video['id']},{other['id']}") == [
        other["id"],
        video["id"],
    ]
    middle = datetime.now(UTC) - timedelta(minutes=1)
    assert found(created_before=middle.isoformat()) == [] and len(found(created_after=middle.isoformat())) == 2
    ends = "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"  # neither is a time of the calendar in UTC
    assert [len(found(created_after=ends[first], created_before=ends[1 - first])) for first in (0, 1)] == [2, 0]
    for query in ({"ids": "sub_1"}, {"ids": ",".join(["vid_1"] * 101)}, {"title": ""}, {"created_after": "2026-01-01"}):
        check_problem(client.get("/v1/videos", params=query), "validation_failed")
    wrong = client.post("/v1/videos", data=form | {"metadata": "[]"}, files={"audio": ("a.wav", AUDIO)})
    assert pointers(wrong) == ["/metadata"]


def test_title_and_metadata_can_be_changed_each_by_itself_also_by_null(client, make, subject):
    path = make.video(subject)["links"]["self"]

    def changed(**values):
        answer = client.patch(path, json=values, headers={"If-Match": client.get(path).headers["etag"]})
        assert answer.status_code == 200 and answer.json() == client.get(path).json()
        return answer.json()["title"], answer.json()["metadata"]

    assert changed(title=" Welcome ") == ("Welcome", {})
    assert changed(metadata={"order": "7"}) == ("Welcome", {"order": "7"})
    assert changed(metadata={"note": ""}) == ("Welcome", {"note": ""})
    assert changed() == ("Welcome", {"note": ""})
    assert changed(title=None, metadata=None) == (None, {})
    check_problem(client.patch(path, json={"title": "X"}, headers={"If-Match": '"stale"'}), "precondition_failed")
    for wrong in ({"title": ""}, {"title": "a\nb"}, {"metadata": {"ä": "b"}}, {"state": "ready"}):
        check_problem(client.patch(path, json=wrong), "validation_failed")
    assert client.get(path).json()["title"] is None


def test_a_batch_carries_out_what_is_right_and_names_what_is_not(client, app, make, subject, speaking, monkeypatch):
    sent = upload(client, AUDIO, "say.wav")
    joined = Mock(wraps=app.state.store.put_joined)
    monkeypatch.setattr(app.state.store, "put_joined", joined)
    right = {"subject_id": subject["id"], "script": HELLO, "title": "one", "priority": "low"}
    body = {
        "videos": [
            right,
            {"subject_id": "sub_0", "duration_s": 2},
            {"subject_id": subject["id"], "script": "…"},
            "no object",
            {"subject_id": subject["id"], "upload_id": sent},
            {"subject_id": subject["id"], "upload_id": sent},
            right | {"voice": "hibari-nobody"},
        ]
    }
    first, again = (client.post("/v1/videos/batch", json=body, headers={"Idempotency-Key": "b"}) for _ in range(2))
    assert first.status_code == 200 and again.content == first.content
    items = first.json()["items"]
    assert [item["status"] for item in items] == [202, 404, 422, 422, 202, 409, 422]
    codes = [item["problem"] and item["problem"]["code"] for item in items]
    assert codes == [
        None,
        "not_found",
        "validation_failed",
        "validation_failed",
        None,
        "upload_used",
        "voice_unavailable",
    ]
    assert items[2]["problem"]["errors"][0]["pointer"] == "/script"
    assert joined.call_count == 1  # each copy of an upload may have 200 MiB
    made = [item["video"]["id"] for item in items if item["video"]]
    assert [each["id"] for each in client.get("/v1/videos").json()["items"]] == made[::-1]
    assert items[0]["video"]["job"]["priority"] == "low" and items[4]["video"]["job"]["queue_position"] == 1
    with make.database.session(write=False) as session:
        used = session.get(Video, made[1])
    assert [key for key in make.store.keys(older_than_s=-60) if "/videos/" in key] == [used.audio_key]


def test_a_batch_stops_at_the_quota_and_keeps_what_came_before(client, app, subject, speaking):
    with app.state.database.session() as session:
        quotas.set_overrides(session, "local", {"queued_jobs": 2})
    one = {"subject_id": subject["id"], "script": HELLO}
    items = client.post("/v1/videos/batch", json={"videos": [one] * 4}).json()["items"]
    assert [item["status"] for item in items] == [202, 202, 403, 403]
    assert items[3]["problem"]["quota"] == {"name": "queued_jobs", "limit": 2}
    assert len(client.get("/v1/jobs?state=queued").json()["items"]) == 2


def test_the_size_of_a_batch_has_limits(client, subject, speaking):
    one = {"subject_id": subject["id"], "script": "a" * 10_000}
    for videos in ([], [one] * 101):
        assert pointers(client.post("/v1/videos/batch", json={"videos": videos})) == ["/videos"]
    answer = client.post("/v1/videos/batch", json={"videos": [one] * 100})
    assert [item["status"] for item in answer.json()["items"]] == [202] * 100
    check_problem(client.post("/v1/videos/batch", json={"videos": ["a" * (2 << 20)]}), "body_too_large")
    check_problem(client.post("/v1/videos", json={"videos": "a" * (64 << 10)}), "body_too_large")
    for many in ([0] * 20_000, ['\\"'] * 20_000, [{"x": "\\"}] * 20_000):
        check_problem(client.post("/v1/videos/batch", json={"videos": [many]}), "body_too_large")
    commas = {"subject_id": subject["id"], "script": 'One, "two", \\{' + "{[,." * 2000}
    answer = client.post("/v1/videos/batch", json={"videos": [commas] * 100})
    assert {item["status"] for item in answer.json()["items"]} == {202}


def test_unknown_fields_get_a_short_answer_of_which_a_number_is_stored(client, subject, monkeypatch):
    check_problem(client.post("/v1/videos", json={f"x{n}": n for n in range(2000)}), "body_too_large")
    item = {"~" * 1000 + str(number): 1 for number in range(25)}
    monkeypatch.setattr(idempotency, "MAX_LARGE", 1)
    batches = [({"videos": [item] * 50}, {"Idempotency-Key": key}) for key in "aabb"]
    answer, again, second, repeated = (client.post("/v1/videos/batch", json=b, headers=h) for b, h in batches)
    assert answer.status_code == second.status_code == 200 and again.content == answer.content
    assert "too long" in check_problem(repeated, "answer_not_kept")["detail"]
    problem = answer.json()["items"][0]["problem"]
    assert problem["errors"][1]["pointer"] == "/" + "~0" * 99 + "…" and len(answer.content) < 400_000
