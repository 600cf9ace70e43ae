"""The `adnerf` command: what it refuses, and that it says why."""

from __future__ import annotations

import socket
import threading

import pytest

from storage import workers
from worker import serve
from worker.__main__ import main
from worker.serve import only_service


@pytest.fixture
def taken_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_is_taken_is_refused(tmp_path, taken_port, monkeypatch, capsys):
    monkeypatch.setattr(serve, "BIND_S", 0.3)
    assert main(["serve", "--data-dir", str(tmp_path), "--port", str(taken_port)]) == 1
    told = capsys.readouterr().err
    assert str(taken_port) in told and "--port" in told


def test_a_port_that_becomes_free_is_awaited():
    """The API of a service that was just killed is still on its way out."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    port = listener.getsockname()[1]
    leaving = threading.Timer(0.5, listener.close)
    leaving.start()
    serve.await_port("127.0.0.1", port)
    assert listener.fileno() == -1
    leaving.join()


def test_data_in_use_are_refused(settings, capsys):
    with only_service(settings):
        assert main(["serve", "--data-dir", str(settings.data_dir)]) == 1
    assert "--data-dir" in capsys.readouterr().err


def test_an_unusable_setting_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("ADNERF_LEASE_S", "soon")
    assert main(["worker"]) == 1
    assert "ADNERF_LEASE_S" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "told"), [([], 2, "serve"), (["fly"], 2, "serve"), (["serve", "--help"], 0, "--data-dir")]
)
def test_help_tells_what_there_is(arguments, status, told, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == status
    assert told in "".join(capsys.readouterr())


def test_whether_a_worker_of_this_host_is_alive(house, capsys, monkeypatch):
    """What the health check of a worker's container asks."""
    monkeypatch.setenv("ADNERF_DATABASE_URL", house.settings.database)
    assert main(["alive"]) == 1
    with house.database.session() as session:
        workers.enter(session, "elsewhere", host="elsewhere", queues=["cpu"], device={})
    assert main(["alive"]) == 1
    with house.database.session() as session:
        workers.enter(session, "here", host=socket.gethostname(), queues=["cpu"], device={})
    assert main(["alive"]) == 0
    assert "1 alive" in capsys.readouterr().out
