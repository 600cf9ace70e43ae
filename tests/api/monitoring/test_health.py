"""How the service tells of itself: health, readiness, figures."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from api.app import create_app
from api.middleware import known_scrapers
from api.monitoring import metrics, readiness
from api.routes import health
from storage.database import migrations
from storage.database.models import Key, Worker, now
from storage.tables import api_keys, counters, jobs, workers
from tests.api.conftest import check_problem, serving
from tests.servers import PostgreSQL, running

QUEUES = ("cpu", "gpu_train", "gpu_render")
GPU = {"name": "H200", "memory_bytes": 1000, "used_bytes": 250, "disk_free_bytes": 7}


@pytest.fixture(autouse=True)
def figures_are_fresh(monkeypatch):
    monkeypatch.setattr(metrics, "CACHE_S", 0.0)
    monkeypatch.setattr(health, "KEPT_S", 0.0)


@pytest.fixture
def enter(app):
    """Workers that say they are there."""

    def enter(name, queues=QUEUES, **device):
        with app.state.database.session() as session:
            workers.register(session, name, host="box", queues=queues, device=GPU | device)

    return enter


def figures(client) -> dict[tuple, float]:
    """All samples of /metrics: (name, {label: value} as sorted pairs) -> value."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_many_who_ask_share_one_answer(client, app, monkeypatch):
    monkeypatch.setattr(health, "KEPT_S", 60.0)
    asked, parts = [], app.state.readiness.parts

    def count():
        asked.append(True)
        time.sleep(1.0)
        return parts()

    monkeypatch.setattr(app.state.readiness, "parts", count)
    with ThreadPoolExecutor(50) as pool:
        answers = [pool.submit(client.get, "/readyz") for _ in range(50)]
        assert client.get("/v1/me").status_code == 200
        assert {each.result().status_code for each in answers} == {200}
    assert len(asked) == 1


def test_the_process_is_alive_whatever_else_is_not(client, app):
    app.state.database.close()
    assert client.get("/healthz").json() == {"status": "ok"}


def test_all_is_well(client, make, enter):
    enter("w1")
    make.subject()
    make.subject()
    make.claim()
    ready = client.get("/readyz").json()
    assert (ready["status"], ready["queued"], ready["running"], ready["workers"]) == ("ready", 1, 1, 1)
    assert ready["free_bytes"] > 0
    assert set(ready["parts"]) == {"database", "store", "queue", "workers"}
    assert all(part["ok"] for part in ready["parts"].values())


def test_the_data_folder_is_made(settings, tmp_path):
    """Beside a database server and a bucket, nobody else needs it."""
    elsewhere = settings.replace(data_dir=tmp_path / "new" / "data", database_url=settings.database)
    with serving(create_app(elsewhere)) as url:
        assert httpx.get(f"{url}/readyz").json()["free_bytes"] > 0


def test_a_queue_without_a_worker_is_named_and_requests_are_still_taken(client, enter):
    enter("w1", queues=["cpu", "gpu_train"])
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["parts"]["workers"] == {"ok": False, "detail": "no worker for gpu_render"}
    assert answer.json()["serves"] == ["preprocess", "train"]


def test_the_ffmpeg_of_the_workers_is_named(client, enter):
    enter("w1", ffmpeg="9.0.2, packaged")
    enter("w2")  # of an earlier version
    assert client.get("/readyz").json()["parts"]["workers"]["detail"] == "2 alive; ffmpeg 9.0.2, packaged"


def test_workers_are_judged_by_their_heartbeat(client, app, settings, enter):
    enter("w1")
    assert client.get("/readyz").json()["workers"] == 1
    with app.state.database.session() as session:
        silent = now() - timedelta(seconds=settings.worker_silence_s + 1)
        session.execute(update(Worker).values(heartbeat_at=silent))
    assert client.get("/readyz").json()["workers"] == 0
    assert figures(client)["adnerf_workers", ("queue", "cpu")] == 0


