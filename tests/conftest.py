"""What tests of several rooms use."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import text

from storage import migrations
from storage.db import Database
from storage.models import Base
from tests.servers import S3, PostgreSQL, Redis, running


class SpeakerVideo(NamedTuple):
    """A short video of the synthetic speaker, and what the speaker did in it (demo.speaker.Truth: [frames] each)."""

    path: Path
    truth: tuple


@pytest.fixture(scope="session")
def speaker_video(tmp_path_factory) -> SpeakerVideo:
    """Nine seconds of the synthetic speaker, 256 px."""
    from demo.speaker import make_speaker  # loads MediaPipe, which other tests need not wait for

    path = tmp_path_factory.mktemp("speaker") / "speaker.mp4"
    return SpeakerVideo(path, make_speaker(path, size=256, seconds=9))


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 3 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server of this run of the tests."""
    with running(PostgreSQL) as (server,):
        yield server


@pytest.fixture(scope="session")
def _tables(postgresql) -> str:
    url = postgresql.create("tests")
    database = Database(url)
    migrations.upgrade(database)
    database.close()
    return url


@pytest.fixture
def postgresql_url(_tables) -> str:
    """A PostgreSQL database with empty tables."""
    database = Database(_tables)
    with database.engine.begin() as connection:
        connection.execute(text("TRUNCATE " + ", ".join(Base.metadata.tables)))
    database.close()
    return _tables


@pytest.fixture(scope="session")
def redis_server():
    """A Redis server of this run of the tests; what an earlier test left in it is there."""
    with running(Redis) as (server,):
        yield server


@pytest.fixture(scope="session")
def s3_server():
    """An S3-compatible server of this run of the tests."""
    with running(S3) as (server,):
        yield server


@pytest.fixture
def s3_settings(s3_server) -> dict[str, str]:
    """Fields of Settings for a folder of the bucket in which nothing lies yet."""
    folder = secrets.token_hex(6)
    return s3_server.settings | {"store_url": f"{s3_server.settings['store_url']}/{folder}"}
