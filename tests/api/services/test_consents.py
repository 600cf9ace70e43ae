"""Consent withdrawn: in every state that a subject can be in, nothing more is made or shown of it."""

from __future__ import annotations

import hashlib
import threading
from functools import partial

import pytest

from api.services import jobs as job_service
from api.services import subjects, videos
from api.services.consents import cancel_videos, withdraw_consent
from storage.database import queries
from storage.database.models import LOCAL, Delivery, Job, Subject, Video, Withdrawal, now
from storage.errors import ConsentWithdrawn, NotFound
from storage.tables import consents, jobs, queue, webhooks
from tests.worker.conftest import PLAIN, House
from worker.sweeper import Sweeper

ENDLESS = {"steps": 100_000, "pause": 0.01}


def withdraw(house, subject, *, purge=False, owner=LOCAL):
    """As the request does it: in two transactions."""
    row = house.write(partial(withdraw_consent, purge=purge), house.store, subject.id, owner=owner)
    with house.database.session() as session:
        cancel_videos(session, subject.id)
    return row


def states(house, subject):
    """Of the subject, and of all its jobs and videos."""
    listed = house.read(queries.page, Job).items + house.read(queries.page, Video).items
    return {house.subject(subject).state} | {row.state for row in listed if row.state != "succeeded"}


def test_the_record_is_there_from_the_first_moment(house):
    subject = house.submit_subject()
    assert (subject.consent, subject.withdrawn_at) == ("Ada, today", None)
    with house.store.open(subject.source_key) as footage:
        assert subject.footage_sha256 == hashlib.sha256(footage.read()).hexdigest()


def test_the_digest_stands_for_every_word_of_the_record(house):
    subject = house.submit_subject()
    digest = consents.digest(subject)
    assert digest == consents.digest(house.subject(subject))
    house.work()
    withdraw(house, subject)
    assert digest == consents.digest(house.subject(subject))  # what became of the subject is no part of it
    for name in ("consent", "consent_by", "owner", "footage_sha256", "consent_clip_sha256"):
        other = house.subject(subject)
        setattr(other, name, "another")
        assert consents.digest(other) != digest, name


@pytest.mark.parametrize("done", [0, 1, 2], ids=["pending", "training", "ready"])
def test_withdrawn_before_or_after_the_work(house, done):
    subject = house.submit_subject()
    worker = house.worker()
    for _ in range(done):
        assert worker.run_next()
    if done == 2:
        house.submit_video(subject.id)
    withdraw(house, subject)
    assert states(house, subject) == {"cancelled"}
    assert not worker.run_next()
    worker.close()


@pytest.mark.parametrize("kind", ["preprocess", "train", "render"])
def test_withdrawn_during_the_work(house, kind):
    if kind == "render":
        subject = house.ready_subject()
        house.submit_video(subject.id, **ENDLESS)
    else:
        subject = house.submit_subject(**(ENDLESS if kind == "preprocess" else {"train": ENDLESS}))
    worker = house.worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    house.until(lambda: (job := house.newest_job()).kind == kind and job.progress > 0)
    withdraw(house, subject, purge=True)
    house.until(lambda: not list((house.settings.work / "jobs").iterdir()))
    worker.stopping.set()
    thread.join()
    assert states(house, subject) == {"cancelled"}
    assert house.objects() == []


def test_nothing_is_made_or_shown_of_a_subject_whose_consent_was_withdrawn(house):
    subject = house.submit_subject(train={"previews": True})
    house.work()
    video = house.submit_video(subject.id)
    house.work()
    failed = house.submit_video(subject.id, at={"1": "crash"})
    house.work()
    withdraw(house, subject)
    with pytest.raises(ConsentWithdrawn, match="withdrawn"):
        house.submit_video(subject.id)
    for column in ("preview_key", "report_key"):
        with pytest.raises(ConsentWithdrawn):
            house.read(subjects.subject_part, subject.id, column)
    with pytest.raises(ConsentWithdrawn):
        house.read(videos.video_file, video.id)
    for job in (failed.job, house.subject(subject).jobs[0]):
        with pytest.raises((ConsentWithdrawn, jobs.MoveNotAllowed)):
            house.write(job_service.retry_job, house.settings, job.id)
    assert house.job(failed.job).state == "failed"
    assert house.video(video).state == "cancelled"
    assert house.video(video).file_key in house.objects()  # it was not asked to purge


def test_a_cancelled_training_cannot_be_taken_up_again(house):
    subject = house.submit_subject()
    withdraw(house, subject)
    with pytest.raises(ConsentWithdrawn):
        house.write(job_service.retry_job, house.settings, house.subject(subject).jobs[0].id)
    assert states(house, subject) == {"cancelled"}


def test_a_job_that_slipped_past_is_cancelled_when_it_is_claimed(house):
    """As if it had been queued in the moment of the withdrawal, by a transaction that had not seen it yet."""
    subject = house.ready_subject()
    video = house.submit_video(subject.id)
    other = house.submit_subject()
    with house.database.session() as session:
        session.get(Subject, subject.id).withdrawn_at = now()
    worker = house.worker()
    assert not worker.run_next()
    assert (house.video(video).state, house.job(video.job).state) == ("cancelled", "cancelled")
    assert worker.run_next()
    worker.close()
    assert house.subject(other).state == "training"


