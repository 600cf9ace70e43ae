"""The life cycle of jobs: every move from every state, fences, the sweep, and concurrent claims."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from storage.database import queries
from storage.database.engine import Database
from storage.database.models import LOCAL, Job, Subject, Video, new_id
from storage.errors import MoveNotAllowed, NotFound
from storage.tables import job_events, jobs, queue, workers
from storage.tables.jobs import JobProgress

ERROR = {"code": "no_face_found", "message": "No face.", "remedy": "Show it."}
STATES = ("queued", "running", "succeeded", "failed", "cancelled")
# The states that each move may come from, and the state it leads to: written independently of job_moves.MOVES.
ALLOWED = {
    "succeed": ({"running"}, "succeeded"),
    "fail": ({"running"}, "failed"),
    "release": ({"running"}, "queued"),
    "cancel": ({"queued", "running"}, "cancelled"),
    "retry": ({"failed", "cancelled"}, "queued"),
}


def new_subject(session, state="pending"):
    subject = Subject(
        id=new_id("sub"), owner=LOCAL, name="Ada", state=state, preset="draft", consent="Ada, today", source_key="k"
    )
    session.add(subject)
    session.flush()
    return subject


def new_job(database, kind="preprocess"):
    """A queued job with its subject, and its video if it renders one."""
    with database.session() as session:
        subject = new_subject(session)
        if kind != "render":
            return jobs.create(session, kind, owner=LOCAL, subject_id=subject.id)
        video = Video(id=new_id("vid"), owner=LOCAL, subject_id=subject.id, state="pending", options={}, audio_key="k")
        session.add(video)
        session.flush()
        return jobs.create(session, kind, owner=LOCAL, subject_id=subject.id, video_id=video.id)


def claim(database, lease_s=60.0, worker="w1", **more):
    with database.session() as session:
        return jobs.claim(session, worker, lease_s=lease_s, **more)


def make(database, move, job, attempt=None):
    """Tries one move; returns whether it was made."""
    attempt = job.attempt if attempt is None else attempt
    with database.session() as session:
        if move == "fail":
            return jobs.fail(session, job.id, attempt, ERROR)
        if move in ("succeed", "release"):
            return getattr(jobs, move)(session, job.id, attempt)
        try:
            getattr(jobs, move)(session, job.id)
        except MoveNotAllowed:
            return False
        return True


def read(database, model, row_id):
    with database.session(write=False) as session:
        return queries.get(session, model, row_id)


def job_in(database, state, kind="preprocess"):
    job = new_job(database, kind)
    if state == "queued":
        return job
    job = claim(database)
    if state != "running":
        move = next(name for name, (sources, target) in ALLOWED.items() if "running" in sources and target == state)
        assert make(database, move, job)
    return read(database, Job, job.id)


def target_state(database, job):
    target = read(database, Video, job.video_id) if job.video_id else read(database, Subject, job.subject_id)
    return target.state


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("move", ALLOWED)
def test_every_move_from_every_state(database, state, move):
    job = job_in(database, state)
    sources, target = ALLOWED[move]
    assert make(database, move, job) == (state in sources)
    after = read(database, Job, job.id)
    assert after.state == (target if state in sources else state)
    assert (after.revision > job.revision) == (state in sources)


@pytest.mark.parametrize("state", STATES)
def test_only_queued_jobs_are_claimed(database, state):
    job = job_in(database, state, kind="train")
    claimed = claim(database)
    assert (claimed is not None) == (state == "queued")
    if claimed:
        assert (claimed.id, claimed.state, claimed.attempt, claimed.worker) == (job.id, "running", 1, "w1")
        assert claimed.lease_until > claimed.started_at


@pytest.mark.parametrize(
    ("kind", "states"),
    {
        "preprocess": ("pending", "preprocessing", "training", "failed", "cancelled"),
        "train": ("training", "training", "ready", "failed", "cancelled"),
        "render": ("pending", "rendering", "ready", "failed", "cancelled"),
    }.items(),
)
def test_the_target_has_the_state_of_its_job(database, kind, states):
    for state, expected in zip(STATES, states, strict=True):
        job = job_in(database, state, kind)
        assert target_state(database, job) == expected
        if state == "queued":
            make(database, "cancel", job)  # Otherwise the next iteration would claim it.


def test_results_are_visible_once_the_job_has_succeeded(database):
    job = job_in(database, "running", "render")
    with database.session() as session:
        assert jobs.succeed(session, job.id, 1, file_key="subjects/a/b.mp4", frames=25)
    video, after = read(database, Video, job.video_id), read(database, Job, job.id)
    assert (video.state, video.file_key, video.frames) == ("ready", "subjects/a/b.mp4", 25)
    assert (after.progress, after.eta_s, after.worker, after.error) == (1.0, None, None, None)
    assert after.created_at <= after.started_at <= after.finished_at


def test_a_successful_preprocessing_queues_the_training(database):
    failed, succeeded = job_in(database, "failed"), job_in(database, "succeeded")
    assert [job.kind for job in read(database, Subject, failed.subject_id).jobs] == ["preprocess"]
    jobs_after = read(database, Subject, succeeded.subject_id).jobs
    assert [(job.kind, job.state) for job in jobs_after] == [("preprocess", "succeeded"), ("train", "queued")]


def test_a_failure_stores_its_error_and_a_retry_clears_it(database):
    job = job_in(database, "failed")
    assert read(database, Job, job.id).error == ERROR
    assert make(database, "retry", job)
    after = read(database, Job, job.id)
    assert (after.error, after.started_at, after.finished_at, after.progress) == (None, None, None, 0.0)
    assert after.max_attempts - after.attempt == jobs.MAX_ATTEMPTS


def test_a_job_at_its_time_limit_fails(database):
    job = job_in(database, "running")
    with database.session() as session:
        assert not jobs.time_out(session, job.id, attempt=7, limit_s=60)
        assert jobs.time_out(session, job.id, 1, limit_s=60)
        assert not jobs.time_out(session, job.id, 1, limit_s=60)
    after = read(database, Job, job.id)
    assert (after.state, after.error["code"]) == ("failed", "time_limit")
    assert "60 s" in after.error["message"]
    assert target_state(database, job) == "failed"


def test_a_heartbeat_renews_the_lease_and_stores_the_progress(database):
    job = job_in(database, "running")
    with database.session() as session:
        assert jobs.heartbeat(session, job.id, 1, JobProgress("track", 0.25, 12.5), lease_s=600)
    after = read(database, Job, job.id)
    assert (after.stage, after.progress, after.eta_s) == ("track", 0.25, 12.5)
    assert after.lease_until > job.lease_until


@pytest.mark.parametrize("how", ["swept", "cancelled and retried", "released"])
def test_an_earlier_attempt_cannot_write(database, how):
    """A worker that was considered lost returns with its result while another attempt runs."""
    job = job_in(database, "queued", "render")
    claim(database, lease_s=-1 if how == "swept" else 60)
    with database.session() as session:
        if how == "swept":
            assert [job.state for job in jobs.sweep(session, lambda job: True)] == ["queued"]
        elif how == "released":
            jobs.release(session, job.id, 1)
        else:
            jobs.cancel(session, job.id)
            jobs.retry(session, job.id)
    assert claim(database, worker="w2").attempt == 2
    with database.session() as session:
        assert not jobs.heartbeat(session, job.id, 1, JobProgress("late", 0.9), lease_s=60)
        assert not jobs.publish(session, job.id, 1, file_key="late.mp4")
        assert not jobs.succeed(session, job.id, 1, file_key="late.mp4")
        assert not jobs.fail(session, job.id, 1, ERROR)
        assert not jobs.release(session, job.id, 1)
    after, video = read(database, Job, job.id), read(database, Video, job.video_id)
    assert (after.state, after.worker, after.stage) == ("running", "w2", None)
    assert (video.state, video.file_key) == ("rendering", None)


def test_the_next_heartbeat_notices_a_cancellation(database):
    job = job_in(database, "running")
    make(database, "cancel", job)
    with database.session() as session:
        assert not jobs.heartbeat(session, job.id, 1, JobProgress(), lease_s=60)
        assert not jobs.publish(session, job.id, 1, footage={})
    assert read(database, Subject, job.subject_id).footage is None


def test_a_released_job_keeps_its_place_and_its_attempts(database):
    first, second = new_job(database), new_job(database)
    for _ in range(5):
        job = claim(database)
        assert job.id == first.id
        make(database, "release", job)
    after = read(database, Job, first.id)
    assert after.max_attempts - after.attempt == jobs.MAX_ATTEMPTS
    with database.session(write=False) as session:
        assert queue.queue_positions(session, [first.id, second.id]) == {first.id: 1, second.id: 2}


def test_the_sweep_takes_jobs_from_lost_workers_only(database):
    alive, dead = new_job(database), new_job(database)
    claim(database, worker="alive", lease_s=-1)  # whoever sweeps decides, not the clock
    claim(database, worker="dead")
    with database.session() as session:
        assert [job.id for job in jobs.sweep(session, lambda job: job.worker == "dead")] == [dead.id]
        assert jobs.sweep(session, lambda job: job.worker == "dead") == []
    assert read(database, Job, alive.id).state == "running"


def test_a_job_that_loses_three_workers_is_given_up(database):
    job = new_job(database)
    for attempt in (1, 2, 3):
        assert claim(database, lease_s=-1).attempt == attempt
        with database.session() as session:
            jobs.sweep(session, lambda job: True)
    after = read(database, Job, job.id)
    assert (after.state, after.error["code"], after.attempt) == ("failed", "worker_lost", 3)
    assert read(database, Subject, job.subject_id).state == "failed"
    assert claim(database) is None
    make(database, "retry", job)
    assert claim(database).attempt == 4


def test_a_job_that_was_given_up_returns_to_the_queue_if_its_workers_were_not_lost(database):
    job = new_job(database)
    for _ in range(3):
        claim(database)
        with database.session() as session:
            jobs.sweep(session, lambda job: True)
    with database.session() as session:
        for attempt in (1, 2, 3):  # their machines wake up
            jobs.forgive(session, job.id, attempt)
    after = read(database, Job, job.id)
    assert (after.state, after.error, after.finished_at, after.max_attempts) == ("queued", None, None, 6)
    assert read(database, Subject, job.subject_id).state == "pending"
    assert claim(database).attempt == 4


def test_a_job_that_has_failed_by_itself_is_not_queued_again(database):
    job = job_in(database, "running")
    with database.session() as session:
        jobs.fail(session, job.id, job.attempt, ERROR)
        jobs.forgive(session, job.id, job.attempt)
    after = read(database, Job, job.id)
    assert (after.state, after.error, after.max_attempts) == ("failed", ERROR, jobs.MAX_ATTEMPTS)


def test_queue_positions_follow_the_order_of_claims(database):
    queued = [new_job(database).id for _ in range(4)]
    with database.session() as session:
        jobs.cancel(session, queued[1])
        jobs.retry(session, queued[1])
        positions = queue.queue_positions(session, queued)
    order = sorted(positions, key=positions.get)
    assert order == [queued[0], queued[2], queued[3], queued[1]]
    assert [claim(database).id for _ in queued] == order
    with database.session(write=False) as session:
        assert queue.queue_positions(session, queued) == {}


def test_queue_positions_count_the_kinds_that_share_a_worker(database):
    kinds = ("preprocess", "preprocess", "train", "render", "train")
    first, second, third, fourth, last = (new_job(database, kind).id for kind in kinds)
    everything = [first, second, third, fourth, last]

    def positions():
        with database.session(write=False) as session:
            return [queue.queue_positions(session, everything)[job] for job in everything]

    def start(name, *queues):
        with database.session() as session:
            workers.register(session, name, host="a", queues=queues, device={"name": "cpu"})

    assert positions() == [1, 2, 3, 4, 5]  # no worker is known
    start("gpu", "gpu_train", "gpu_render")
    assert positions() == [1, 2, 1, 2, 3]
    assert [claim(database, kinds=["train", "render"]).id for _ in range(2)] == [third, fourth]
    with database.session(write=False) as session:
        assert queue.queue_positions(session, everything) == {first: 1, second: 2, last: 1}
    start("cpu", "cpu")
    with database.session(write=False) as session:
        assert queue.queue_positions(session, [last]) == {last: 1}
    start("all", "cpu", "gpu_train", "gpu_render")
    with database.session(write=False) as session:
        assert queue.queue_positions(session, everything) == {first: 1, second: 2, last: 3}


def test_a_worker_may_ask_for_some_kinds_only(database):
    new_job(database, "preprocess")
    video = new_job(database, "render")
    assert claim(database, kinds=["train"]) is None
    assert claim(database, kinds=["train", "render"]).id == video.id


def test_concurrent_deletion_and_success_do_not_deadlock(database):
    """Both lock the job before its subject. In opposite orders they would deadlock, and PostgreSQL would abort one."""
    for _ in range(8):
        job = job_in(database, "running")
        start = threading.Barrier(2)

        def succeed(job=job, start=start):
            start.wait()
            return make(database, "succeed", job)

        def remove(job=job, start=start):
            start.wait()
            with database.session() as session:
                jobs.delete_where(session, Job.subject_id == job.subject_id)
                session.delete(queries.get(session, Subject, job.subject_id))

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(succeed), pool.submit(remove)]:
                done.result()
        with database.session(write=False) as session:
            assert session.scalars(select(Job)).all() == session.scalars(select(Subject)).all() == []


def test_deleting_the_target_of_a_job_ends_the_job(database):
    job = job_in(database, "running", "render")
    with database.session() as session:
        session.delete(queries.get(session, Subject, job.subject_id))
    with database.session() as session:
        assert not jobs.succeed(session, job.id, 1, file_key="late.mp4")
        assert session.scalars(select(Job)).all() == session.scalars(select(Video)).all() == []
        with pytest.raises(NotFound):
            jobs.cancel(session, job.id)


def claim_all(url, name, results):
    database = Database(url)
    claimed = []
    while job := claim(database, worker=name):
        claimed.append(job.id)
    results.put(claimed)
    database.close()


def test_racing_processes_claim_each_job_once(database):
    url = database.url.render_as_string(hide_password=False)
    expected = sorted(new_job(database).id for _ in range(60))
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    racers = [context.Process(target=claim_all, args=(url, f"w{n}", results)) for n in range(3)]
    for racer in racers:
        racer.start()
    claimed = [job_id for _ in racers for job_id in results.get(timeout=300)]
    for racer in racers:
        racer.join()
    assert sorted(claimed) == expected


def test_one_of_a_concurrent_success_and_cancellation_wins(database):
    for _ in range(10):
        job = job_in(database, "running", "render")
        won = {}

        def enter(move, job=job, won=won):
            won[move] = make(database, move, job)

        threads = [threading.Thread(target=enter, args=(move,)) for move in ("succeed", "cancel")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won.values()) == [False, True]
        assert read(database, Job, job.id).state == ("succeeded" if won["succeed"] else "cancelled")


def test_of_a_job_s_changes_the_newest_ones_are_stored(database, monkeypatch):
    monkeypatch.setattr(job_events, "MAX_KEPT", 3)
    job, other = new_job(database), new_job(database)
    with database.session() as session:
        for _ in range(3):
            jobs.cancel(session, job.id)
            moved = jobs.retry(session, job.id)
        kept = [event.revision for event in job_events.since(session, {job.id: 0})[job.id]]
        assert kept == [moved.revision - 2, moved.revision - 1, moved.revision]
        assert len(job_events.since(session, {other.id: -1})[other.id]) == 1
