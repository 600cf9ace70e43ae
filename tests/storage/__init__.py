"""Tests of the state: rows, moves, objects, migrations."""