def test_a_database_that_is_away_is_named(client, app):
    app.state.database.ping = _away
    answer = client.get("/readyz")
    body = check_problem(answer, "unavailable")
    assert "database" in body["detail"]
    assert body["parts"]["database"] == {"ok": False, "detail": "ConnectionError"}
    assert body["parts"]["store"]["ok"]
    assert int(answer.headers["retry-after"]) > 0
    told = figures(client)
    assert told["adnerf_up", ("part", "database")] == 0
    assert not any(name.startswith("adnerf_jobs") for name, *_ in told)


def scraper(app) -> dict[str, str]:
    """Makes the key of Prometheus, which reads figures alone; returns its headers."""
    with app.state.database.session() as session:
        token = api_keys.create(session, owner="ops", name="prometheus", scopes=["metrics"])[1]
    return {"Authorization": f"Bearer {token}"}


def test_a_known_key_reads_the_figures_while_the_database_is_away(settings, monkeypatch):
    with running(PostgreSQL) as (server,):
        app = create_app(settings.replace(database_url=server.url, webhook_key="k" * 32))
        migrations.upgrade(app.state.database)
        known, unknown = scraper(app), scraper(app)
        with serving(app) as url, httpx.Client(base_url=url, timeout=30) as client:
            assert client.get("/metrics", headers=known).status_code == 200
            server.freeze()  # it hangs, as one that has left the network
            start = time.monotonic()
            answer = client.get("/metrics", headers=known)
            assert answer.status_code == 200 and 'adnerf_up{part="database"} 0.0' in answer.text
            assert time.monotonic() - start < 10.0  # as long as Prometheus waits
            server.thaw()
            server.kill()
            answer = client.get("/metrics", headers=known)
            assert answer.status_code == 200 and 'adnerf_up{part="database"} 0.0' in answer.text
            for path, headers in (("/metrics", unknown), ("/v1/subjects", known)):
                check_problem(client.get(path, headers=headers), "unavailable")
            monkeypatch.setattr(known_scrapers, "KNOWN_S", 0.0)
            check_problem(client.get("/metrics", headers=known), "unavailable")


def test_a_revoked_key_is_not_known_any_more(client, app, monkeypatch):
    known = scraper(app)
    assert client.get("/metrics", headers=known).status_code == 200
    with app.state.database.session() as session:
        api_keys.revoke(session, session.scalars(select(Key.id)).one())
    check_problem(client.get("/metrics", headers=known), "unauthorized")
    monkeypatch.setattr(api_keys, "find", _refused)
    check_problem(client.get("/metrics", headers=known), "unavailable")


def _refused(*_):
    raise OperationalError("SELECT", {}, ConnectionError("refused"))


def test_a_store_that_is_gone_is_named(client, app):
    app.state.store.ping = _away
    body = check_problem(client.get("/readyz"), "unavailable")
    assert not body["parts"]["store"]["ok"] and body["parts"]["database"]["ok"]
    assert "secret" not in str(body)


def test_a_part_that_hangs_is_waited_for_but_not_for_ever(client, app, monkeypatch):
    monkeypatch.setattr(readiness, "TIMEOUT_S", 0.2)
    asked = []

    def hang():
        asked.append(1)
        time.sleep(2)

    app.state.store.ping = hang
    for _ in range(3):
        body = check_problem(client.get("/readyz"), "unavailable")
        assert "no response" in body["parts"]["store"]["detail"]
    assert len(asked) == 1


def test_the_broker_is_a_part_where_there_is_one(settings, redis_server):
    with_broker = settings.replace(broker_url=redis_server.url)
    with serving(create_app(with_broker)) as url:
        assert httpx.get(f"{url}/readyz", timeout=20).json()["parts"]["queue"] == {"ok": True, "detail": "broker"}


def test_a_broker_that_is_away_delays_jobs_and_refuses_no_request(settings):
    away = settings.replace(broker_url="redis://127.0.0.1:1/0")
    with serving(create_app(away)) as url:
        answer = httpx.get(f"{url}/readyz", timeout=20)
        assert httpx.get(f"{url}/v1/subjects", timeout=20).status_code == 200
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert [name for name, part in answer.json()["parts"].items() if not part["ok"]] == ["queue", "workers"]


