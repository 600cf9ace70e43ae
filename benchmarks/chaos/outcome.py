"""The outcome of an experiment, and statistics for its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """The figures of an experiment by name, and its broken promises, a sentence for each."""

    name: str
    figures: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def check(self, fulfilled: bool, sentence: str) -> None:
        """Adds `sentence` to the broken promises unless the promise is fulfilled."""
        if not fulfilled:
            self.broken.append(sentence)


def percentiles(values: Sequence[float], *ranks: int) -> dict[str, float | int | None]:
    """Returns the number of values, the percentiles `ranks` (each one of the values), and the maximum; three decimal places."""
    ordered = sorted(values)
    if not ordered:
        return {"count": 0}
    figures = {f"p{rank}": ordered[round(rank / 100 * (len(ordered) - 1))] for rank in ranks}
    return {"count": len(ordered)} | {name: round(value, 3) for name, value in (figures | {"max": ordered[-1]}).items()}


def spread(seconds: Sequence[float]) -> dict[str, float | int | None]:
    """Returns number, median, 95th percentile and maximum."""
    return percentiles(seconds, 50, 95)