def test_withdrawing_again_changes_nothing_and_can_still_purge(house):
    subject = house.ready_subject()
    video = house.submit_video(subject.id)
    house.work()
    house.write(partial(videos.change_video, title="Ann at home", metadata={"name": "Ann"}), video.id)
    first = withdraw(house, subject)
    assert withdraw(house, subject).withdrawn_at == first.withdrawn_at
    assert (first.purged_at, bool(house.objects())) == (None, True)
    purged = withdraw(house, subject, purge=True)
    assert withdraw(house, subject, purge=True).purged_at == purged.purged_at
    assert (house.objects(), purged.withdrawn_at) == ([], first.withdrawn_at)
    assert (purged.consent, purged.footage_sha256) == (subject.consent, subject.footage_sha256)
    assert (purged.run_key, purged.source_key, house.video(video).file_key) == (None, "", None)
    assert (house.video(video).title, house.video(video).client_metadata) == (None, None)
    assert house.video(video).mark is not None  # a copy elsewhere can still be told to have been made here


def test_the_object_cleaner_removes_what_a_purge_could_not(house, monkeypatch):
    subject = house.ready_subject()
    monkeypatch.setattr(house.store, "delete_prefix", lambda prefix: None)
    withdraw(house, subject, purge=True)
    worker = house.worker()
    assert subject.run_key in house.objects()
    worker.object_cleaner.run_batch()
    worker.close()
    assert house.objects() == []


def test_another_owner_cannot_withdraw(house):
    subject = house.ready_subject()
    with pytest.raises(NotFound):
        withdraw(house, subject, owner="somebody")
    assert house.subject(subject).state == "ready"


@pytest.mark.parametrize("url", ["", "postgresql"], ids=["sqlite", "postgresql"])
def test_a_video_asked_for_during_the_withdrawal_is_refused_or_cancelled(request, settings, url):
    """Many at once: in the end no job of the subject is left, and no worker could have begun one."""
    if url:
        settings = settings.replace(database_url=request.getfixturevalue("postgresql_url"))
    house = House(settings)
    subject = house.ready_subject()
    begin = threading.Barrier(5)
    refused = []

    def ask():
        begin.wait()
        for _ in range(3):
            try:
                house.submit_video(subject.id)
            except ConsentWithdrawn:
                refused.append(1)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    begin.wait()
    withdraw(house, subject)
    for asker in askers:
        asker.join()
    with house.database.session(write=False) as session:
        active = session.query(Job).where(Job.subject_id == subject.id, Job.state.in_(("queued", "running"))).count()
    listed = house.read(queries.page, Video).items
    house.close()
    assert active == 0
    assert len(listed) + len(refused) == 12
    assert {video.state for video in listed} <= {"cancelled"}


@pytest.mark.parametrize("url", ["", "postgresql"], ids=["sqlite", "postgresql"])
def test_a_withdrawal_with_many_queued_videos_holds_at_once_and_is_finished_after_a_crash(request, settings, url):
    if url:
        settings = settings.replace(database_url=request.getfixturevalue("postgresql_url"), webhook_key="k" * 32)
    house = House(settings)
    with house.database.session() as session:
        webhook = webhooks.create(session, owner=LOCAL, url="https://a/", events=list(webhooks.EVENTS), description="")
    subject = house.ready_subject()
    done = house.submit_video(subject.id)
    house.work()
    with house.database.session() as session:
        for _ in range(250):
            videos.submit_video(
                session,
                house.store,
                settings,
                owner=LOCAL,
                subject_id=subject.id,
                options=PLAIN,
                audio=None,
                idle_s=1.0,
                script=videos.Script("Hello", "voice", 1.0),
            )
    other = house.submit_subject()
    house.write(partial(withdraw_consent, purge=True), house.store, subject.id)  # and the process is killed here

    with pytest.raises(ConsentWithdrawn):
        house.submit_video(subject.id)
    queued = house.read(queries.page, Job).items
    assert house.read(lambda session, owner: queue.queue_positions(session, [job.id for job in queued])) == {
        other.jobs[0].id: 1
    }
    with house.database.session() as session:
        assert jobs.claim(session, "a worker", lease_s=60).id == other.jobs[0].id
        assert jobs.claim(session, "another", lease_s=60) is None
    left = []
    for _ in range(6):
        Sweeper(settings, house.database).sweep()
        with house.database.session(write=False) as session:
            left.append(session.query(Job).filter_by(state="queued").count())
    assert left == [201, 151, 101, 51, 1, 0]  # the video that is done is one of the first fifty
    with house.database.session(write=False) as session:
        assert session.query(Withdrawal).count() == 0
        rows = session.query(Video.state, Video.script, Video.file_key).distinct().all()
        events = session.query(Delivery.event, Delivery.webhook_id).distinct().all()
    assert rows == [("cancelled", None, None)]
    assert events == [("job.cancelled", webhook.id)], "what was sent before named what is purged"
    assert house.video(done).mark is not None
    house.close()
