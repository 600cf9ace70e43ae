"""Tests of benchmarks/chaos: its experiments with a few kills, and its checks."""
