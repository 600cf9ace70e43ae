"""A worker releases jobs that stand as its own and that it does not run."""

from __future__ import annotations

from contextlib import closing

import pytest

from storage.errors import BadSetting
from storage.tables import jobs
from tests.worker.stub_core import CORE
from worker.jobs.runner import Runner


@pytest.fixture
def runner(house):
    with closing(Runner(house.settings, CORE)) as runner:
        yield runner


@pytest.mark.parametrize("name", ["ffmpeg", "fonts_dir", "voices_dir"])
def test_what_a_worker_needs_and_does_not_find_ends_its_start(settings, name):
    with pytest.raises(BadSetting, match=f"ADNERF_{name.upper()}"):
        Runner(settings.replace(**{name: "/nowhere/to/be/found"}), CORE)


def test_a_job_whose_end_could_not_be_recorded_is_released(house, runner, monkeypatch):
    house.submit_subject()
    monkeypatch.setattr(runner.pipeline, "run", lambda job, stopping: 1 / 0)  # such as: the database is away at the end
    with pytest.raises(ZeroDivisionError):
        runner.run_next()
    job = house.newest_job()
    assert (job.state, job.worker) == ("running", runner.name)
    runner._sweep()
    job = house.job(job)
    assert (job.state, job.attempt, job.max_attempts) == ("queued", 1, jobs.MAX_ATTEMPTS + 1)


def test_the_job_that_runs_and_those_of_others_are_kept(house, runner, monkeypatch):
    house.submit_subject()
    house.submit_subject()
    with house.database.session() as session:
        other = jobs.claim(session, "other", lease_s=60.0)
    states = []

    def run(job, stopping):
        runner._sweep()
        states.extend([house.job(job).state, house.job(other).state])

    monkeypatch.setattr(runner.pipeline, "run", run)
    assert runner.run_next()
    assert states == ["running", "running"]
