"""Short versions of the experiments of benchmarks/chaos: the code of `make chaos`, with real servers; the others are in test_short_too.py."""

from __future__ import annotations

import json

import pytest

from benchmarks.chaos import __main__ as chaos
from benchmarks.chaos.broker import flush, network_cut, repeats
from benchmarks.chaos.faults import SHARES
from benchmarks.chaos.handling import cancels, hand_overs, poison
from benchmarks.chaos.load import load
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.storm import storm
from tests.chaos.conftest import BUSY_S, QUICK

pytestmark = pytest.mark.timeout(1200)  # for busy machines; each takes seconds on an idle one


def test_after_faults_of_every_kind_no_job_is_lost_and_no_incomplete_file_is_served(backends, tmp_path):
    work = {"steps": 10, "pause": 0.05}
    outcome = storm(
        backends,
        tmp_path / "storm",
        faults=len(SHARES),
        pause_s=(0.2, 1.0),
        limit_s=60.0,
        freeze_s=(0.2, 1.0),
        clients=2,
        subject=work | {"train": work},
        audio=work | {"pad": "a" * 10_000},
        lease_s=10.0,
        **QUICK,
    )
    assert outcome.broken == []
    figures = outcome.figures
    assert figures["lost"] == figures["published_twice"] == figures["damaged_files_served"] == figures["erased"] == 0
    assert figures["attempts_counted_without_fault_of_the_job"] == 0
    assert figures["faults"] > 0 and figures["answered_202"] > 0 and figures["files_served"] > 0


def test_no_job_is_lost_if_redis_loses_its_data(backends, tmp_path):
    outcome = flush(backends, tmp_path / "flush", subjects=2, flushes=2, **QUICK)
    assert outcome.broken == []
    assert (outcome.figures["jobs"], outcome.figures["attempts_more_than_one"]) == (4, 0)


@pytest.mark.parametrize("how", ["freeze", "cut"])
def test_the_result_of_a_disconnected_worker_is_refused(backends, tmp_path, how):
    outcome = network_cut(backends, tmp_path / how, how=how, lease_s=3.0, **QUICK)
    assert outcome.broken == []
    assert outcome.figures["zombie_steps_after_the_cut"] > 0


def test_a_repeated_message_leads_to_one_result(backends, tmp_path):
    outcome = repeats(backends, tmp_path / "repeats", deliveries=5, job_s=6.0, visibility_s=2.0, **QUICK)
    assert outcome.broken == []
    assert (outcome.figures["attempts"], outcome.figures["results"]) == (1, 2)


def test_a_cancelled_job_frees_its_worker(backends, tmp_path):
    outcome = cancels(backends, tmp_path / "cancels", count=2, within_s=BUSY_S, **QUICK)
    assert outcome.broken == []
    assert outcome.figures["seconds_until_the_worker_is_free"]["count"] == 2


def test_another_worker_continues_the_training_of_a_stopped_one(backends, tmp_path):
    outcome = hand_overs(backends, tmp_path / "hand_overs", count=1, within_s=BUSY_S, **QUICK)
    assert outcome.broken == []
    assert outcome.figures["attempts_counted"] == 0


def test_a_job_that_kills_its_workers_fails(backends, tmp_path):
    outcome = poison(backends, tmp_path / "poison", **QUICK)
    assert outcome.broken == []
    assert (outcome.figures["attempts"], outcome.figures["code"]) == (3, "worker_lost")


def test_the_api_answers_during_an_upload_while_workers_are_busy(backends, tmp_path):
    outcome = load(backends, tmp_path / "load", upload_mib=24, requests=5, jobs=10, busy_workers=1, **QUICK)
    assert outcome.broken == []
    assert outcome.figures["poll_s"]["count"] == 5


def test_figures_are_added_to_those_of_other_experiments_and_failures_are_printed(tmp_path, monkeypatch, capsys):
    result = tmp_path / "results" / "chaos.json"
    good = {"kept": lambda backends, folder: Outcome("kept", {"lost": 0})}
    monkeypatch.setattr(chaos, "servers", lambda: pytest.MonkeyPatch.context())  # no servers are needed here
    monkeypatch.setattr(chaos, "experiments", lambda faults, limit_s: good)
    assert chaos.main(["--json", str(result)]) == 0

    def breaks(backends, folder):
        raise TimeoutError("a failure")

    monkeypatch.setattr(chaos, "experiments", lambda faults, limit_s: {"broken": breaks})
    assert chaos.main(["broken", "--json", str(result)]) == 1
    written = json.loads(result.read_text())
    assert written["kept"]["figures"] == {"lost": 0}
    assert "a failure" in written["broken"]["broken"][0]
    assert "BROKEN" in capsys.readouterr().out
