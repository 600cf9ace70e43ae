"""Sends broken, absurd and hostile files, which are generated from a seed, to the real service: `python -m benchmarks.badfiles`."""
