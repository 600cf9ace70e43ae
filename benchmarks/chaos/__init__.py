"""Tests whether the service keeps its promises while its processes are killed and its network fails: `python -m benchmarks.chaos`."""
