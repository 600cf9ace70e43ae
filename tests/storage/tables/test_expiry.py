"""What has had its time is deleted by the database server's clock, not by that of the machine that deletes."""

from __future__ import annotations

import sys
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from storage.database.models import (
    Delivery,
    JobEvent,
    PreviewFrame,
    Share,
    StoredResponse,
    Subject,
    Verification,
    Video,
    Webhook,
    Worker,
    new_id,
    now,
)
from storage.tables import idempotency, job_events, preview_frames, shares, verifications, webhooks, workers
from tests.storage.tables.test_jobs import new_job

KEY = idempotency.IdempotencyKey("ada", "POST /v1/videos", "k")
EXPIRING = (Delivery, JobEvent, PreviewFrame, Share, StoredResponse, Verification, Worker)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_machine_whose_clock_is_ahead_deletes_nothing_early(database, monkeypatch):
    job = new_job(database)
    with database.session() as session:
        video = Video(
            id=new_id("vid"), owner="ada", subject_id=job.subject_id, state="ready", options={}, audio_key="a"
        )
        hook = Webhook(id=new_id("whk"), owner="ada", url="https://x/", events=["job.failed"], description="")
        session.add_all([video, hook])
        session.flush()
        session.add(Share(id=new_id("shr"), owner="ada", video_id=video.id, expires_at=now() + timedelta(days=30)))
        session.add(Verification(id=new_id("ver"), owner="ada", state="failed", sha256="0" * 64, finished_at=now()))
        event = {"owner": "ada", "event": "job.failed", "body": "{}", "next_at": now()}
        session.add(Delivery(id=new_id("msg"), webhook_id=hook.id, **event))
        subject = session.get(Subject, job.subject_id)
        session.add(PreviewFrame(digest="d", owner="ada", subject_id=subject.id, options={}, asked_at=now()))
        workers.register(session, "w", host="a", queues=["cpu"], device={"name": "cpu"})
        idempotency.store(session, KEY, fingerprint="f", status=202, headers={}, body=None)
    for name, module in list(sys.modules.items()):
        if name.startswith("storage.") and hasattr(module, "now"):
            monkeypatch.setattr(module, "now", lambda: now() + timedelta(days=40))
    with database.session() as session:
        for table in (idempotency, job_events, preview_frames, shares, verifications, webhooks):
            table.delete_expired(session)
        assert workers.remove_silent(session, silent_s=60.0) == []
        assert idempotency.find(session, KEY) is not None
        counts = {model: session.scalar(select(func.count()).select_from(model)) for model in EXPIRING}
    assert min(counts.values()) > 0, counts
