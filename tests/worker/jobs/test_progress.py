"""One progress for a job, and a time to go that is true."""

from __future__ import annotations

import pytest

from storage.tables import counters
from worker.jobs.progress import ProgressEstimator

WEIGHTS = {"audio": 1.0, "head": 6.0, "torso": 3.0}


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def walk(estimator, clock, stage, seconds, steps=20, start=0):
    """Goes through a stage evenly, and returns every current with the seconds that the stage still takes."""
    for step in range(start, steps + 1):
        yield estimator.report(stage, step, steps), seconds * (steps - step) / steps
        if step < steps:
            clock.now += seconds / steps


def test_progress_covers_0_to_1_by_the_weights(clock):
    estimator = ProgressEstimator(WEIGHTS, clock)
    assert estimator.report("audio", 0, 10).progress == 0.0
    assert estimator.report("audio", 10, 10).progress == pytest.approx(0.1)
    assert estimator.report("head", 1, 2).progress == pytest.approx(0.4)
    assert estimator.report("torso", 3, 3) == ("torso", pytest.approx(1.0), None)


def test_the_time_to_go_is_right_when_the_weights_are(clock):
    estimator = ProgressEstimator(WEIGHTS, clock)
    seen = 0
    for stage, seconds, later in (("audio", 10, 90), ("head", 60, 30), ("torso", 30, 0)):
        for current, left in walk(estimator, clock, stage, seconds):
            if current.eta_s is not None:
                assert current.eta_s == pytest.approx(left + later, abs=0.2)
                seen += 1
    assert seen > 50


def test_a_stage_is_timed_by_its_own_pace_when_the_weights_are_wrong(clock):
    """The head is ten times as slow as the weights say: it is noticed inside the head, not after it."""
    estimator = ProgressEstimator(WEIGHTS, clock)
    list(walk(estimator, clock, "audio", 10))
    standings = [(current.eta_s, left) for current, left in walk(estimator, clock, "head", 600)]
    eta, left = standings[10]
    assert left == 300
    assert eta == pytest.approx(300 + 3 * 310 / 4, rel=0.01)  # the torso at the pace of all seen so far


def test_nothing_is_told_before_it_can_be_known(clock):
    estimator = ProgressEstimator(WEIGHTS, clock)
    assert estimator.report("head", 0, 100).eta_s is None
    clock.now += 60
    assert estimator.report("head", 1, 1000).eta_s is None


def test_what_stood_before_counts_as_progress_but_not_as_pace(clock):
    estimator = ProgressEstimator(WEIGHTS, clock)
    assert estimator.report("head", 500, 1000).progress == pytest.approx(0.4)
    clock.now += 10
    current = estimator.report("head", 600, 1000)
    assert current.eta_s == pytest.approx(40 + 3 / 0.6 * 10, rel=0.01)


def test_a_training_that_starts_over_goes_back(clock):
    estimator = ProgressEstimator(WEIGHTS, clock)
    list(walk(estimator, clock, "head", 60))
    assert estimator.report("head", 0, 20).progress == pytest.approx(0.1)
    clock.now += 30
    assert estimator.report("head", 10, 20).eta_s == pytest.approx(30 + 30, rel=0.01)


def test_a_stage_without_weight_is_named_only(clock):
    estimator = ProgressEstimator(WEIGHTS, clock)
    estimator.report("head", 1, 2)
    assert estimator.report("store", 0, 1) == ("store", pytest.approx(0.4), None)


def test_a_stage_of_nothing_is_done(clock):
    assert ProgressEstimator({"render": 1}, clock).report("render", 0, 0).progress == 1.0


def test_stages_are_timed(clock):
    estimator = ProgressEstimator(WEIGHTS, clock)
    for seconds, stage in ((0.0, "audio"), (2.0, "audio"), (3.0, "head"), (1.0, "store"), (4.0, "store")):
        clock.now += seconds
        estimator.report(stage, 1, 1)
    assert estimator.seconds == {"audio": 5.0, "head": 1.0, "store": 4.0}


def test_the_times_of_a_job_that_succeeded_are_tallied(house):
    house.submit_subject(train={"at": {"1": "crash"}})
    house.work()
    with house.database.session(write=False) as session:
        timed = {
            (each.kind, each.label): each.count for each in counters.all_counts(session) if each.name == counters.STAGE
        }
    assert timed["preprocess", "track"] == 1
    assert not any(kind == "train" for kind, _ in timed)
