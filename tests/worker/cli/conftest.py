"""Runs the operator's commands in the process of the tests."""

from __future__ import annotations

import logging

import pytest

from storage.settings import environment_of
from worker.__main__ import main


@pytest.fixture(autouse=True)
def restored_logging():
    """Removes the handler that a command has added, for a process of its own: its stream, which pytest captures, is closed after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def adnerf(house, monkeypatch, capsys):
    """Runs a command on the service's data; returns its output."""
    for name, value in environment_of(house.settings).items():
        monkeypatch.setenv(name, value)

    def adnerf(*words, status=0):
        assert main(words) == status
        printed = capsys.readouterr()
        return printed.err if status else printed.out

    return adnerf
