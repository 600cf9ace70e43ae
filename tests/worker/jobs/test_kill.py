"""Processes killed at the worst moment: what was promised is finished, once. Real processes, the stub core."""

from __future__ import annotations

import os
import signal
import zipfile

import pytest

from api.services import jobs as job_service
from storage.errors import InUse
from storage.tables import jobs
from worker.locks import HeldLock, WorkerLock, is_abandoned

SLOW = {"steps": 40, "pause": 0.05}


VOICE = "sound.wav"


def leave_voice(house, job):
    """Leaves what an evaluation that is killed leaves of the person's voice."""
    (run,) = (path.parent for path in (house.settings.work / "jobs" / job.id).rglob("checkpoints"))
    (run / "previews" / "tmp0").mkdir(parents=True)
    (run / "previews" / "tmp0" / VOICE).write_bytes(b"a voice")


def submit(house, kind):
    """Something whose job of this kind takes two seconds."""
    if kind == "render":
        return house.submit_video(house.ready_subject().id, **SLOW)
    return house.submit_subject(**(SLOW if kind == "preprocess" else {"train": SLOW}))


def at_all(house):
    """The running job, once it has begun."""
    return house.until(lambda: (job := house.newest_job()).progress > 0 and job)


def halfway(house, kind):
    """The running job of this kind, once it is well under way."""
    return house.until(lambda: (job := house.newest_job()).kind == kind and 0.3 < job.progress < 1 and job)


def results(house, folder):
    """Keys of the results in a folder, without what a video comes from and the pictures beside it."""
    beside = ("/audio", ".jpg", ".clip")
    return [key for key in house.objects() if f"/{folder}/" in key and not key.endswith(beside)]


def worker_pid(job):
    return int(job.worker.split("-")[-2])


@pytest.mark.parametrize(("kind", "folder"), [("preprocess", "datasets"), ("train", "runs"), ("render", "videos")])
def test_a_killed_worker_loses_nothing(house, kind, folder):
    owner = submit(house, kind)
    worker = house.start()
    job = halfway(house, kind)
    worker.kill()
    worker.wait()
    if kind == "train":
        leave_voice(house, job)
    house.start()
    house.until(lambda: house.job(job).state == "succeeded")  # well before the lease of 30 s is over
    again = house.job(job)
    assert (again.attempt, again.max_attempts, again.error) == (2, jobs.MAX_ATTEMPTS, None)
    house.until(lambda: house.owner(job).state == "ready")
    assert len(results(house, folder)) == 1
    assert f"{job.id}-2" in results(house, folder)[0]
    if kind == "train":
        steps = house.steps_made(owner)
        assert sorted(set(steps)) == list(range(40))
        assert len(steps) <= 41  # at most the step in which it was killed was made again
        house.until(lambda: not list(house.settings.work.rglob(VOICE)))
        with house.store.open(*results(house, folder)) as file, zipfile.ZipFile(file) as stored:
            assert not [name for name in stored.namelist() if VOICE in name]


@pytest.mark.parametrize("kind", ["preprocess", "train", "render"])
def test_a_killed_service_goes_on_when_it_is_started_again(house, kind):
    submit(house, kind)
    serving = house.start("serve")
    job = halfway(house, kind)
    os.killpg(os.getpgid(worker_pid(job)), signal.SIGKILL)
    serving.kill()
    serving.wait()
    house.start("serve")
    house.until(lambda: house.owner(job).state == "ready")
    assert house.job(job).attempt == 2


def test_a_worker_whose_service_is_killed_gives_its_job_back(house):
    house.submit_subject(steps=100_000, pause=0.01)
    serving = house.start("serve")
    job = at_all(house)
    serving.kill()
    serving.wait()
    house.until(lambda: house.job(job).state == "queued")
    assert house.job(job).max_attempts == jobs.MAX_ATTEMPTS + 1
    house.until(lambda: not list((house.settings.locks / "workers").iterdir()))


def test_a_worker_that_dies_is_started_again(house):
    subject = house.submit_subject(**SLOW)
    house.start("serve")
    job = halfway(house, "preprocess")
    os.kill(worker_pid(job), signal.SIGKILL)
    house.until(lambda: house.subject(subject).state == "ready")
    assert house.job(job).attempt == 2