def _away():
    raise ConnectionError("secret: no route to db.example")


def test_figures_of_the_queue(client, make):
    make.ready_subject()
    make.subject()
    make.subject()
    make.claim()
    told = figures(client)
    assert told["adnerf_jobs", ("kind", "preprocess"), ("state", "queued")] == 1
    assert told["adnerf_jobs", ("kind", "preprocess"), ("state", "running")] == 1
    assert told["adnerf_jobs", ("kind", "render"), ("state", "queued")] == 0
    assert 0 < told["adnerf_queue_oldest_age_seconds", ("kind", "preprocess")] < 60
    assert told["adnerf_queue_oldest_age_seconds", ("kind", "render")] == 0


def test_figures_of_what_has_happened(client, make, app):
    make.subject()
    make.fail("no_face_found")
    make.subject()
    lost = make.claim()
    with app.state.database.session() as session:
        jobs.sweep(session, lambda job: True)
        counters.add(session, counters.STAGE, "train", "head", 2.5)
    assert make.claim().id == lost.id
    told = figures(client)
    assert told["adnerf_attempts_total", ("kind", "preprocess")] == 3
    assert told["adnerf_leases_lost_total", ("kind", "preprocess")] == 1
    assert told["adnerf_jobs_ended_total", ("kind", "preprocess"), ("state", "failed")] == 1
    assert told["adnerf_jobs_ended_total", ("kind", "preprocess"), ("state", "succeeded")] == 0
    assert told["adnerf_stage_seconds_sum", ("kind", "train"), ("stage", "head")] == 2.5
    assert told["adnerf_stage_seconds_count", ("kind", "train"), ("stage", "head")] == 1


def test_figures_of_workers_and_their_machines(client, enter):
    enter("w1")
    enter("w2", queues=["cpu"], used_bytes=50)
    told = figures(client)
    assert told["adnerf_workers", ("queue", "cpu")] == 2
    assert told["adnerf_workers", ("queue", "gpu_train")] == 1
    assert told["adnerf_gpu_memory_bytes", ("host", "box")] == 2000
    assert told["adnerf_gpu_memory_used_bytes", ("host", "box")] == 300
    assert told["adnerf_disk_free_bytes", ("host", "box"), ("process", "worker")] == 7
    assert told["adnerf_cleanup_paused",] == 0


def test_a_worker_whose_cleanup_pauses_is_seen(client, enter):
    enter("w1")
    enter("w2", cleanup_paused=True)
    assert figures(client)["adnerf_cleanup_paused",] == 1


def test_figures_of_requests_are_few_whatever_is_asked_for(client):
    def routes():
        return {sample[2:] for sample in figures(client) if sample[0] == "adnerf_http_request_seconds_count"}

    client.get("/v1/jobs/job_0")
    client.get("/nowhere/0")
    figures(client)
    before = routes()
    assert (("route", "/v1/jobs/{job_id}"), ("status", "404")) in before
    assert (("route", "unmatched"), ("status", "404")) in before
    for number in range(20):
        client.get(f"/v1/jobs/job_{number}", params={"token": number})
        client.get(f"/nowhere/{number}")
        client.request(f"TRY{number}", "/v1/jobs")
    assert len(routes() - before) <= 1  # the answer to strange methods


def test_figures_are_kept_for_a_moment(client, monkeypatch):
    monkeypatch.setattr(metrics, "CACHE_S", 60.0)
    figures(client)
    monkeypatch.setattr(metrics.service_stats, "read", None)  # asking again would fail
    assert ("adnerf_jobs", ("kind", "train"), ("state", "queued")) in figures(client)


def test_many_finished_jobs_cost_nothing(app, make):
    """The query for the queue reads the index on state, not the table."""
    with app.state.database.engine.connect() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT kind, state, count(*), min(queued_at) FROM jobs"
            " WHERE state IN ('queued', 'running') GROUP BY kind, state"
        ).fetchall()
    assert "SEARCH jobs USING COVERING INDEX" in str(plan[0]), plan
