"""Chaos: whether the service keeps its promises while its parts are killed. `python -m benchmarks.chaos`."""
