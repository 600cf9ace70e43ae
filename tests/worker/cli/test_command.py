"""The `adnerf` command: what it refuses, and that it says why."""

from __future__ import annotations

import socket
import threading

import pytest

from storage.tables import workers
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
