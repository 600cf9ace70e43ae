import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from api import deps
from storage.database.models import Subject
from tests.api.conftest import PNG, VIDEO, check_problem

SUBJECT_FIELDS = {
    "full_frame",
    "id",
    "name",
    "state",
    "preset",
    "trashed_until",
    "created_at",
    "updated_at",
    "face",
    "footage",
    "quality",
    "view_limits",
    "views",
    "imported_from",
    "consent",
    "eta_s",
    "jobs",
    "links",
}


def post(client, data=None, files=None):
    data = {"consent": "Ann agreed"} if data is None else data
    return client.post("/v1/subjects", data=data, files={"video": ("a.mp4", VIDEO)} if files is None else files)


def test_a_reference_video_becomes_a_pending_subject_with_a_queued_job(client, make):
    answer = client.post(
        "/v1/subjects", data={"name": "Ann", "preset": "draft", "consent": "yes"}, files={"video": ("a.mp4", VIDEO)}
    )
    assert answer.status_code == 202
    subject = answer.json()
    assert set(subject) == SUBJECT_FIELDS
    assert subject["id"].startswith("sub_")
    assert (subject["name"], subject["preset"], subject["state"]) == ("Ann", "draft", "pending")
    assert subject["footage"] is subject["quality"] is subject["view_limits"] is subject["full_frame"] is None
    assert answer.headers["location"] == f"/v1/subjects/{subject['id']}" == subject["links"]["self"]
    assert int(answer.headers["retry-after"]) >= 1
    (job,) = subject["jobs"]
    assert (job["kind"], job["state"], job["queue_position"]) == ("preprocess", "queued", 1)
    assert subject["eta_s"] > job["eta_s"] > 0, "training follows"
    assert client.get(subject["links"]["self"]).json() == subject
    with make.database.session(write=False) as session:
        row = session.get(Subject, subject["id"])
    with make.store.open(row.source_key) as source:
        assert source.read() == VIDEO
    assert row.consent == "yes"


def test_the_sound_track_is_kept_for_the_job(client, make):
    subject = post(client, data={"consent": "yes", "audio_track": "2"}).json()
    with make.database.session(write=False) as session:
        assert session.get(Subject, subject["id"]).audio_track == 2
    for wrong in ("0", "two", "1001", "1_0"):
        assert post(client, data={"consent": "yes", "audio_track": wrong}).status_code == 422


def test_times_are_rfc_3339_in_utc(make):
    created = make.subject()["created_at"]
    assert created.endswith("Z")
    age = datetime.now(UTC) - datetime.fromisoformat(created.replace("Z", "+00:00"))
    assert 0 <= age.total_seconds() < 60


def test_the_preset_is_standard_and_the_name_that_of_the_file_where_none_is_given(client):
    answer = post(client, files={"video": ("/home/ann/../Ann at home.mp4", VIDEO)})
    assert answer.json()["preset"] == "standard"
    assert answer.json()["name"] == "Ann at home"


@pytest.mark.parametrize(
    "tricky", ["../../../etc/passwd", "..\\..\\boot.ini", "/etc/cron.d/x", "..", "a\x07b", "x" * 400]
)
def test_a_file_name_from_the_client_names_no_file_on_disk(client, settings, tricky):
    before = {path for path in settings.data_dir.parent.rglob("*") if "objects" not in path.parts}
    subject = post(client, files={"video": (tricky, VIDEO)})
    assert subject.status_code == 202
    assert "/" not in subject.json()["name"] and "\\" not in subject.json()["name"]
    assert subject.json()["name"].isprintable() and 1 <= len(subject.json()["name"]) <= 200
    after = {path for path in settings.data_dir.parent.rglob("*") if "objects" not in path.parts}
    assert {path.name for path in after - before} <= {"adnerf.db-wal", "adnerf.db-shm"}
    assert [path.name for path in settings.objects.rglob("*") if path.is_file()] == ["source"]


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        ({}, "/consent"),
        ({"consent": "  "}, "/consent"),
        ({"consent": "Ann agreed\0"}, "/consent"),
        ({"consent": "Ann\x1b[2J agreed"}, "/consent"),
        ({"consent": "Ann\u202e agreed"}, "/consent"),
        ({"consent": "\u200b\n"}, "/consent"),
        ({"consent": "yes", "preset": "fastest"}, "/preset"),
        ({"consent": "yes", "name": " "}, "/name"),
        ({"consent": "yes", "name": "a\nb"}, "/name"),
        ({"consent": "yes", "name": "x" * 201}, "/name"),
        ({"consent": "yes", "name": "a\x85b"}, "/name"),
        ({"consent": "yes", "name": "a\x9bb"}, "/name"),
        ({"consent": "yes", "name": "a\u202eb"}, "/name"),
        ({"consent": "yes", "name": "\u200b"}, "/name"),
        ({"consent": "yes", "name": "\u200d \ufe0f"}, "/name"),
        ({"consent": "yes", "colour": "red"}, "/colour"),
        ({"consent": "yes", "upload_id": "upl_1"}, "/upload_id"),
        ({"consent": "yes", "face": "left"}, "/face"),
        ({"consent": "yes", "face": '{"x": 2, "y": 0.5}'}, "/face/x"),
        ({"consent": "yes", "a/b~c": "1"}, "/a~1b~0c"),
    ],
)
def test_errors_point_at_wrong_fields(client, settings, data, pointer):
    body = check_problem(post(client, data), "validation_failed")
    assert [entry["pointer"] for entry in body["errors"]] == [pointer]
    assert not any(path.is_file() for path in settings.objects.rglob("*"))


