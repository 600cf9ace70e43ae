"""A disk that is really full: jobs fail and say so, the worker lives, and a retry works once there is room."""

from __future__ import annotations

import shutil

import pytest

from storage.errors import StoreFull
from storage.tables import jobs
from tests.worker import stub_core
from tests.worker.conftest import House


@pytest.fixture
def small_house(small_disk, settings):
    house = House(settings.replace(data_dir=small_disk))
    yield house
    house.close()


def test_the_job_fails_and_can_be_retried(small_house):
    subject = small_house.submit_subject(bytes=10_000_000)
    other = small_house.submit_subject()
    worker = small_house.start()
    small_house.until(lambda: small_house.subject(other).state == "ready")
    (job,) = small_house.subject(subject).jobs
    assert (job.state, job.error["code"]) == ("failed", "disk_full")
    assert worker.poll() is None
    small_house.until(lambda: not list((small_house.settings.work / "jobs").iterdir()))


def test_what_no_longer_fits_the_store_is_refused(small_house):
    """The dataset fits the work folder, but not a second time the store."""
    subject = small_house.submit_subject(bytes=1_500_000)
    small_house.work()
    (job,) = small_house.subject(subject).jobs
    assert (job.state, job.error["code"]) == ("failed", "disk_full")
    ballast = small_house.settings.data_dir / "ballast"
    ballast.write_bytes(b"")
    with pytest.raises(OSError, match="space"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"b" * 4096)
    with pytest.raises(StoreFull):
        small_house.submit_subject(words="w" * 9000)
    ballast.unlink()
    assert small_house.ready_subject().state == "ready"


def test_a_disk_that_others_have_filled_costs_no_job(small_house, monkeypatch):
    """Whether it is full before a job begins, or becomes so meanwhile: all wait, no attempt is counted, and they go on with the space."""
    ballast = small_house.settings.data_dir / "ballast"

    def fill():
        with ballast.open("ab", buffering=0) as file:
            while shutil.disk_usage(ballast.parent).free > 90_000:  # what the database needs
                file.write(b"b" * 4096)

    monkeypatch.setitem(stub_core.ACTIONS, "crash", fill)
    subject = small_house.submit_subject(bytes=40_000, at={"0": "crash"})
    worker = small_house.worker()
    fill()
    assert not worker.run_next()
    ballast.unlink()
    assert worker.run_next()
    (job,) = small_house.subject(subject).jobs
    assert (job.state, job.max_attempts - job.attempt, job.error) == ("queued", jobs.MAX_ATTEMPTS, None)
    assert not list((small_house.settings.work / "jobs").iterdir())
    assert not worker.run_next()
    ballast.unlink()
    monkeypatch.setitem(stub_core.ACTIONS, "crash", lambda: None)
    while worker.run_next():
        pass
    worker.close()
    assert small_house.subject(subject).state == "ready"
