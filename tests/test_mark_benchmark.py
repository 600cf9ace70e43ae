"""The benchmark of the watermark, with a short video."""

import json

import pytest

from adnerf_core.files import ffmpeg
from benchmarks import mark
from tests.adnerf_core.clips import speaker, syllables


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """A video of the synthetic speaker: 4 s, 128 px."""
    path = tmp_path_factory.mktemp("mark_benchmark") / "speaker.mp4"
    ffmpeg.write_video(path, speaker(syllables(100), 128))
    return path


def test_the_results_of_windows_add_up(footage, monkeypatch, capsys):
    monkeypatch.setattr(mark, "CLIPS_PER_WINDOW", 2)
    monkeypatch.setattr(mark, "SHORT_S", (0.6,))
    monkeypatch.setattr(mark, "ATTACKS", {"none": None, mark.PROMISED: mark.ATTACKS[mark.PROMISED], "blank": BLANK})
    first = mark.measure(mark.Window(footage, 0.0, 128, seed=1, keys=20))
    second = mark.measure(mark.Window(footage, 0.0, 128, seed=1, keys=1))
    assert first.scores == second.scores  # equal seeds give equal clips
    total = mark.Results()
    total.add(first)
    total.add(second)
    report = mark.summary({128: total}, 1)
    assert report["clips"] == {"128": 4} and report["unmarked"]["searches"] == 21
    assert report["unmarked"]["false_alarms"] == 0 and 6 < report["unmarked"]["score_median"] < 10
    size = report["sizes"]["128"]
    assert size["attacks"]["none"]["rate"] == 1 and size["attacks"]["none"]["coded_sign_errors"] < 0.1
    assert size["attacks"]["blank"] | {"coded_sign_errors": None} == NOTHING
    assert size["attacks"]["0.6 s, as written"]["clips"] == 2 and size["wrong_numbers"] == 0
    assert 42 <= size["PSNR min, dB"] <= size["PSNR, dB"] < 46 and 0.9 < size["SSIM"] < 1
    mark.show(json.loads(json.dumps(report)))
    assert "4/4" in capsys.readouterr().out


def test_an_interrupted_run_has_windows_of_all_sizes(footage):
    planned = mark.windows([footage, footage], list(mark.WINDOWS), 0.5, 1000, seed=3)
    assert planned == mark.windows([footage, footage], list(mark.WINDOWS), 0.5, 1000, seed=3)
    assert planned != mark.windows([footage, footage], list(mark.WINDOWS), 0.5, 1000, seed=4)
    assert {window.size for window in planned[: len(mark.WINDOWS)]} == set(mark.WINDOWS)
    assert sum(window.size == 64 and not window.quick for window in planned) == mark.THOROUGH_WINDOWS
    assert sum(window.keys for window in planned) >= 1000 and len({window.seed for window in planned}) == len(planned)


BLANK = ["-vf", "drawbox=t=fill:color=gray"]
NOTHING = {"clips": 2, "found": 0, "rate": 0, "score_median": 0, "score_min": 0, "coded_sign_errors": None}
