"""Measurements: scripts that print a table and JSON. CPU time of one thread, ratios within one run; machines are shared."""
