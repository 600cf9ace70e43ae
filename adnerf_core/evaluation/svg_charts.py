"""Charts: series of numbers as lines in the unit square of an SVG; the page draws axes and words around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

TICKS = 5


@dataclass(frozen=True)
class Series:
    """One line: its name in the legend, its style ("true", "rendered", "faint"), its values (NaN: a gap)."""

    name: str
    style: str
    values: ndarray


@dataclass(frozen=True)
class Tick:
    """A place along an axis, in percent of its length, and what stands there."""

    place: float
    label: str


@dataclass(frozen=True)
class Chart:
    """What the template draws: paths and bands in a square of 100 x 100, y down."""

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
    """A chart of `series` over `x` (ascending but for restarts); `band` marks values of x that get a shaded background."""
    finite = np.concatenate([s.values[np.isfinite(s.values)] for s in series])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    y_places = round_ticks(low, high)
    low, high = min(low, y_places[0]), max(high, y_places[-1])
    left, right = float(x.min()), float(x.max())
    columns = 100 * (x - left) / max(right - left, 1e-9)

    def height(values: ndarray | float) -> ndarray | float:
        return 100 - 100 * (values - low) / max(high - low, 1e-9)

    x_places = [p for p in round_ticks(left, right) if left <= p <= right]
    return Chart(
        title,
        alt,
        x_label,
        y_label,
        lines=[(s, path(columns, height(s.values))) for s in series],
        bands=spans(columns, band) if band is not None else [],
        x_ticks=[Tick(100 * (p - left) / max(right - left, 1e-9), f"{p:g}") for p in x_places],
        y_ticks=[Tick(height(p), f"{p:g}") for p in y_places],
    )


def path(x: ndarray, y: ndarray) -> str:
    """An SVG path through the points; it breaks off at NaN and where x goes back (a training that started anew)."""
    words, before = [], math.inf
    for column, row in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(row):
            words.append(f"{'L' if before <= column else 'M'}{column:.2f} {row:.2f}")
        before = column if math.isfinite(row) else math.inf
    return "".join(words)


def spans(x: ndarray, chosen: ndarray) -> list[tuple[float, float]]:
    """(start, width) of the stretches of x in which `chosen` holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(int), [0]])))
    return [(float(x[a]), float(x[b - 1] - x[a])) for a, b in edges.reshape(-1, 2)]


def round_ticks(low: float, high: float) -> list[float]:
    """About TICKS round numbers from at most `low` to at least `high`, at steps of 1, 2 or 5 times a power of ten."""
    rough = max(high - low, 1e-9) / TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]
