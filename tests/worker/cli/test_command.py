"""The `adnerf` command: what it refuses, and that it says why."""

from __future__ import annotations

import socket
import threading

import pytest

from storage.database import migrations
from storage.database.engine import Database
from storage.local_token import load_or_create
from storage.tables import api_keys, workers
from tests.worker.stub_core import CORE
from worker.__main__ import main
from worker.broker import kinds_of
from worker.processes import supervisor
from worker.processes.polling import PollingWorker
from worker.processes.supervisor import single_instance


@pytest.fixture
def taken_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_is_taken_is_refused(tmp_path, taken_port, monkeypatch, capsys):
    monkeypatch.setattr(supervisor, "BIND_S", 0.3)
    assert main(["serve", "--data-dir", str(tmp_path), "--port", str(taken_port)]) == 1
    told = capsys.readouterr().err
    assert str(taken_port) in told and "--port" in told


@pytest.mark.parametrize("terminal", [True, False])
def test_the_page_s_address_has_the_token_on_a_terminal_only(settings, monkeypatch, capsys, caplog, terminal):
    database = Database(settings.database)
    migrations.upgrade(database)
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
    """The API of a service that was just killed is still on its way out."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    port = listener.getsockname()[1]
    leaving = threading.Timer(0.5, listener.close)
    leaving.start()
    supervisor.await_port("127.0.0.1", port)
    assert listener.fileno() == -1
    leaving.join()


def test_data_in_use_are_refused(settings, capsys):
    with single_instance(settings):
        assert main(["serve", "--data-dir", str(settings.data_dir)]) == 1
    assert "--data-dir" in capsys.readouterr().err


def test_beat_without_a_broker_is_refused(capsys):
    assert main(["beat"]) == 1
    assert "ADNERF_BROKER_URL" in capsys.readouterr().err


def test_a_local_worker_keeps_to_its_queues(house):
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
    ("arguments", "status", "told"),
    [
        ([], 2, "serve"),
        (["fly"], 2, "serve"),
        (["worker", "--queues", "gpu"], 2, "no such queue"),
        (["serve", "--help"], 0, "--data-dir"),
    ],
)
def test_help_tells_what_there_is(arguments, status, told, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == status
    assert told in "".join(capsys.readouterr())


def test_whether_a_worker_of_this_host_is_alive(house, capsys, monkeypatch, tmp_path):
    """What the health check of a worker's container asks."""
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
    assert "alembic upgrade head" in capsys.readouterr().err
