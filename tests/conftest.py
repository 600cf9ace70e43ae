"""Fixtures that the tests of several packages use: the synthetic speaker, a toy dataset and run, and real servers."""

from __future__ import annotations

import fcntl
import gc
import os
import pickle
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import certifi
import pytest
from botocore.loaders import JSONFileLoader
from sqlalchemy import text

from storage.database import migrations
from storage.database.engine import Database
from storage.database.models import Base
from tests.servers import S3, PostgreSQL, Redis, ServerMissing, running


class SpeakerVideo(NamedTuple):
    """A short video of the synthetic speaker, and the true motion in it (demo.speaker.Truth, arrays of shape [frames])."""

    path: Path
    truth: tuple


LONG = (
    "chaos/test_short.py",
    "chaos/test_short_too.py",
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
    "page/test_keeping.py",
    "adnerf_core/test_cuda.py",
    "adnerf_core/training/test_pose_refinement.py",
    "adnerf_core/training/test_adnerf_task.py",
    "test_benchmarks.py",
    "test_gpu_benchmark.py",
    "worker/processes/test_supervisor.py",
    "test_api_load.py",
    "test_mark_benchmark.py",
    "test_people.py",
    "storage/test_cleanup.py",
    "page/test_helps.py",
    "page/test_looks.py",
    "adnerf_core/evaluation/test_evaluate.py",
    "adnerf_core/synthesis/test_render.py",
    "test_badfiles.py",
    "adnerf_core/files/test_media_reader.py",
    "adnerf_core/files/test_ffmpeg_process.py",
    "adnerf_core/test_cli.py",
    "api/test_fuzz.py",
    "test_wheel.py",
)
"""Test files that take long, roughly in descending order of duration."""


@pytest.fixture(scope="session", autouse=True)
def no_weights_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hides the weights that the user of this machine has fetched: the tests see what a new machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        yield


@pytest.fixture(scope="session", autouse=True)
def descriptions_of_s3_read_once() -> Iterator[None]:
    """Keeps what boto3 reads of its descriptions of services: each store has a session of its own, which would read 1.5 MB anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", staticmethod(cache(JSONFileLoader().load_file)))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Lets httpx trust one of certifi's authorities instead of all: each client reads them, for .02 s, and no test calls strangers."""
    path = tmp_path_factory.mktemp("authorities") / "one.pem"
    end = "-----END CERTIFICATE-----\n"
    path.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(path))
        patch.setenv("SSL_CERT_FILE", str(path))  # for the processes that tests start
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the longest files first: if one of them started last, the other test processes would have to wait for it."""
    order = {Path(__file__).parent / name: rank for rank, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


gc.disable()  # until the tests are collected: an eighth of the time that it takes to import them


def pytest_collection_finish() -> None:
    """Excludes the modules loaded so far from garbage collections: to traverse torch again and again takes a tenth of the time.

    Then a collection comes after each 10,000 new objects instead of 700: those take another tenth of the API's tests.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


@contextmanager
def _skipping_without_servers() -> Iterator[None]:
    """Skips a test whose server is not installed; the reason names the package."""
    try:
        yield
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item):
    with _skipping_without_servers():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    with _skipping_without_servers():
        return (yield)


@pytest.fixture(scope="session")
def once(request, tmp_path_factory):
    """A function once(name, make) that returns a folder, filled by make(folder) in the first test process that calls it.

    All processes of this test run share the folder, so tests must not change its content.
    """
    base = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # with pytest-xdist, each process has a folder inside that of the run
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
    """A video of the synthetic speaker: 9 s, 256 px."""

    def make(folder: Path) -> None:
        from demo.scene import Scene  # imported here: it loads OpenCV and scikit-image, which takes seconds
        from demo.speaker import make_speaker

        truth = make_speaker(folder / "speaker.mp4", scene=Scene(256, 256), seconds=9)
        (folder / "truth").write_bytes(pickle.dumps(truth))

    folder = once("speaker", make)
    return SpeakerVideo(folder / "speaker.mp4", pickle.loads((folder / "truth").read_bytes()))


@pytest.fixture(scope="session")
def toy_dataset(once):
    """The SubjectDataset of the synthetic toy (tests/adnerf_core/toy.py)."""
    from adnerf_core.data.dataset import SubjectDataset  # imported here: it loads torch, which takes seconds
    from tests.adnerf_core.toy import make_toy_dataset

    return SubjectDataset(once("toy_dataset", make_toy_dataset))


@pytest.fixture(scope="session")
def toy_run(toy_dataset, once, tmp_path_factory):
    """The RunDir of a trained toy. Each test process has a copy of its own, so tests may evaluate and render it."""
    from adnerf_core.files.run_dir import RunDir
    from adnerf_core.training.train import train
    from tests.adnerf_core.toy import TOY

    shared = once("toy_run", lambda folder: train(toy_dataset, RunDir(folder), TOY))
    return RunDir(shutil.copytree(shared, tmp_path_factory.mktemp("toy") / "run"))


@pytest.fixture
def synced(monkeypatch):
    """The files and folders that this process makes durable, and the files that it renames, in their order."""
    done, fsync, replace = [], os.fsync, os.replace

    def record_sync(descriptor):
        fsync(descriptor)
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    def record_name(source, target):
        replace(source, target)
        done.append((Path(source), Path(target)))

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_name)
    return done


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB; the test is skipped if this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server, one for each test process."""
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
    """URL of a PostgreSQL database with empty tables."""
    database = Database(_tables)
    with database.engine.begin() as connection:  # half as long as to truncate tables that have next to no rows
        connection.execute(
            text("; ".join(f"DELETE FROM {table.name}" for table in reversed(Base.metadata.sorted_tables)))
        )
    database.close()
    return _tables


@pytest.fixture(scope="session")
def redis_server():
    """A Redis server, one for each test process; it contains the data of earlier tests."""
    with running(Redis) as (server,):
        yield server


@pytest.fixture(scope="session")
def s3_server():
    """An S3-compatible server, one for each test process."""
    with running(S3) as (server,):
        yield server


@pytest.fixture
def s3_settings(s3_server) -> dict[str, str]:
    """Fields of Settings for a new, empty folder of the bucket."""
    folder = secrets.token_hex(6)
    return s3_server.settings | {"store_url": f"{s3_server.settings['store_url']}/{folder}"}
