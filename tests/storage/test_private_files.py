"""What the service stores is private to its user, whatever the umask of the shell is."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from api.app import create_app
from storage.database.engine import Database
from storage.private_files import UMASK, make_data_dir, warn_if_not_private
from storage.settings import environment_of
from tests.servers import free_port
from tests.tables import create_tables

OPEN_UMASK = 0o022
"""The usual umask of a shell: files are readable by everybody."""


@contextmanager
def started(settings, *words):
    """A program of the service, in a session of its own."""
    process = subprocess.Popen(
        [sys.executable, *words],
        env=environment_of(settings),
        stderr=subprocess.DEVNULL,
        umask=OPEN_UMASK,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def umask_of(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1], 8) for line in status if line.startswith("Umask:"))


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return children.read().split()


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
    return value


def open_to_others(folder):
    """The files and folders that the group or others may open."""
    paths = [folder, *folder.rglob("*")]
    return [path for path in paths if path.exists() and stat.S_IMODE(path.stat().st_mode) & UMASK]


def test_a_command_of_the_operator_creates_private_files(settings):
    words = [sys.executable, "-m", "worker", "keys", "create", "--name", "first"]
    subprocess.run(words, env=environment_of(settings), umask=OPEN_UMASK, check=True, stdout=subprocess.DEVNULL)
    assert (settings.data_dir / "adnerf.db").exists()
    assert open_to_others(settings.data_dir) == []


def test_serve_and_all_its_processes_create_private_files(settings):
    with started(settings, "-m", "worker", "serve", "--port", str(free_port())) as serve:
        api_and_workers = until(lambda: len(pids := children_of(serve.pid)) == 3 and pids)
        assert {umask_of(pid) for pid in (serve.pid, *api_and_workers)} == {UMASK}
    assert (settings.data_dir / "locks" / "serve").exists()
    assert open_to_others(settings.data_dir) == []


@pytest.mark.parametrize("words", [["-m", "api"], ["-m", "worker", "api"], ["-m", "worker", "worker"]], ids=" ".join)
def test_every_program_restricts_its_umask(settings, words):
    database = Database(settings.database)
    create_tables(database)
    database.close()
    port = [] if words[-1] == "worker" else ["--port", str(free_port())]
    with started(settings, *words, *port) as process:
        until(lambda: umask_of(process.pid) == UMASK)


def test_celery_restricts_its_umask(settings):
    program = "import os, worker.celery_app; print(oct(os.umask(0)))"
    environment = environment_of(settings.replace(broker_url="memory://"))
    words = [sys.executable, "-c", program]
    run = subprocess.run(words, env=environment, umask=OPEN_UMASK, check=True, capture_output=True, text=True)
    assert run.stdout.strip() == oct(UMASK)


def test_a_wider_data_folder_is_named_at_start(settings, caplog):
    settings.data_dir.mkdir()
    settings.data_dir.chmod(0o755)
    database = Database(settings.database)
    create_tables(database)
    database.close()
    create_app(settings).state.database.close()
    assert f"chmod -R go= {settings.data_dir}" in caplog.text and "mode 755" in caplog.text
    caplog.clear()
    settings.data_dir.chmod(0o700)
    warn_if_not_private(settings.data_dir)
    assert caplog.text == ""


def test_the_data_folder_is_private_even_without_the_umask(tmp_path):
    make_data_dir(tmp_path / "a" / "data")
    assert stat.S_IMODE((tmp_path / "a" / "data").stat().st_mode) == 0o700
