"""What tests of several rooms use."""

from __future__ import annotations

import fcntl
import pickle
import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import text

from storage.database import migrations
from storage.database.engine import Database
from storage.database.models import Base
from tests.servers import S3, PostgreSQL, Redis, running


class SpeakerVideo(NamedTuple):
    """A short video of the synthetic speaker, and what the speaker did in it (demo.speaker.Truth: [frames] each)."""

    path: Path
    truth: tuple


LONG = (
    "chaos/test_short.py",
    "worker/jobs/test_kill_real.py",
    "test_demo.py",
    "adnerf_core/preprocess/test_pipeline.py",
    "worker/processes/test_celery.py",
    "worker/jobs/test_kill.py",
    "api/test_bad_media.py",
    "adnerf_core/training/test_train.py",
    "page/test_main_job.py",
    "page/test_trouble.py",
    "page/test_everyone.py",
    "adnerf_core/training/test_pose_refinement.py",
    "adnerf_core/training/test_adnerf_task.py",
    "test_benchmarks.py",
    "test_mark_benchmark.py",
    "test_badfiles.py",
    "adnerf_core/files/test_media_reader.py",
    "adnerf_core/files/test_ffmpeg_process.py",
    "adnerf_core/test_cli.py",
    "api/test_fuzz.py",
)
"""Files that take long, about the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the files that take longest: begun last, one of them would keep one process busy and the others idle."""
    order = {Path(__file__).parent / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope="session")
def once(request, tmp_path_factory):
    """once(name, make): a folder that make(folder) has filled, by whichever process of this run of the tests came first.

    It is everybody's: nobody may change what is in it.
    """
    base = tmp_path_factory.getbasetemp()
    if hasattr(
        request.config, "workerinput"
    ):  # one of several processes, each of which has a folder in that of the run
        base = base.parent

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, ready = base / name, base / f"{name}.ready"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not ready.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                ready.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def speaker_video(once) -> SpeakerVideo:
    """Nine seconds of the synthetic speaker, 256 px."""

    def make(folder: Path) -> None:
        from demo.speaker import make_speaker  # loads MediaPipe, which other tests need not wait for

        truth = make_speaker(folder / "speaker.mp4", size=256, seconds=9)
        (folder / "truth").write_bytes(pickle.dumps(truth))

    folder = once("speaker", make)
    return SpeakerVideo(folder / "speaker.mp4", pickle.loads((folder / "truth").read_bytes()))


@pytest.fixture(scope="session")
def toy_dataset(once):
    """The toy of the core's tests (tests/adnerf_core/toy.py), a SubjectDataset."""
    from adnerf_core.data.dataset import SubjectDataset  # loads torch, likewise
    from tests.adnerf_core.toy import make_toy_dataset

    return SubjectDataset(once("toy_dataset", make_toy_dataset))


@pytest.fixture(scope="session")
def toy_run(toy_dataset, once, tmp_path_factory):
    """The toy, trained: a RunDir, this process's own copy, which may be evaluated and drawn."""
    from adnerf_core.files.run_dir import RunDir
    from adnerf_core.training.train import train
    from tests.adnerf_core.toy import TOY

    trained = once("toy_run", lambda folder: train(toy_dataset, RunDir(folder), TOY))
    return RunDir(shutil.copytree(trained, tmp_path_factory.mktemp("toy") / "run"))


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
