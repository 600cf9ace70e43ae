"""The deletion of a subject with more videos than one transaction deletes."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from api.services import subjects
from storage.database import queries
from storage.database.models import LOCAL, Delivery, Job, Subject, Upload, Video
from storage.errors import NotFound
from storage.tables import jobs, removals, shares, uploads, webhooks
from tests.worker.conftest import House
from worker.sweeper import Sweeper

KEY = b"k" * 32
"""Signs links."""


@pytest.mark.parametrize("url", ["", "postgresql"], ids=["sqlite", "postgresql"])
def test_a_deleted_subject_is_gone_at_once_and_its_rows_also_after_a_crash(request, settings, monkeypatch, url):
    if url:
        settings = settings.replace(database_url=request.getfixturevalue("postgresql_url"), webhook_key="k" * 32)
    monkeypatch.setattr(removals, "BATCH", 3)
    house = House(settings)
    with house.database.session() as session:
        webhooks.create(session, owner=LOCAL, url="https://a/", events=list(webhooks.EVENTS), description="")
    subject, other = house.ready_subject(), house.ready_subject()
    kept = house.submit_video(other.id, idle_s=1.0)
    videos = [house.submit_video(subject.id, idle_s=1.0) for _ in range(7)]
    with house.database.session() as session:
        running = [jobs.claim(session, "a worker", lease_s=60) for _ in range(2)]
    stopped = next(job for job in running if job.subject_id == subject.id)
    with house.database.session() as session:
        session.execute(update(Video).where(Video.id == videos[-1].id).values(state="ready"))
        link = shares.token(KEY, shares.create(session, videos[-1], for_s=60))
        assert shares.shared_video(session, KEY, link)
    with house.database.session() as session:
        assert subjects.delete_subject(session, house.store, subject.id, owner=LOCAL)  # and the process is killed here
    with house.database.session(write=False) as session:
        assert shares.shared_video(session, KEY, link) is None

    named = [(Subject, subject.id), *((Video, video.id) for video in videos), (Job, videos[-1].job.id)]
    for model, row_id in named:
        with pytest.raises(NotFound):
            house.read(queries.get, model, row_id)
    for use_case in (subjects.restore_subject, subjects.ready_subject):
        with pytest.raises(NotFound):
            house.write(use_case, subject.id)
    with pytest.raises(NotFound):
        house.write(subjects.delete_subject, house.store, subject.id)
    assert [row.id for row in house.read(queries.page, Video).items] == [kept.id]
    assert not [key for key in house.objects() if subject.id in key]
    with house.database.session() as session:
        assert not jobs.heartbeat(session, stopped.id, stopped.attempt, jobs.JobProgress(), lease_s=60)
        assert jobs.claim(session, "another", lease_s=60) is None
        assert session.query(Video).count() > 1  # the rows of some are there still

    left = []
    while not left or left[-1] > 1:
        Sweeper(settings, house.database).sweep()
        with house.database.session(write=False) as session:
            left.append(session.query(Video).count())
    assert left == sorted(left, reverse=True) and len(left) <= 4
    with house.database.session(write=False) as session:
        assert session.query(Subject.id).all() == [(other.id,)]
        assert {job.subject_id for job in session.query(Job)} == {other.id}
        assert {delivery.subject_id for delivery in session.query(Delivery)} == {other.id}
        assert removals.unfinished(session) == []
    house.close()


def test_a_deletion_that_meets_a_locked_job_goes_on_until_nothing_is_left(settings, postgresql_url):
    house = House(settings.replace(database_url=postgresql_url, webhook_key="k" * 32))
    subject = house.ready_subject()
    free, locked = (house.submit_video(subject.id, idle_s=1.0) for _ in range(2))
    with house.database.session() as session:
        for video in (free, locked):
            upload = uploads.create(session, settings, owner=LOCAL, size=1, name="a name.png", metadata="")
            session.execute(update(Upload).where(Upload.id == upload.id).values(used_by=video.id))
    with house.database.session() as other:
        other.query(Job).filter_by(video_id=locked.id).with_for_update().one()
        with house.database.session() as session:
            assert subjects.delete_subject(session, house.store, subject.id, owner=LOCAL)
        Sweeper(settings, house.database).sweep()
        with house.database.session(write=False) as session:
            assert {upload.used_by for upload in session.query(Upload)} == {locked.id}
    Sweeper(settings, house.database).sweep()
    with house.database.session(write=False) as session:
        assert [session.query(model).count() for model in (Subject, Video, Job, Upload)] == [0, 0, 0, 0]
    house.close()
