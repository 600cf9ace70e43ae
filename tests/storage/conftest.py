"""A fresh database and store for each test."""

from __future__ import annotations

import pytest

from storage import migrations
from storage.db import Database
from storage.objects import open_store
from storage.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def database(settings):
    database = Database(settings.database)
    migrations.upgrade(database)
    yield database
    database.close()


@pytest.fixture
def store(settings):
    return open_store(settings)
