import pytest

from storage.tables import jobs
from tests.api.conftest import check_problem

JOB_FIELDS = {
    "id", "kind", "state", "stage", "progress", "eta_s", "queue_position", "attempt", "max_attempts", "priority", "error",
    "subject_id", "video_id", "created_at", "started_at", "finished_at", "links",
}  # fmt: skip


def test_a_job_from_the_queue_to_its_end(client, make):
    subject = make.subject()
    path = subject["jobs"][0]["links"]["self"]
    queued = client.get(path).json()
    assert set(queued) == JOB_FIELDS
    assert (queued["state"], queued["queue_position"], queued["progress"]) == ("queued", 1, 0)
    assert queued["started_at"] is None

    claimed = make.claim()
    with make.database.session() as session:
        assert jobs.heartbeat(session, claimed.id, claimed.attempt, jobs.JobProgress("track", 0.25, 90.0), lease_s=60)
    answer = client.get(path)
    running = answer.json()
    assert (running["state"], running["stage"], running["progress"], running["eta_s"]) == ("running", "track", 0.25, 90)
    assert (running["attempt"], running["queue_position"]) == (1, None)
    assert running["started_at"] is not None
    assert answer.headers["retry-after"] == "9"

    with make.database.session() as session:
        assert jobs.succeed(session, claimed.id, claimed.attempt, dataset_key="d")
    answer = client.get(path)
    assert (answer.json()["state"], answer.json()["progress"], answer.json()["eta_s"]) == ("succeeded", 1, None)
    assert answer.json()["finished_at"] is not None
    assert "retry-after" not in answer.headers


def test_queue_positions_are_true(client, make):
    first, second, third = (make.subject()["jobs"][0]["links"]["self"] for _ in range(3))

    def positions():
        return [client.get(path).json()["queue_position"] for path in (first, second, third)]

    assert positions() == [1, 2, 3]
    listed = client.get("/v1/jobs?state=queued").json()["items"]
    assert [job["queue_position"] for job in listed] == [3, 2, 1]
    client.post(f"{second}/cancel")
    assert positions() == [1, None, 2]
    make.claim()
    assert positions() == [None, None, 1]


def test_polling_with_the_etag_costs_nothing_until_something_changes(client, make):
    path = make.subject()["jobs"][0]["links"]["self"]
    first = client.get(path)
    known = {"If-None-Match": first.headers["etag"]}
    same = client.get(path, headers=known)
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["etag"] == first.headers["etag"]
    assert int(same.headers["retry-after"]) >= 1
    make.claim()
    changed = client.get(path, headers=known)
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


def test_jobs_are_filtered(client, make):
    subject = make.ready_subject()
    video = make.video(subject)
    other = make.subject()

    def found(**query):
        return [(job["kind"], job["state"]) for job in client.get("/v1/jobs", params=query).json()["items"]]

    assert len(found()) == 4
    assert found(video_id=video["id"]) == [("render", "queued")]
    assert found(subject_id=subject["id"], kind="train") == [("train", "succeeded")]
    assert found(subject_id=other["id"]) == [("preprocess", "queued")]
    assert sorted(found(state="queued")) == [("preprocess", "queued"), ("render", "queued")]
    assert found(state="failed") == []
    page = client.get("/v1/jobs?limit=3").json()
    assert len(client.get("/v1/jobs", params={"cursor": page["next_cursor"]}).json()["items"]) == 1


@pytest.mark.parametrize("query", ["state=done", "kind=paint", "limit=1000"])
def test_errors_point_at_wrong_filters(client, query):
    body = check_problem(client.get(f"/v1/jobs?{query}"), "validation_failed")
    assert body["errors"][0]["parameter"] == query.split("=")[0]


def test_cancelling_a_queued_and_a_running_job(client, make):
    for run in (False, True):
        subject = make.subject()
        if run:
            make.claim()
        answer = client.post(subject["jobs"][0]["links"]["cancel"])
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        assert client.get(subject["links"]["self"]).json()["state"] == "cancelled"
        check_problem(client.post(subject["jobs"][0]["links"]["cancel"]), "move_not_allowed")


def test_a_failed_job_says_why_and_can_be_retried(client, make):
    subject = make.subject()
    links = subject["jobs"][0]["links"]
    make.fail("no_face_found")
    job = client.get(links["self"]).json()
    assert job["state"] == "failed"
    assert job["error"] == {"code": "no_face_found", "message": "It is wrong.", "remedy": "Do it right."}
    check_problem(client.post(links["cancel"]), "move_not_allowed")
    again = client.post(links["retry"]).json()
    assert (again["state"], again["error"], again["queue_position"]) == ("queued", None, 1)
    assert client.get(subject["links"]["self"]).json()["state"] == "pending"


def test_running_and_succeeded_jobs_cannot_be_retried(client, make):
    links = make.subject()["jobs"][0]["links"]
    check_problem(client.post(links["retry"]), "move_not_allowed")
    make.succeed(dataset_key="d")
    check_problem(client.post(links["retry"]), "move_not_allowed")
    body = check_problem(client.post(links["cancel"]), "move_not_allowed")
    assert "succeeded" in body["detail"]


def test_unknown_jobs_are_not_found(client):
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
        check_problem(client.request(method, f"/v1/jobs/job_0{path}"), "not_found")
