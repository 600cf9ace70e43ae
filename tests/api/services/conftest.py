"""The fixtures of the worker's tests: the use cases are tested with workers, without HTTP."""

from tests.worker.conftest import house, settings  # noqa: F401
