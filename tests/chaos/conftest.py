"""What the short versions of the experiments share."""

from __future__ import annotations

import pytest

from benchmarks.chaos.service import servers

QUICK = {"sweep_s": 0.5, "wake_again_s": 2.0, "beat_s": 0.2}
BUSY_S = 120.0
"""Longest duration on a busy machine. `make chaos` measures the promised durations, on an idle one."""


@pytest.fixture(scope="module")
def backends():
    """Servers for the tests of one file alone, because the experiments kill them."""
    with servers() as running:
        yield running
