"""Commands set up logging for a process of their own; the tests run them in theirs."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def restored_logging():
    """Removes the handler that a command has added: its stream, which pytest captures, is closed after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
