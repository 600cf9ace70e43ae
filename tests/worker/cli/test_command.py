"""The operator's commands of `adnerf`: what they refuse, with which message."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import text

from storage.database.engine import Database
from storage.database.startup import require_tables
from storage.errors import DatabaseNotReady
from storage.local_token import load_or_create
from storage.tables import api_keys, workers
from tests.tables import create_tables
from tests.worker.stub_core import CORE
from worker.__main__ import main
from worker.broker import kinds_of
from worker.processes import supervisor
from worker.processes.polling import PollingWorker
from worker.processes.supervisor import BIND_S, single_instance


@pytest.fixture
def taken_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_is_taken_is_refused(tmp_path, taken_port, monkeypatch, capsys):
    monkeypatch.setattr(supervisor, "BIND_S", 0.3)
    assert main(["serve", "--data-dir", str(tmp_path), "--port", str(taken_port)]) == 1
    message = capsys.readouterr().err
    assert str(taken_port) in message and "--port" in message


@pytest.mark.parametrize("terminal", [True, False])
def test_the_page_s_address_has_the_token_on_a_terminal_only(settings, monkeypatch, capsys, caplog, terminal):
    database = Database(settings.database)
    create_tables(database)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    caplog.set_level("INFO")
    supervisor._print_page_url(settings, "127.0.0.1", 8000)
    token = load_or_create(settings.data_dir)
    shown = capsys.readouterr().err
    assert (f"http://127.0.0.1:8000/#token={token}\n" in shown) == terminal
    assert token not in caplog.text
    with database.session() as session:
        api_keys.create(session, owner="local", name="first", scopes=["admin"])
    supervisor._print_page_url(settings, "127.0.0.1", 8000)
    assert token not in capsys.readouterr().err
    database.close()


def test_a_port_that_becomes_free_is_awaited():
    """The API of a service that was just killed may hold the port for a moment."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    port = listener.getsockname()[1]
    leaving = threading.Timer(0.5, listener.close)
    leaving.start()
    supervisor.await_port("127.0.0.1", port)
    assert listener.fileno() == -1
    leaving.join()


def test_a_data_folder_in_use_is_refused(settings, capsys):
    with single_instance(settings):
        assert main(["serve", "--data-dir", str(settings.data_dir)]) == 1
    assert "--data-dir" in capsys.readouterr().err


def test_beat_without_a_broker_is_refused(capsys):
    assert main(["beat"]) == 1
    assert "ADNERF_BROKER_URL" in capsys.readouterr().err


def test_a_polling_worker_takes_jobs_of_its_queues_only(house):
    video = house.submit_video(house.ready_subject().id)
    waiting = house.submit_subject()
    worker = PollingWorker(house.settings, CORE, kinds_of(["gpu_render"]))
    assert worker.run_next()
    assert not worker.run_next()
    assert (house.video(video).state, house.subject(waiting).state) == ("ready", "pending")
    worker.close()


