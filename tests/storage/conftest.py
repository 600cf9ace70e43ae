"""Fixtures: a fresh database and store for each test, by default of each kind."""

from __future__ import annotations

import pytest

from storage.database.engine import Database
from storage.objects.open_store import open_store
from storage.settings import Settings
from tests.tables import create_tables


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, settings):
    """A database with empty tables."""
    if request.param == "postgresql":
        database = Database(request.getfixturevalue("postgresql_url"))
    else:
        database = Database(settings.database)
        create_tables(database)
    yield database
    database.close()


@pytest.fixture(params=["folder", "s3"])
def store(request, settings):
    """An empty object store."""
    if request.param == "s3":
        settings = settings.replace(**request.getfixturevalue("s3_settings"))
    return open_store(settings)
