"""Short versions of more experiments of benchmarks/chaos; a file of their own runs beside test_short.py."""

from __future__ import annotations

import pytest

from benchmarks.chaos.empty_database import replaced
from benchmarks.chaos.hung import hung
from benchmarks.chaos.outages import outages
from benchmarks.chaos.shared_folder import cancel_and_retry
from benchmarks.chaos.versions import older_worker
from tests.chaos.conftest import BUSY_S, QUICK

pytestmark = pytest.mark.timeout(1200)  # for busy machines; each takes seconds on an idle one


def test_faults_that_are_not_the_jobs_count_no_attempt(backends, tmp_path):
    only = (
        "postgresql killed",
        "store frozen",
        "api frozen",
        "clock of beat ahead",
        "clock of worker-1 ahead",
        "suspend",
    )
    outcome = outages(backends, tmp_path / "outages", rounds=1, longer_s=1.0, only=only, lease_s=3.0, **QUICK)
    assert outcome.broken == []
    assert (outcome.figures["faults"], outcome.figures["attempts_counted"]) == (len(only), 0)


def test_processes_that_hang_are_replaced(backends, tmp_path):
    outcome = hung(backends, tmp_path / "hung", count=1, within_s=BUSY_S, watchdog_s=5.0, lease_s=10.0, **QUICK)
    assert outcome.broken == []
    assert outcome.figures["attempts_counted"] == 1


def test_workers_that_share_a_folder_run_cancelled_jobs_again(backends, tmp_path):
    outcome = cancel_and_retry(backends, tmp_path / "shared", rounds=2, **QUICK)
    assert outcome.broken == []
    assert (outcome.figures["videos_served"], outcome.figures["erased"]) == (2, 0)


def test_an_empty_database_erases_nothing(backends, tmp_path):
    outcome = replaced(backends, tmp_path / "empty", subjects=1, rounds=1, **QUICK)
    assert outcome.broken == []
    assert (outcome.figures["objects_removed"], outcome.figures["lost"]) == (0, 0)


def test_an_older_worker_beside_a_newer_one_loses_nothing(backends, tmp_path):
    outcome = older_worker(backends, tmp_path / "older", subjects=2, kills=1, **QUICK)
    if reason := outcome.figures.get("skipped"):
        pytest.skip(reason)
    assert outcome.broken == []
    assert outcome.figures["objects_removed"] == 0