def test_an_unusable_setting_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("ADNERF_LEASE_S", "soon")
    assert main(["worker"]) == 1
    assert "ADNERF_LEASE_S" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "serve"),
        (["fly"], "No such command"),
        (["worker", "--queues", "gpu"], "no such queue"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_help_names_the_options(capsys):
    assert main(["serve", "--help"]) == 0
    assert "--data-dir" in capsys.readouterr().out


def test_alive_finds_workers_of_this_host_only(house, capsys, monkeypatch, tmp_path):
    """The health check of a worker's container runs this command."""
    monkeypatch.setenv("ADNERF_DATABASE_URL", house.settings.database)
    assert main(["alive"]) == 1
    with house.database.session() as session:
        workers.register(session, "elsewhere", host="elsewhere", queues=["cpu"], device={})
    assert main(["alive"]) == 1
    with house.database.session() as session:
        workers.register(session, "here", host=socket.gethostname(), queues=["cpu"], device={})
    assert main(["alive"]) == 0
    assert "1 alive" in capsys.readouterr().out
    monkeypatch.setenv("ADNERF_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    assert main(["alive"]) == 1
    assert "adnerf migrate" in capsys.readouterr().err


def broken_revision(path, revision):
    """A database at `path` whose tables have another revision than this program's."""
    database = Database(f"sqlite:///{path}")
    create_tables(database)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    database.close()


def start(*words, **environment):
    """Runs a command as a process; returns its status, its stderr, and the seconds that it took."""
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "worker", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return ran.returncode, ran.stderr, time.monotonic() - began


@pytest.mark.parametrize(
    ("words", "environment", "sentence"),
    [
        (("--port", "70000"), {}, "70000 is no port. Choose a --port from 1 to 65535."),
        (("--host", "192.0.2.1"), {}, "Cannot listen on 192.0.2.1"),
        ((), {"ADNERF_RATE_LIMIT": "fast"}, "ADNERF_RATE_LIMIT='fast' must be a rate"),
        ((), {"ADNERF_STORE_URL": "bucket"}, "ADNERF_STORE_URL='bucket' must be an address"),
        ((), {"ADNERF_DEVICE": "gpu"}, "ADNERF_DEVICE='gpu' must be auto, cpu or cuda"),
        ((), {"ADNERF_DATABASE_URL": "nonsense"}, "ADNERF_DATABASE_URL"),
    ],
)
def test_serve_says_at_once_what_cannot_work(tmp_path, words, environment, sentence):
    if words[:1] == ("--host",):
        database = Database(f"sqlite:///{tmp_path}/adnerf.db")
        create_tables(database)
        with database.session() as session:
            api_keys.create(session, owner="a", name="a", scopes=["read"])
        database.close()
    status, told, seconds = start("serve", "--data-dir", str(tmp_path), *words, **environment)
    assert (status, "Traceback" in told) == (1, False), told
    assert sentence in told and seconds < BIND_S


def test_serve_on_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert main(["serve", "--data-dir", str(tmp_path / "file" / "data")]) == 1
    told = capsys.readouterr().err
    assert "cannot be used" in told and "--data-dir" in told


def test_the_api_says_what_it_cannot_use(settings, tmp_path):
    database = Database(settings.database)
    create_tables(database)
    with database.session() as session:
        api_keys.create(session, owner="a", name="a", scopes=["read"])
    database.close()
    (tmp_path / "file").write_text("no folder")
    folders = (
        (str(tmp_path / "file" / "data"), "cannot be used"),
        (str(settings.data_dir), "Cannot listen on 192.0.2.1"),
    )
    for folder, sentence in folders:
        words = ("--data-dir", folder, "--host", "192.0.2.1")
        status, told, _ = start("api", *words, ADNERF_DATABASE_URL=settings.database, ADNERF_WEBHOOK_KEY="k" * 32)
        assert (status, "Traceback" in told) == (1, False), told
        assert sentence in told and "--" in told


@pytest.mark.parametrize("command", ["serve", "api", "worker"])
def test_a_damaged_database_is_told(tmp_path, command):
    (tmp_path / "adnerf.db").write_bytes(b"this is no database, but " * 400)
    status, told, _ = start(command, "--data-dir", str(tmp_path))
    assert (status, "Traceback" in told) == (1, False), told
    assert "The database is damaged" in told and "backup" in told


def test_a_database_of_a_newer_version_is_told(tmp_path):
    broken_revision(tmp_path / "adnerf.db", "0099")
    status, told, _ = start("serve", "--data-dir", str(tmp_path))
    assert (status, "Traceback" in told) == (1, False), told
    assert "newer version" in told and "0099" in told


@pytest.mark.parametrize("command", ["api", "worker"])
def test_a_database_of_an_older_version_is_told(tmp_path, command):
    broken_revision(tmp_path / "adnerf.db", "0013")
    status, told, _ = start(command, "--data-dir", str(tmp_path))
    assert (status, "Traceback" in told) == (1, False), told
    assert "older version" in told and "adnerf serve" in told


@pytest.mark.parametrize("command", ["worker", "beat"])
@pytest.mark.parametrize(
    ("state", "sentence"),
    [("missing", "There is no database"), ("damaged", "is damaged"), ("0013", "older version")],
)
def test_celery_workers_and_beat_check_the_database_first(tmp_path, command, state, sentence):
    """Before Celery starts: no broker listens at this address."""
    if state == "damaged":
        (tmp_path / "adnerf.db").write_bytes(b"this is no database, but " * 400)
    elif state != "missing":
        broken_revision(tmp_path / "adnerf.db", state)
    broker = {"ADNERF_BROKER_URL": "redis://127.0.0.1:1/0"}
    status, told, _ = start(command, "--data-dir", str(tmp_path), **broker)
    assert (status, "Traceback" in told) == (1, False), told
    assert sentence in told


def test_a_database_without_tables_is_told(tmp_path):
    (tmp_path / "adnerf.db").touch()
    status, told, _ = start("api", "--data-dir", str(tmp_path))
    assert (status, "Traceback" in told) == (1, False), told
    assert "has no tables yet" in told and "adnerf serve" in told


@pytest.mark.parametrize("command", ["api", "worker"])
def test_a_mistyped_data_folder_is_told_and_not_created(tmp_path, command):
    typo = tmp_path / "typo"
    status, told, _ = start(command, "--data-dir", str(typo))
    assert (status, "Traceback" in told) == (1, False), told
    assert "There is no" in told and "--data-dir" in told
    assert not typo.exists()


def test_tables_are_made_and_reverted_by_a_command(tmp_path, capsys):
    assert main(["migrate", "--data-dir", str(tmp_path)]) == 0
    assert "of this version" in capsys.readouterr().out
    require_tables(f"sqlite:///{tmp_path}/adnerf.db")
    assert main(["migrate", "--down-to", "0016", "--data-dir", str(tmp_path)]) == 0
    with pytest.raises(DatabaseNotReady, match="0016"):
        require_tables(f"sqlite:///{tmp_path}/adnerf.db")


def test_a_database_that_cannot_store_all_texts_is_told(postgresql, tmp_path, monkeypatch, capfd):
    url = postgresql.create("ascii", encoding="SQL_ASCII")
    monkeypatch.setenv("ADNERF_DATABASE_URL", url)
    for words in (["migrate"], ["api"], ["worker"]):
        assert main([*words, "--data-dir", str(tmp_path)]) == 1
        told = capfd.readouterr().err
        assert "SQL_ASCII" in told and "createdb --encoding UTF8" in told and "Traceback" not in told
    postgresql.drop("ascii")


def damage(folder):
    (folder / "adnerf.db").write_bytes(b"no database" * 1000)


@pytest.mark.parametrize(
    ("prepare", "words", "sentence"),
    [
        (damage, ("keys", "list"), "The database is damaged"),
        (damage, ("store", "clean"), "The database is damaged"),
        (damage, ("backup", "{}/copy"), "The database is damaged"),
        (lambda folder: broken_revision(folder / "adnerf.db", "9999"), ("keys", "list"), "newer version"),
        (lambda folder: broken_revision(folder / "adnerf.db", "9999"), ("backup", "{}/copy"), "newer version"),
        (lambda folder: broken_revision(folder / "adnerf.db", "0003"), ("backup", "{}/file"), "file cannot be used"),
        (lambda folder: (folder / "locks").write_text(""), ("serve",), "locks cannot be used"),
        (lambda folder: None, ("api", "--port", "99999"), "99999 is no port"),
        (lambda folder: (folder / "objects").write_text(""), ("serve",), "objects cannot be used: Not a directory"),
        (lambda folder: None, ("migrate", "--data-dir", "{}/a?b"), "has a question mark"),
    ],
)
def test_what_a_command_cannot_use_is_said_in_one_sentence(prepare, words, sentence, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    prepare(tmp_path)
    words = [word.format(tmp_path) for word in words]
    assert main([*words, *([] if "--data-dir" in words else ["--data-dir", str(tmp_path)])]) == 1
    told = capsys.readouterr().err
    assert sentence in told and "Traceback" not in told


def test_a_backup_is_not_restored_onto_a_file(tmp_path, capsys):
    database = Database(f"sqlite:///{tmp_path}/data/adnerf.db")
    create_tables(database)
    database.close()
    assert main(["backup", str(tmp_path / "copy"), "--data-dir", str(tmp_path / "data")]) == 0
    (tmp_path / "file").write_text("no folder")
    assert main(["restore", str(tmp_path / "copy"), "--data-dir", str(tmp_path / "file")]) == 1
    assert "file cannot be used" in capsys.readouterr().err