def test_a_face_is_chosen_by_its_place_and_time(client):
    answer = post(client, {"consent": "yes", "face": '{"x": 0.3, "y": 0.4, "second": 2}'})
    assert answer.status_code == 202 and answer.json()["face"] == {"x": 0.3, "y": 0.4, "second": 2.0}


def test_a_refused_character_of_a_name_is_named(client):
    body = check_problem(post(client, {"consent": "yes", "name": "a\u202eb"}), "validation_failed")
    assert "U+202E" in body["detail"]


@pytest.mark.parametrize("name", ["Zoë", "سارا\u200cنام", "👩\u200d💻", "Ann\u00a0Lee"])
def test_names_of_all_scripts_are_accepted(client, name):
    assert post(client, {"consent": "yes", "name": name}).json()["name"] == name


def test_a_stored_name_with_a_refused_character_stays_readable(client, app):
    subject_id = post(client, {"consent": "yes"}).json()["id"]
    with app.state.database.session() as session:
        session.get(Subject, subject_id).name = "a\u202eb"
    assert client.get(f"/v1/subjects/{subject_id}").json()["name"] == "a\u202eb"
    assert client.get("/v1/subjects").json()["items"][0]["name"] == "a\u202eb"


def test_an_unknown_preset_is_answered_with_the_valid_ones(client):
    body = check_problem(post(client, {"consent": "yes", "preset": "fastest"}), "validation_failed")
    assert "'draft', 'standard', 'high' or 'paper'" in body["detail"]


def test_the_preset_paper_is_accepted(client):
    answer = post(client, {"consent": "yes", "preset": "paper"})
    assert answer.status_code == 202 and answer.json()["preset"] == "paper"


def test_a_form_without_a_video_is_refused(client):
    answer = client.post("/v1/subjects", data={"consent": "yes"}, files={"video": ("", b"")})
    assert check_problem(answer, "validation_failed")["errors"][0]["pointer"] == "/video"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"hello, I am a film\n", "not_media"),
        ("Grüße, ich bin ein Film. ".encode() * 400, "not_media"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "not_media"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not_media"),
        (PNG, "not_media"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "not_media"),
        (b"PK\x03\x04" + bytes(100), "not_media"),
        (VIDEO + bytes(200_000), "file_too_large"),
    ],
)
def test_a_file_that_is_obviously_no_video_is_refused_at_once_and_not_stored(client, settings, content, code):
    check_problem(post(client, files={"video": ("film.mp4", content)}), code)
    assert not any(path.is_file() for path in settings.objects.rglob("*"))
    assert client.get("/v1/jobs").json()["items"] == []


