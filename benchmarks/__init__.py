"""Benchmarks: each module is a command that prints a table and writes JSON.

They measure CPU time of one thread and ratios within one run if they can, since the machines are shared with other work.
"""
