"""Small versions of the benchmarks of the API: their figures are plausible and consistent."""

from __future__ import annotations

import json

from benchmarks import api_load, listeners, neighbours


def test_the_api_is_measured(tmp_path, monkeypatch, capsys):
    out = tmp_path / "load.json"
    small = ["--requests", "3", "--upload-mib", "4", "--jobs", "5", "--json", str(out)]
    monkeypatch.setattr("sys.argv", ["api_load", *small])
    api_load.main()
    figures = json.loads(out.read_text())
    assert all(0 < figure["p50_ms"] <= figure["p99_ms"] for figure in (*figures["alone"].values(), figures["at_once"]))
    assert figures["upload"]["memory_peak_mib"] >= figures["upload"]["memory_before_mib"] > 20
    assert list(figures["submit"]["memory_mib_by_jobs"]) == ["0", "1", "2", "3", "4", "5"]
    assert "304" in capsys.readouterr().out


def test_listeners_are_measured(tmp_path):
    out = tmp_path / "listeners.json"
    figures = listeners.main(["--listeners", "4", "--jobs", "2", "--seconds", "1", "--json", str(out)])
    assert json.loads(out.read_text()) == figures
    for phase in ("alone", "followed", "told"):
        assert figures[phase]["memory_mib"] > 20 and figures[phase]["core_share"] >= 0
    assert 0 < figures["alone"]["p50_ms"] <= figures["alone"]["p99_ms"]
    assert figures["all_have_heard_s"] > 0


def test_the_neighbours_are_measured(tmp_path):
    out = tmp_path / "neighbours.json"
    few = ["--seconds", "1", "--rounds", "1", "--ways", "half_requests", "--json", str(out)]
    assert neighbours.main(few) in (0, 1)  # with so few values, the ratio says nothing
    (figures,) = json.loads(out.read_text())["ways"].values()
    assert set(figures) == {"read", "write", "delivery"}
    assert all(min(kind["p99_before_ms"], kind["p99_during_ms"]) > 0 for kind in figures.values())
