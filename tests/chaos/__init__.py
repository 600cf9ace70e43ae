"""Chaos, in short: the experiments of benchmarks/chaos with a handful of kills."""
