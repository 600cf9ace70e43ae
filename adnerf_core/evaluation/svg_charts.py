"""Line charts as SVG paths in a square of 100 x 100; the HTML page draws axes and labels around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

TICKS = 5
"""Approximate number of ticks along an axis: more labels would overlap on a phone."""
MIN_SPAN = 1e-9
"""Smallest length of an axis, so that a constant series does not divide by 0."""


@dataclass(frozen=True)
class Series:
    """One line: its name in the legend, its style ("true", "rendered" or "faint"), and its values; NaN leaves a gap."""

    name: str
    style: str
    values: ndarray


@dataclass(frozen=True)
class Tick:
    """A position along an axis, in percent of its length, and its label."""

    position: float
    label: str


@dataclass(frozen=True)
class Chart:
    """What the template draws. Paths and bands are in a square of 100 x 100; y points down."""

    title: str
    alt: str
    x_label: str
    y_label: str
    lines: list[tuple[Series, str]]
    bands: list[tuple[float, float]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def chart(
    title: str,
    alt: str,
    x: ndarray,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    band: ndarray | None = None,
) -> Chart:
    """Builds a chart.

    Args:
        title: Title.
        alt: Description for readers who do not see the chart.
        x: Abscissae of all series; ascending, except where a resumed training goes back.
        series: The lines; at least one.
        x_label: Meaning and unit of x.
        y_label: Meaning and unit of the values.
        band: Where the background is shaded, for each x.
    """
    finite = np.concatenate([s.values[np.isfinite(s.values)] for s in series])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    y_values = round_ticks(low, high)
    low, high = min(low, y_values[0]), max(high, y_values[-1])
    left, right = float(x.min()), float(x.max())
    columns = 100 * (x - left) / max(right - left, MIN_SPAN)

    def height(values: ndarray | float) -> ndarray | float:
        return 100 - 100 * (values - low) / max(high - low, MIN_SPAN)

    x_values = [p for p in round_ticks(left, right) if left <= p <= right]
    return Chart(
        title,
        alt,
        x_label,
        y_label,
        lines=[(s, path(columns, height(s.values))) for s in series],
        bands=spans(columns, band) if band is not None else [],
        x_ticks=[Tick(100 * (p - left) / max(right - left, MIN_SPAN), f"{p:g}") for p in x_values],
        y_ticks=[Tick(height(p), f"{p:g}") for p in y_values],
    )


def path(x: ndarray, y: ndarray) -> str:
    """Returns an SVG path through the points; it is interrupted at NaN and where x goes back (in a resumed training)."""
    commands, previous = [], math.inf
    for column, row in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(row):
            commands.append(f"{'L' if previous <= column else 'M'}{column:.2f} {row:.2f}")
        previous = column if math.isfinite(row) else math.inf
    return "".join(commands)


def spans(x: ndarray, mask: ndarray) -> list[tuple[float, float]]:
    """Returns (start, width) of each stretch of x in which `mask` is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return [(float(x[a]), float(x[b - 1] - x[a])) for a, b in edges.reshape(-1, 2)]


def round_ticks(low: float, high: float) -> list[float]:
    """Returns about TICKS round numbers that cover `low` to `high`, with a step of 1, 2 or 5 times a power of ten."""
    rough = max(high - low, MIN_SPAN) / TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]