def test_subjects_are_listed_newest_first_page_by_page(client, make):
    made = [make.subject(name=f"S{number}")["id"] for number in range(5)]
    seen, cursor, pages = [], None, 0
    while True:
        page = client.get("/v1/subjects", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        assert set(page) == {"items", "next_cursor"}
        seen += [subject["id"] for subject in page["items"]]
        pages += 1
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]
    assert pages == 3
    assert client.get("/v1/subjects?state=ready").json()["items"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=../..", "cursor=", "state=happy"])
def test_errors_point_at_wrong_queries(client, query):
    body = check_problem(client.get(f"/v1/subjects?{query}"), "validation_failed")
    assert body["errors"][0]["parameter"] == query.split("=")[0]


def test_the_subject_follows_its_jobs(client, make):
    path = make.subject()["links"]["self"]
    make.succeed(dataset_key="d", footage={"duration_s": 9.5, "head_yaw_deg": [-4, 5.5], "warnings": ["It is dark."]})
    subject = client.get(path).json()
    assert subject["state"] == "training"
    assert [(job["kind"], job["state"]) for job in subject["jobs"]] == [
        ("preprocess", "succeeded"),
        ("train", "queued"),
    ]
    assert subject["footage"]["head_yaw_deg"] == [-4, 5.5]
    assert subject["footage"]["warnings"] == ["It is dark."]
    assert subject["footage"]["sharpness"] is None
    make.succeed(run_key="r", quality={"psnr": 28.1, "lip_sync": 0.7, "something_else": 1})
    subject = client.get(path).json()
    assert subject["state"] == "ready"
    assert subject["quality"]["psnr"] == 28.1
    assert set(subject["quality"]) == {
        "psnr", "ssim", "mouth_psnr", "lmd_px", "lip_sync", "sync_offset_ms", "sync_confidence", "held_out_frames",
        "full_psnr", "full_ssim", "full_lpips", "region_psnr", "region_lpips", "seam",
    }  # fmt: skip


def test_renaming(client, make):
    subject = make.subject()
    path = subject["links"]["self"]
    answer = client.patch(path, json={"name": "  Beth "})
    assert answer.status_code == 200
    assert answer.json()["name"] == "Beth" == client.get(path).json()["name"]
    assert answer.json()["updated_at"] > subject["updated_at"]


def test_a_person_may_improve_others_only_as_long_as_the_record_says_so(client, make):
    subject = make.subject()
    path = subject["links"]["self"]
    assert (subject["consent"]["may_improve_others"], subject["consent"]["may_improve_others_at"]) == (False, None)
    allowed = client.patch(path, json={"may_improve_others": True}).json()["consent"]
    assert allowed["may_improve_others"] and allowed["may_improve_others_at"] > subject["created_at"]
    assert allowed["digest"] == subject["consent"]["digest"]
    assert client.patch(path, json={"may_improve_others": True}).json()["consent"] == allowed
    assert not client.patch(path, json={"may_improve_others": False}).json()["consent"]["may_improve_others"]
    client.post(f"{path}/withdraw-consent", json={})
    check_problem(client.patch(path, json={"may_improve_others": True}), "consent_withdrawn")
    form = {"consent": "Ann, today", "may_improve_others": "true"}
    made = client.post("/v1/subjects", data=form, files={"video": ("ann.mp4", VIDEO)}).json()
    assert client.get(f"{made['links']['self']}/consent").json()["may_improve_others"]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"json": {"may_improve_others": None}}, "validation_failed"),
        ({"json": {"name": ""}}, "validation_failed"),
        ({"json": {"name": 7}}, "validation_failed"),
        ({"json": {"name": "B", "state": "ready"}}, "validation_failed"),
        ({"json": ["name"]}, "validation_failed"),
        ({"content": b'{"name": ', "headers": {"content-type": "application/json"}}, "validation_failed"),
        ({"content": b"\xff\xfe", "headers": {"content-type": "application/json"}}, "validation_failed"),
        ({"content": b"", "headers": {"content-type": "application/json"}}, "validation_failed"),
        ({"data": {"name": "B"}}, "unsupported_media_type"),
        ({"content": b'{"name": "B"}'}, "unsupported_media_type"),
        ({"json": {"name": "x" * (2 << 20)}}, "body_too_large"),
    ],
)
def test_bad_renaming_changes_nothing(client, make, request_, code):
    path = make.subject()["links"]["self"]
    check_problem(client.patch(path, **request_), code)
    assert client.get(path).json()["name"] == "Ann"


def test_deleting_removes_rows_and_files(client, make, settings):
    subject = make.ready_subject()
    video = make.ready_video(subject, b"film")
    assert client.delete(subject["links"]["self"]).status_code == 204
    for path in (subject["links"]["self"], video["links"]["self"], video["job"]["links"]["self"]):
        check_problem(client.get(path), "not_found")
    assert not [path for path in settings.objects.rglob("*") if path.is_file()]
    check_problem(client.delete(subject["links"]["self"]), "not_found")


@pytest.mark.parametrize("bad", ["sub_0", "job_1", "..", "%2e%2e%2f%2e%2e%2fetc", "x" * 3000, "sub_1'--", "%00"])
def test_unknown_ids_are_not_found(client, bad):
    for method, path in (
        ("GET", f"/v1/subjects/{bad}/preview"),
        ("DELETE", f"/v1/subjects/{bad}"),
        ("GET", f"/v1/videos/{bad}/file"),
        ("DELETE", f"/v1/videos/{bad}"),
        ("POST", f"/v1/jobs/{bad}/cancel"),
        ("POST", f"/v1/jobs/{bad}/retry"),
    ):
        answer = client.request(method, path)
        assert answer.status_code in (404, 405), path
        check_problem(answer, "not_found" if answer.status_code == 404 else "method_not_allowed")


def test_a_store_that_is_slow_takes_no_writer_s_turn(client, make, monkeypatch):
    subject = make.subject()
    released, begun = threading.Event(), threading.Semaphore(0)
    put = make.store.put_incoming

    def slow(key, incoming):
        begun.release()
        assert released.wait(60)
        return put(key, incoming)

    monkeypatch.setattr(make.store, "put_incoming", slow)
    form = {"data": {"name": "Bob", "consent": "yes"}, "files": {"video": ("b.mp4", VIDEO)}, "timeout": 120}
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(httpx.post, f"{client.base_url}/v1/subjects", **form) for _ in range(20)]
        try:
            for _ in range(deps.FILES // deps.PART):  # the share of one owner
                assert begun.acquire(timeout=60)
            for name in ("one", "two"):
                assert client.patch(subject["links"]["self"], json={"name": name}, timeout=20).status_code == 200
            assert not any(each.done() for each in waiting)
        finally:
            released.set()
        assert {each.result().status_code for each in waiting} == {202}
