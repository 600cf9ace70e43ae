"""Each experiment of benchmarks/chaos, in short: the same code as `make chaos`, against real servers."""

from __future__ import annotations

import json

import pytest

from benchmarks.chaos import __main__ as chaos
from benchmarks.chaos.broker import flush, network_cut, repeats
from benchmarks.chaos.handling import cancels, hand_overs, poison
from benchmarks.chaos.load import load
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.stage import servers
from benchmarks.chaos.storm import storm

pytestmark = pytest.mark.timeout(1200)  # machines that test are busy ones; each takes seconds on a quiet one

QUICK = {"sweep_s": 0.5, "wake_again_s": 2.0, "beat_s": 0.2}
BUSY_S = 120.0
"""How long anything may take on a busy machine. What is promised is measured by `make chaos`, on a quiet one."""


@pytest.fixture(scope="module")
def on():
    """Servers of these tests' own: they are killed."""
    with servers() as started:
        yield started


def test_killed_at_random_nothing_is_lost_and_nothing_half_written_is_served(on, tmp_path):
    work = {"steps": 10, "pause": 0.05}
    outcome = storm(
        on,
        tmp_path / "storm",
        kills=6,
        pause_s=(0.5, 1.5),
        limit_s=120.0,
        clients=2,
        subject=work | {"train": work},
        audio=work | {"pad": "a" * 10_000},
        **QUICK,
    )
    assert outcome.broken == []
    figures = outcome.figures
    assert figures["lost"] == figures["published_twice"] == figures["damaged_files_served"] == 0
    assert figures["kills"] > 0 and figures["answered_202"] > 0 and figures["files_served"] > 0


def test_a_redis_that_forgets_loses_nothing(on, tmp_path):
    outcome = flush(on, tmp_path / "flush", subjects=2, flushes=2, **QUICK)
    assert outcome.broken == []
    assert (outcome.figures["jobs"], outcome.figures["attempts_more_than_one"]) == (4, 0)


@pytest.mark.parametrize("how", ["freeze", "cut"])
def test_what_a_zombie_writes_is_refused(on, tmp_path, how):
    outcome = network_cut(on, tmp_path / how, how=how, lease_s=3.0, **QUICK)
    assert outcome.broken == []
    assert outcome.figures["zombie_steps_after_the_cut"] > 0


def test_a_message_that_comes_again_and_again_makes_one_result(on, tmp_path):
    outcome = repeats(on, tmp_path / "repeats", deliveries=5, job_s=6.0, visibility_s=2.0, **QUICK)
    assert outcome.broken == []
    assert (outcome.figures["attempts"], outcome.figures["results"]) == (1, 2)


def test_a_cancelled_job_frees_its_worker(on, tmp_path):
    outcome = cancels(on, tmp_path / "cancels", count=2, within_s=BUSY_S, **QUICK)
    assert outcome.broken == []
    assert outcome.figures["seconds_until_the_worker_is_free"]["count"] == 2


def test_a_worker_that_is_told_to_stop_hands_its_training_over(on, tmp_path):
    outcome = hand_overs(on, tmp_path / "hand_overs", count=1, within_s=BUSY_S, **QUICK)
    assert outcome.broken == []
    assert outcome.figures["attempts_counted"] == 0


def test_a_job_that_kills_its_workers_is_given_up(on, tmp_path):
    outcome = poison(on, tmp_path / "poison", **QUICK)
    assert outcome.broken == []
    assert (outcome.figures["attempts"], outcome.figures["code"]) == (3, "worker_lost")


def test_the_api_answers_beside_busy_workers_and_an_upload(on, tmp_path):
    outcome = load(on, tmp_path / "load", upload_mib=24, requests=5, jobs=10, busy_workers=1, **QUICK)
    assert outcome.broken == []
    assert outcome.figures["poll_s"]["count"] == 5


def test_figures_are_kept_beside_those_of_other_experiments_and_failures_are_told(tmp_path, monkeypatch, capsys):
    result = tmp_path / "results" / "chaos.json"
    good = {"kept": lambda on, folder: Outcome("kept", {"lost": 0})}
    monkeypatch.setattr(chaos, "servers", lambda: pytest.MonkeyPatch.context())  # no servers are needed here
    monkeypatch.setattr(chaos, "experiments", lambda kills, limit_s: good)
    assert chaos.main(["--json", str(result)]) == 0

    def breaks(on, folder):
        raise TimeoutError("it did not come true")

    monkeypatch.setattr(chaos, "experiments", lambda kills, limit_s: {"broken": breaks})
    assert chaos.main(["broken", "--json", str(result)]) == 1
    written = json.loads(result.read_text())
    assert written["kept"]["figures"] == {"lost": 0}
    assert "it did not come true" in written["broken"]["broken"][0]
    assert "BROKEN" in capsys.readouterr().out
