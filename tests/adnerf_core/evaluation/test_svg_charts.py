"""Charts place numbers, ticks and bands correctly."""

import numpy as np
import pytest

from adnerf_core.evaluation.svg_charts import Series, chart, path, round_ticks, spans


def test_a_line_and_its_ticks_span_the_square():
    drawn = chart(
        "Up",
        "rises",
        np.array([10.0, 15, 20]),
        [Series("a", "true", np.array([0.0, 5, 10]))],
        x_label="s",
        y_label="px",
    )
    assert drawn.lines[0][1] == "M0.00 100.00L50.00 50.00L100.00 0.00"
    assert [(tick.position, tick.label) for tick in drawn.x_ticks] == [
        (0, "10"),
        (20, "12"),
        (40, "14"),
        (60, "16"),
        (80, "18"),
        (100, "20"),
    ]
    assert [(tick.position, tick.label) for tick in drawn.y_ticks][:2] == [(100, "0"), (80, "2")]


def test_a_gap_and_a_restart_break_the_line():
    assert path(np.array([0.0, 1, 2]), np.array([5.0, np.nan, 6])) == "M0.00 5.00M2.00 6.00"
    assert path(np.array([0.0, 9, 3]), np.array([1.0, 2, 3])) == "M0.00 1.00L9.00 2.00M3.00 3.00"


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 17.2), (28.1, 28.4), (5, 5), (0, 12345)])
def test_ticks_are_round_and_cover_the_values(low, high):
    ticks = round_ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high
    assert 1 <= len(ticks) <= 8
    assert np.allclose(np.diff(ticks), np.diff(ticks)[:1])


def test_a_line_without_any_value_is_empty():
    drawn = chart("None", "", np.arange(3.0), [Series("a", "true", np.full(3, np.nan))], x_label="", y_label="")
    assert drawn.lines[0][1] == ""


def test_spans_are_the_stretches_where_the_mask_is_true():
    assert spans(np.arange(6.0), np.array([1, 1, 0, 0, 1, 1], bool)) == [(0.0, 1.0), (4.0, 1.0)]
