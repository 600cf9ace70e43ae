"""Which events are written for webhooks, and when."""

from __future__ import annotations

import json

import pytest

from storage.database import queries
from storage.database.models import Webhook
from storage.tables import jobs, webhooks
from storage.tables.webhooks import EVENTS, TEST
from tests.storage.tables.test_jobs import claim, new_job
from tests.storage.tables.test_webhooks import deliveries, end, new_webhook, reread, send_test


def events_written(database, webhook=None):
    return [delivery.event for delivery in deliveries(database, webhook)]


@pytest.mark.parametrize(
    ("kind", "move", "expected"),
    [
        ("preprocess", "succeed", ["job.succeeded"]),
        ("train", "succeed", ["job.succeeded", "subject.ready"]),
        ("render", "succeed", ["job.succeeded", "video.ready"]),
        ("preprocess", "fail", ["job.failed", "subject.failed"]),
        ("train", "time_out", ["job.failed", "subject.failed"]),
        ("render", "fail", ["job.failed", "video.failed"]),
        ("train", "cancel", ["job.cancelled"]),
    ],
)
def test_the_end_of_a_job_writes_its_events(database, kind, move, expected):
    new_webhook(database)
    job = new_job(database, kind)
    claim(database)
    assert events_written(database) == []
    end(database, job, move)
    assert sorted(events_written(database)) == sorted(expected)
    for delivery in deliveries(database):
        body = json.loads(delivery.body)
        assert (body["type"], delivery.state, delivery.attempts) == (delivery.event, "pending", 0)
        ids = {"job": job.id, "subject": job.subject_id, "video": job.video_id}
        assert body["data"]["id"] == ids[delivery.event.partition(".")[0]]
        assert body["data"]["error"] == reread(database, job).error


def test_the_sweep_writes_events_too(database):
    new_webhook(database, "job.failed")
    job = new_job(database)
    for _ in range(jobs.MAX_ATTEMPTS):
        claim(database, lease_s=-1)
        with database.session() as session:
            jobs.sweep(session, lambda job: True)
    assert events_written(database) == ["job.failed"]
    assert json.loads(deliveries(database)[0].body)["data"]["error"]["code"] == "worker_lost"
    assert reread(database, job).state == "failed"


def test_a_webhook_gets_the_subscribed_events_of_its_owner(database):
    mine, some = new_webhook(database), new_webhook(database, "job.failed", "video.ready")
    other, off = new_webhook(database, owner="other"), new_webhook(database)
    with database.session() as session:
        webhooks.change(session, queries.get(session, Webhook, off.id), enabled=False)
    job = new_job(database)
    with database.session() as session:
        jobs.cancel(session, job.id)
    assert events_written(database, mine) == ["job.cancelled"]
    assert events_written(database, some) == events_written(database, other) == events_written(database, off) == []


def test_a_rolled_back_move_writes_no_event(database):
    new_webhook(database)
    job = new_job(database)
    with pytest.raises(KeyError), database.session() as session:
        jobs.cancel(session, job.id)
        raise KeyError
    assert events_written(database) == []


def test_only_a_request_sends_the_test_event(database):
    assert TEST not in EVENTS
    send_test(database, new_webhook(database, "job.failed"))
    assert events_written(database) == [TEST]
