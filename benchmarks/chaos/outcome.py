"""What an experiment has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """Figures by name, and the promises that were broken, each in a sentence."""

    name: str
    figures: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def hold(self, promise: bool, otherwise: str) -> None:
        """Notes a promise that was not kept."""
        if not promise:
            self.broken.append(otherwise)


def percentiles(values: Sequence[float], *ranks: int) -> dict[str, float | int | None]:
    """How many there are, these percentiles (the nearest value that there is), and the largest; to three digits."""
    ordered = sorted(values)
    if not ordered:
        return {"count": 0}
    found = {f"p{rank}": ordered[round(rank / 100 * (len(ordered) - 1))] for rank in ranks}
    return {"count": len(ordered)} | {name: round(value, 3) for name, value in (found | {"max": ordered[-1]}).items()}


def spread(seconds: Sequence[float]) -> dict[str, float | int | None]:
    """How many there are, median, 95th percentile and maximum."""
    return percentiles(seconds, 50, 95)
