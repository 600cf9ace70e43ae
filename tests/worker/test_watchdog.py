"""Signs of life, and the clock by which a supervisor waits for them."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from storage.settings import NOTIFY_SOCKET
from worker.processes.supervisor import START_S, Supervisor
from worker.watchdog import RunningClock, WatchdogSocket, notify, slept_s

WATCHDOG_S = 10.0


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def supervised(monkeypatch):
    """A supervisor with one process, its clock, and this process as another one that sends signs of life."""
    clock = Clock()
    command = {"sleeper": [sys.executable, "-c", "import time; time.sleep(600)"]}
    supervisor = Supervisor(command, dict(os.environ), WATCHDOG_S, clock)
    monkeypatch.setenv(NOTIFY_SOCKET, supervisor.socket.address)
    supervisor._start("sleeper")
    yield supervisor, supervisor.children["sleeper"], clock
    supervisor.children["sleeper"].kill()
    supervisor._stop_all()
    supervisor.socket.close()


def send_sign_of(pid, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: pid)
        notify()


def pass_time(supervisor, clock, seconds):
    for _ in range(int(seconds)):
        clock.seconds += 1.0
        supervisor.kill_silent()


def test_a_process_that_falls_silent_is_killed(supervised, monkeypatch):
    supervisor, child, clock = supervised
    for _ in range(10):
        send_sign_of(child.pid, monkeypatch)
        pass_time(supervisor, clock, WATCHDOG_S - 1)
    assert child.poll() is None
    pass_time(supervisor, clock, 3)
    assert child.wait(5) == -9


def test_a_process_that_loads_has_longer(supervised):
    supervisor, child, clock = supervised
    pass_time(supervisor, clock, START_S)
    assert child.poll() is None
    pass_time(supervisor, clock, 2 * WATCHDOG_S)
    assert child.wait(5) == -9


def test_a_pause_of_all_processes_kills_none(supervised, monkeypatch):
    supervisor, child, clock = supervised
    for _ in range(5):
        send_sign_of(child.pid, monkeypatch)
        pass_time(supervisor, clock, 2)
        clock.seconds += 3600.0
        pass_time(supervisor, clock, 3)  # the child is slower to go on
    assert child.poll() is None


def test_a_process_that_ended_is_forgotten(supervised, monkeypatch):
    supervisor, _, clock = supervised
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    send_sign_of(ended.pid, monkeypatch)
    pass_time(supervisor, clock, 1)
    assert ended.pid not in supervisor.heard_at


def test_only_the_same_user_can_send_signs():
    watchdog = WatchdogSocket()
    folder = Path(watchdog.address).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    watchdog.close()
    assert not folder.exists()


def test_a_socket_takes_no_notice_of_other_messages_and_never_waits(monkeypatch):
    watchdog = WatchdogSocket()
    monkeypatch.setenv(NOTIFY_SOCKET, watchdog.address)
    assert list(watchdog.senders()) == []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.sendto(b"READY=1", watchdog.address)
    notify()
    assert list(watchdog.senders()) == [os.getpid()]
    began = time.monotonic()
    for _ in range(2000):  # more than the queue holds
        notify()
    assert time.monotonic() - began < 5.0
    assert set(watchdog.senders()) == {os.getpid()}
    watchdog.close()
    notify()  # nobody listens any more


def test_a_socket_that_was_cleaned_up_is_there_again(monkeypatch):
    watchdog = WatchdogSocket()
    monkeypatch.setenv(NOTIFY_SOCKET, watchdog.address)
    for remove in (lambda: os.unlink(watchdog.address), lambda: shutil.rmtree(Path(watchdog.address).parent)):
        remove()
        notify()  # is lost
        assert list(watchdog.senders()) == []
        notify()
        assert list(watchdog.senders()) == [os.getpid()]
        assert stat.S_IMODE(Path(watchdog.address).parent.stat().st_mode) == 0o700
    watchdog.close()


def test_the_folder_of_a_killed_supervisor_goes_with_the_next_start_and_a_long_path_is_avoided(monkeypatch, tmp_path):
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        living, killed = WatchdogSocket(), WatchdogSocket()
        killed._socket.close()  # as the kernel does
        next_one = WatchdogSocket()
        assert {str(path / "notify") for path in Path(short).iterdir()} == {living.address, next_one.address}
        for each in (living, killed, next_one):
            each.close()
    (long := tmp_path / ("x" * 100)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    watchdog = WatchdogSocket()
    assert watchdog.address.startswith("/tmp/") and not list(long.iterdir())
    watchdog.close()


def test_an_abstract_address_of_systemd_is_understood(monkeypatch):
    name = f"adnerf-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}")
        systemd.settimeout(5)
        monkeypatch.setenv(NOTIFY_SOCKET, f"@{name}")
        notify()
        assert b"WATCHDOG=1" in systemd.recv(100)


def test_a_running_clock_counts_a_pause_as_one_step():
    clock = Clock()
    running = RunningClock(5.0, clock)
    for seconds in (1.0, 4.0, 1000.0, 2.0):
        clock.seconds += seconds
        running.advance()
    assert running.time == 12.0


def test_sleep_is_measured_and_there_is_none_while_this_test_runs():
    before = slept_s()
    time.sleep(0.2)
    assert before > -0.1 and slept_s() - before < 0.1  # the two clocks are read one after the other
