"""The use cases are tested with workers of the stub core, by the fixtures of the worker's tests."""

from tests.worker.conftest import house, settings

__all__ = ["house", "settings"]
