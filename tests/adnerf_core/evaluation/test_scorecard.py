"""The scorecard: every figure is scored by its range, and comes with advice."""

import pytest

from adnerf_core.evaluation.scorecard import METRICS, advice, score

GOOD = {
    "lip_sync": 0.8, "lip_sync_ceiling": 0.99, "lip_sync_true_lips": 0.95, "lip_amplitude": 0.9, "lmd_px": 1.1, "lmd_floor_px": 0.2,
    "quiet_opening": 0.12, "quiet_opening_true": 0.1, "mouth_psnr": 28.0, "mouth_psnr_wrong_sound": 25.0, "blink": 0.9,
    "head_psnr": 31.0, "psnr": 30.0, "true_torso_psnr": 33.0, "ssim": 0.95, "head_sharpness": 0.9, "mouth_sharpness": 0.9,
    "head_jitter_px": 0.2, "head_jitter_true_px": 0.25,
}  # fmt: skip


def verdicts(**changes):
    return {each.metric.title: each.verdict for each in score(GOOD | changes)}


def test_good_figures_need_no_advice():
    assert set(verdicts().values()) == {"good"}
    assert advice(score(GOOD)) == []


@pytest.mark.parametrize(
    ("changes", "title", "verdict"),
    [
        ({"lip_sync": 0.74}, "Lips follow the sound", "fair"),
        ({"lip_sync": 0.2}, "Lips follow the sound", "poor"),
        ({"lip_amplitude": 1.3}, "How far the mouth opens", "fair"),
        ({"lip_amplitude": 0.4}, "How far the mouth opens", "poor"),
        ({"lip_offset_ms": 30, "lip_offset_confidence": 0.6}, "Lips in time with the sound", "good"),
        ({"lip_offset_ms": -120, "lip_offset_confidence": 0.6}, "Lips in time with the sound", "poor"),
        ({"sync_offset_ms": 80, "sync_confidence": 1.5}, "Lips and sound, as a judge finds them", "fair"),
        ({"lmd_px": 2.4}, "Shape of the lips", "poor"),
        ({"mouth_psnr": 25.2}, "Right sound against wrong sound", "poor"),
        ({"quiet_opening": 0.3}, "Lips at rest in silence", "fair"),
        ({"head_jitter_px": 0.5}, "Steadiness of the head", "poor"),
        ({"head_sharpness": 1.5}, "Fine detail in the head", "poor"),
        ({"blink": None}, "Blinks", "unknown"),
        ({"quiet_opening": None}, "Lips at rest in silence", "unknown"),
    ],
)
def test_values_are_scored_by_their_ranges(changes, title, verdict):
    scored = verdicts(**changes)
    assert scored.pop(title) == verdict
    assert set(scored.values()) == {"good"}


def test_the_worst_flaw_is_advised_first_and_once():
    lines = advice(score(GOOD | {"lip_sync": 0.1, "lmd_px": 3.0, "blink": 0.7}))
    assert len(lines) == 2
    assert "speech" in lines[0] and "glasses" in lines[1]


def test_lpips_is_a_line_only_if_it_was_measured():
    assert "Visible difference (LPIPS)" not in verdicts()
    assert verdicts(lpips=0.05)["Visible difference (LPIPS)"] == "good"


def test_an_offset_that_may_be_chance_is_not_shown():
    assert "Lips in time with the sound" not in verdicts(lip_offset_ms=-300, lip_offset_confidence=0.2)
    assert "Lips and sound, as a judge finds them" not in verdicts(sync_offset_ms=-300, sync_confidence=0.9)


def test_every_metric_explains_itself():
    for metric in METRICS:
        assert metric.meaning.endswith(".") and metric.advice.endswith(".")
        assert "poor" in metric.ranges and "inf" not in metric.ranges
        assert metric.fair[0] <= metric.good[0] <= metric.good[1] <= metric.fair[1]
    assert METRICS[0].format(None) == "not measured"
    assert [score(GOOD)[k].metric.format(score(GOOD)[k].value) for k in (0, 3, 7)] == ["0.80", "1.10 px", "31.0 dB"]
