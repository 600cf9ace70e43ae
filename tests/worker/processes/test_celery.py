"""Workers on Celery, with a real Redis and PostgreSQL: whatever the broker loses, repeats or forgets, each job ends once."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing

import pytest

from api.services import jobs as job_service
from api.services import subjects as subject_service
from storage.database import queries
from storage.database.models import Job
from storage.tables import jobs
from tests.servers import Redis, running
from tests.worker.fleet import Fleet, claimer
from worker.broker import WAKE

SLOW = {"steps": 40, "pause": 0.05}
ENDLESS = {"steps": 100_000, "pause": 0.01}


@pytest.fixture
def settings(settings, redis_server, postgresql_url):
    return settings.replace(
        broker_url=redis_server.url, database_url=postgresql_url, sweep_s=0.5, wake_again_s=2.0, beat_s=0.2
    )


@pytest.fixture
def fleet(settings):
    with closing(Fleet(settings)) as fleet:
        yield fleet


def results(fleet, folder):
    """Keys of the results in a folder, without what a video comes from and the pictures beside it."""
    beside = ("/audio", ".jpg", ".clip")
    return [key for key in fleet.objects() if f"/{folder}/" in key and not key.endswith(beside)]


def test_each_worker_runs_the_jobs_of_its_queues_and_says_what_it_is(fleet):
    fleet.start_worker("cpu")
    fleet.start_worker("gpu_train", "gpu_render")
    subject = fleet.submit_subject()
    fleet.until_ready(subject)
    video = fleet.submit_video(subject.id)
    for _ in range(5):  # as a broker does that lost its memory of what was acknowledged
        fleet.broker.send("render")
    fleet.until_ready(video)
    fleet.until(lambda: fleet.waiting() == {})
    assert len(results(fleet, "videos")) == 1
    assert {job.kind: job.attempt for job in fleet.read(queries.page, Job).items} == {
        "preprocess": 1,
        "train": 1,
        "render": 1,
    }
    crew = fleet.until(lambda: len(found := fleet.crew()) == 2 and found)
    assert sorted(worker.queues for worker in crew) == [["cpu"], ["gpu_train", "gpu_render"]]
    assert {worker.device["name"] for worker in crew} == {"cpu"}


def test_a_broker_that_forgets_everything_loses_nothing(fleet):
    subjects = [fleet.submit_subject(**SLOW) for _ in range(4)]
    fleet.start_worker()
    fleet.running("preprocess")
    fleet.redis.flushall()
    fleet.until_ready(*subjects)
    assert {job.attempt for job in fleet.read(queries.page, Job).items} == {1}


def test_what_was_submitted_while_the_broker_was_away_runs_when_it_is_back(settings):
    with running(Redis) as (server,), closing(Fleet(settings.replace(broker_url=server.url))) as fleet:
        server.kill()
        begun = time.monotonic()
        subject = fleet.submit_subject()
        assert time.monotonic() - begun < 1.0, "seconds that a request waited for a broker that is away"
        beat = fleet.start_beat()
        fleet.start_worker()
        server.start()
        fleet.until_ready(subject)
        beat.terminate()
        assert beat.wait(30) == 0


def test_beat_takes_the_job_of_a_lost_machine_and_wakes_another(fleet):
    """No worker is here: the one that had the job was another machine's, and its lease is over."""
    fleet.settings = fleet.settings.replace(lease_s=2.0)
    subject = fleet.submit_subject()
    with fleet.database.session() as session:
        jobs.claim(session, "gone", lease_s=0.1)
    fleet.until(lambda: fleet.waiting() == {"preprocess": 1})
    fleet.redis.flushall()
    fleet.start_beat()
    job = fleet.until(lambda: (job := fleet.newest_job()).state == "queued" and job)
    assert (job.attempt, job.max_attempts) == (1, jobs.MAX_ATTEMPTS)
    fleet.until(lambda: fleet.waiting() == {"preprocess": 1})
    time.sleep(2 * fleet.settings.wake_again_s)
    assert fleet.waiting() == {"preprocess": 1}  # one is enough, however often it is looked at
    assert fleet.subject(subject).state == "pending"