def test_a_job_that_kills_its_workers_is_given_up_and_the_others_run(house):
    poison = house.submit_subject(at={"1": "kill"})
    other = house.submit_subject()
    for _ in range(jobs.MAX_ATTEMPTS):
        worker = house.start()
        assert worker.wait(60) == -signal.SIGKILL
    house.start()
    house.until(lambda: house.subject(other).state == "ready" and house.subject(poison).state == "failed")
    (job,) = house.subject(poison).jobs
    assert (job.state, job.attempt, job.error["code"]) == ("failed", jobs.MAX_ATTEMPTS, "worker_lost")


def test_a_worker_that_is_told_to_stop_gives_its_job_back(house):
    subject = house.submit_subject(train=SLOW)
    worker = house.start()
    job = halfway(house, "train")
    worker.terminate()
    assert worker.wait(10) == 0
    assert (house.job(job).state, house.job(job).max_attempts) == ("queued", jobs.MAX_ATTEMPTS + 1)
    house.start()
    house.until(lambda: house.subject(subject).state == "ready")
    assert house.steps_made(subject) == list(range(40))


def test_a_worker_in_a_native_call_still_stops_and_gives_its_job_back(house):
    house.settings = house.settings.replace(grace_s=0.5)
    house.submit_subject(at={"1": "hang"})
    worker = house.start()
    job = at_all(house)
    worker.terminate()
    assert worker.wait(10) == os.EX_TEMPFAIL
    assert house.job(job).state == "queued"


def test_a_frozen_worker_loses_its_job_and_cannot_spoil_it(house):
    """Stopped, not dead: the lease runs out, another worker finishes, and the first one wakes up.

    It must not be frozen while it writes: on SQLite it would keep the database to itself until it goes on. So the
    heartbeats are far apart here, and it is frozen just after one of them.
    """
    house.settings = house.settings.replace(lease_s=4.0, beat_s=1.0)
    video = house.submit_video(house.ready_subject().id, steps=100, pause=0.05)
    frozen = house.start()
    job = halfway(house, "render")
    os.kill(frozen.pid, signal.SIGSTOP)
    house.start()
    house.until(lambda: house.video(video).state == "ready")
    ready = house.video(video)
    os.kill(frozen.pid, signal.SIGCONT)
    frozen.terminate()
    assert frozen.wait(30) == 0
    assert house.video(video).file_key == ready.file_key == results(house, "videos")[0]
    assert (len(results(house, "videos")), house.job(job).attempt) == (1, 2)
    assert list((house.settings.work / "jobs").iterdir()) == []


def test_ctrl_c_stops_the_service(house):
    house.submit_subject(steps=100_000, pause=0.01)
    serving = house.start("serve")
    job = at_all(house)
    serving.send_signal(signal.SIGINT)
    assert serving.wait(30) == 0
    assert house.job(job).state == "queued"
    with pytest.raises(ProcessLookupError):
        os.kill(worker_pid(job), 0)


def test_a_second_service_on_the_same_data_is_refused(house):
    house.start("serve")
    lock = house.settings.locks / "serve"
    house.until(lambda: is_held(lock))
    assert house.start("serve").wait(30) == 1
    with pytest.raises(InUse, match="serve"):
        HeldLock(lock)


def is_held(path):
    try:
        HeldLock(path).release()
    except InUse:
        return True
    return False


def test_workers_know_the_dead_from_the_living_and_from_strangers(tmp_path):
    ada, bob = WorkerLock(tmp_path, "ada"), WorkerLock(tmp_path, "bob")
    assert not is_abandoned(tmp_path / "bob")
    bob._lock.release()  # as the kernel does when the process ends
    assert is_abandoned(tmp_path / "bob")
    assert not is_abandoned(tmp_path / "ada") and not is_abandoned(tmp_path / "a worker of another machine")
    ada.remove_dead()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ada"]
    ada.release()


def test_a_retried_job_finishes_after_its_worker_was_lost(house):
    subject = house.submit_subject(**SLOW)
    worker = house.start()
    job = halfway(house, "preprocess")
    house.write(job_service.cancel_job, job.id)
    worker.kill()
    worker.wait()
    house.write(job_service.retry_job, house.settings, job.id)
    house.start()
    house.until(lambda: house.subject(subject).state == "ready")