def test_a_killed_process_is_replaced_and_a_poisonous_job_given_up(fleet):
    worker = fleet.start_worker()
    subject = fleet.submit_subject(train=SLOW)
    job = fleet.running("train")
    fleet.kill_claimer(job)
    fleet.until_ready(subject)
    assert fleet.job(job).attempt == 2
    steps = fleet.steps_made(subject)
    assert sorted(set(steps)) == list(range(40)) and len(steps) <= 41
    poison = fleet.submit_subject(at={"1": "kill"})
    other = fleet.submit_subject()
    fleet.until_ready(other)
    (job,) = fleet.until(lambda: (found := fleet.subject(poison)).state == "failed" and found.jobs)
    assert (job.attempt, job.error["code"]) == (jobs.MAX_ATTEMPTS, "worker_lost")
    assert worker.poll() is None


def test_a_killed_worker_takes_its_processes_along(fleet):
    worker = fleet.start_worker()
    subject = fleet.submit_subject(**ENDLESS)
    job = fleet.running("preprocess")
    worker.kill()
    worker.wait()
    fleet.until(lambda: not exists(claimer(job)))
    fleet.write(subject_service.delete_subject, fleet.store, subject.id)
    other = fleet.submit_subject()
    fleet.start_worker()
    fleet.until_ready(other)


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_training_moves_to_another_machine(settings, s3_settings):
    """Told to stop on one, killed on the second, finished on the third; they share the database and the bucket."""
    with closing(Fleet(settings.replace(**s3_settings, lease_s=3.0))) as fleet:
        move(fleet)


def move(fleet):
    subject = fleet.submit_subject(train={"steps": 60, "pause": 0.1})
    first = fleet.start_worker()
    job = fleet.running("train")
    first.terminate()
    assert first.wait(30) == 0
    given_back = fleet.job(job)
    assert (given_back.state, given_back.attempt, given_back.max_attempts) == ("queued", 1, jobs.MAX_ATTEMPTS + 1)
    assert fleet.crew() == []
    second = fleet.start_worker(settings=fleet.on("second"))
    fleet.until(lambda: (again := fleet.job(job)).attempt == 2 and again.progress > 0.3)
    os.killpg(second.pid, signal.SIGKILL)
    fleet.start_worker(settings=fleet.on("third"))
    fleet.until_ready(subject)
    assert fleet.job(job).attempt == 3
    steps = fleet.steps_made(subject)
    assert sorted(set(steps)) == list(range(60))
    assert len(steps) <= 62  # at most what was made after the last checkpoint is made again


def test_a_cancel_frees_the_worker_for_the_next_job(fleet):
    fleet.start_worker()
    fleet.submit_subject(**ENDLESS)
    job = fleet.running("preprocess")
    fleet.write(job_service.cancel_job, job.id)
    other = fleet.submit_subject()
    fleet.until_ready(other)
    assert fleet.job(job).state == "cancelled"


def test_work_in_a_native_call_does_not_hold_up_the_end_of_a_worker(fleet):
    fleet.settings = fleet.settings.replace(grace_s=0.5)
    worker = fleet.start_worker()
    fleet.submit_subject(at={"1": "hang"})
    job = fleet.running("preprocess")
    worker.terminate()
    assert worker.wait(30) == 0
    assert (fleet.job(job).state, fleet.job(job).max_attempts) == ("queued", jobs.MAX_ATTEMPTS + 1)


def test_a_worker_without_the_gpu_that_it_was_promised_leaves_training_to_others(fleet):
    fleet.settings = fleet.settings.replace(device="cuda")
    fleet.start_worker("cpu")
    fleet.start_worker("gpu_train")
    subject = fleet.submit_subject()
    fleet.until(lambda: fleet.subject(subject).state == "training")
    crew = fleet.until(lambda: len(found := fleet.crew()) == 2 and found)
    assert sorted(worker.queues for worker in crew) == [[], ["cpu"]]
    fleet.broker.app.send_task(WAKE, ["render"], queue="cpu")  # astray
    fleet.until(lambda: fleet.waiting().get("render") == 1)
    (_, training) = fleet.subject(subject).jobs
    assert (fleet.job(training).state, fleet.job(training).attempt) == ("queued", 0)


def test_a_misspelt_queue_is_refused(fleet):
    assert fleet.start_worker("gpu").wait(60) != 0
