"""Supervision of the service's processes, and `adnerf serve`: the API and two workers under one supervisor.

The supervisor restarts a process that ends, and kills one that hangs, which it knows by the lack of signs of life
(worker/watchdog.py). It uses no database and no store, which could make it hang as well.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress

from storage import local_token
from storage.database import migrations
from storage.database.engine import Database, require_database
from storage.database.startup import require_data_dir, require_tables, require_upgradable
from storage.errors import BadSetting, InUse
from storage.settings import NOTIFY_SOCKET, Settings, environment_of
from storage.tables import api_keys
from storage.tables.workers import QUEUES
from worker.gpus import list_gpus
from worker.locks import HeldLock
from worker.provenance.mark_key import require_mark_key
from worker.watchdog import RunningClock, WatchdogSocket, notify

log = logging.getLogger(__name__)

STOP_S = 30.0
"""Seconds that the children may take to stop before they are killed: a training writes its checkpoint first."""
BIND_S = 10.0
"""Seconds to wait for the port: the API of a service that was just killed may still be ending."""
SHORT_LIFE_S, SHORT_LIVES = 10.0, 3
"""If a child ends SHORT_LIVES times in a row within SHORT_LIFE_S seconds before any has been up, a restart does not mend it."""
LONGEST_PAUSE_S = 30.0
"""Longest pause before a restart: a child that keeps ending occupies no core, and one that works again is up within a minute."""
START_S = 45.0
"""Seconds beyond `watchdog_s` that a process may take until its first sign of life: on a busy machine Python loads for some tens."""
LOOK_S = 0.2
"""Seconds between two looks at the processes."""
DIE_S = 5.0
"""Seconds to wait for a killed process to disappear; one that hangs in the kernel does not, and must not keep the others."""
LAST_PORT = 65535
PR_SET_PDEATHSIG = 1
"""Option of prctl(2), from linux/prctl.h."""

API = "api"
"""Module of the API. It is started, not imported: it is a layer above this package and must not share a process with torch."""


def serve(settings: Settings, host: str, port: int) -> int:
    """Runs the service until SIGTERM or SIGINT.

    Returns:
        The exit status.

    Raises:
        InUse: another service uses the data folder, or the port is taken.
        BadSetting: the data folder, the host or the port cannot be used.
        DatabaseNotReady: the database is damaged, of a newer version, or cannot be reached.
        NotSafe: other machines could reach the service, and there is no API key.
        BadCertificate: the watermark's key is not the service's.
    """
    require_data_dir(settings)
    with single_instance(settings):
        _prepare(settings, host)
        await_port(host, port)
        commands = {
            "api": [sys.executable, "-m", API, "--host", host.strip("[]"), "--port", str(port)],
        }
        for name, queues in _workers(settings).items():
            commands[name] = [sys.executable, "-m", "worker", "worker", "--unsupervised", "--queues", ",".join(queues)]
        log.info("http://%s:%d  (data in %s; Ctrl-C stops)", host, port, settings.data_dir)
        _print_page_url(settings, host, port)
        return supervise(settings, commands)


def _workers(settings: Settings) -> dict[str, list[str]]:
    """Returns the queues of each worker of `serve`, by name: nothing that is short waits behind a training.

    Without a GPU the training worker only trains. A GPU is used by one worker alone, whose memory it has; there the checks of
    footage have a worker of their own.
    """
    has_gpu = settings.device != "cpu" and bool(list_gpus())
    long = {"train", "render"} if has_gpu else {"train"}
    kinds = {"worker": set(QUEUES) - long, "training worker": long}
    return {name: [QUEUES[kind] for kind in QUEUES if kind in served] for name, served in kinds.items()}


@contextmanager
def single_instance(settings: Settings) -> Iterator[None]:
    """Holds the lock of the data folder. Raises InUse if another service holds it."""
    try:
        lock = HeldLock(settings.locks / "serve")
    except InUse as error:
        raise InUse(f"Another service runs on {settings.data_dir}.") from error
    try:
        yield
    finally:
        lock.release()


def supervise(settings: Settings, commands: Mapping[str, Sequence[str]]) -> int:
    """Runs `commands`, by name, until SIGTERM or SIGINT; returns an exit status."""
    supervisor = Supervisor(commands, environment_of(settings), settings.watchdog_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stopping.set())
    return supervisor.run()


def _prepare(settings: Settings, host: str) -> None:
    """Migrates the embedded database, and checks that the service may listen on `host`.

    A database server is not migrated: other machines may use it, so migrating is a step of its own (`adnerf migrate`).
    """
    with closing(Database(settings.database)) as database:
        if database.sqlite:
            require_upgradable(database)
            migrations.upgrade(database)
        require_tables(settings.database)
        require_mark_key(settings)
        with require_database(), database.session(write=False) as session:
            api_keys.check_listening(session, host)
            if not api_keys.any_exist(session):
                log.info(
                    "no API key exists: only requests from this machine are accepted; `adnerf keys create` creates a key"
                )


def _print_page_url(settings: Settings, host: str, port: int) -> None:
    """Prints the page's URL with the local token for whoever started the service on a terminal; logs do not get the token.

    With keys the token is worth nothing, and nothing is printed.
    """
    with closing(Database(settings.database)) as database, database.session(write=False) as session:
        if api_keys.any_exist(session):
            return
    try:
        token = local_token.load_or_create(settings.data_dir)
    except OSError as error:
        log.warning("there is no local token: %s", error)
        return
    if sys.stderr.isatty():
        literal = f"[{host}]" if ":" in host else host
        print(f"Open the page: http://{literal}:{port}/#token={token}", file=sys.stderr, flush=True)
    else:
        log.info("the local token is in %s", settings.data_dir / local_token.FILE)


def require_port(port: int) -> None:
    """Raises BadSetting if `port` is no number of a port."""
    if not 0 <= port <= LAST_PORT:
        raise BadSetting(f"{port} is no port.", f"Choose a --port from 1 to {LAST_PORT}.")


def await_port(host: str, port: int) -> None:
    """Waits until the port is free.

    Raises:
        InUse: it stays taken for BIND_S, or can never be had.
        BadSetting: it is no number of a port.
    """
    require_port(port)
    deadline = time.monotonic() + BIND_S
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    remedy = "Stop what listens there, or choose another --host or --port."
                    raise InUse(f"Cannot listen on {host}:{port}: {error.strerror}.", remedy) from error
        time.sleep(0.2)


class Supervisor:
    """Keeps one process running for each of `commands`, until `stopping` is set or one of them keeps failing.

    Args:
        commands: program and arguments, by name.
        environment: of the processes; they also get the socket for their signs of life.
        watchdog_s: seconds after which a silent process is killed. The processes of a child, such as those of a Celery worker, may
            send signs of their own: then only the silent one is killed, and the child replaces it.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        environment: Mapping[str, str],
        watchdog_s: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.commands, self.environment, self.watchdog_s = commands, environment, watchdog_s
        self.stopping = threading.Event()
        self.children: dict[str, subprocess.Popen] = {}
        self.started_at: dict[str, float] = {}
        self.short_lives = dict.fromkeys(commands, 0)
        self.restart_at: dict[str, float] = {}
        """The times at which children that have ended are started again."""
        self.socket = WatchdogSocket()
        self.clock = RunningClock(watchdog_s / 5, clock)  # after a pause, the processes have most of the time to report
        self.heard_at: dict[int, float] = {}
        """Running time of the last sign of life, by process id."""
        self.heard_of: set[str] = set()
        """The children that have given a sign of life, now or before a restart."""

    def run(self) -> int:
        """Starts the processes and restarts those that end.

        Returns:
            0 after `stopping` was set. Otherwise the status of a process that never came up; 1 if none did.
        """
        status = 0
        try:
            for name in self.commands:
                self._start(name)
            while not status and not self.stopping.wait(LOOK_S):
                notify()  # a supervisor of this one, such as systemd
                self.kill_silent()
                for name in [name for name, child in self.children.items() if child.poll() is not None]:
                    status = status or self._plan_restart(name)
                for name in [name for name, due in self.restart_at.items() if due <= time.monotonic()]:
                    del self.restart_at[name]
                    self._start(name)
        finally:
            self._stop_all()
            self.socket.close()
        return status

    def kill_silent(self) -> None:
        """Kills the processes that have given no sign of life for too long."""
        now = self.clock.advance()
        for pid in self.socket.senders():
            self.heard_at[pid] = now
            self.heard_of |= {name for name, child in self.children.items() if child.pid == pid}
        for pid, heard_at in list(self.heard_at.items()):
            if now - heard_at > self.watchdog_s:
                log.error("process %d has given no sign of life for %.0f s: killed", pid, self.watchdog_s)
                self.heard_at[pid] = now  # if it does not even die, it is killed again
                send_signal(pid, signal.SIGKILL)
            elif not send_signal(pid, 0):
                del self.heard_at[pid]

    def _start(self, name: str) -> None:
        parent = os.getpid()
        self.started_at[name] = time.monotonic()
        # A new session: Ctrl-C reaches this process only, which then stops the children in order.
        child = self.children[name] = subprocess.Popen(
            self.commands[name],
            env=self.environment | {NOTIFY_SOCKET: self.socket.address},
            start_new_session=True,
            preexec_fn=lambda: _end_with(parent),
        )
        self.heard_at[child.pid] = self.clock.time + START_S

    def _plan_restart(self, name: str) -> int:
        """Lets a child that has ended start again, after a pause that grows with its short lives: the others stay up.

        Returns an exit status instead if that would not help.
        """
        child = self.children.pop(name)
        _kill_group(child)
        if child.returncode > 0 and name not in self.heard_of:
            return child.returncode  # it cannot start, and has said why
        lifetime_s = time.monotonic() - self.started_at[name]
        is_short = lifetime_s < min(SHORT_LIFE_S, self.watchdog_s)  # one that was killed as silent has lived longer
        lives = self.short_lives[name] = self.short_lives[name] + 1 if is_short else 0
        if lives >= SHORT_LIVES and not self.heard_of:
            log.error("the %s does not stay up", name)
            return 1
        pause = min(LONGEST_PAUSE_S, 2.0 ** min(lives - 1, 10)) if lives else 0.0
        log.warning("the %s ended with status %d; it starts again in %.0f s", name, child.returncode, pause)
        self.restart_at[name] = time.monotonic() + pause
        return 0

    def _stop_all(self) -> None:
        for child in self.children.values():
            child.terminate()
        deadline = time.monotonic() + STOP_S
        for name, child in self.children.items():
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("the %s does not stop: killed", name)
            _kill_group(child)
            with suppress(subprocess.TimeoutExpired):
                child.wait(DIE_S)


def send_signal(pid: int, number: int) -> bool:
    """Sends a signal; 0 sends none. Returns False if there is no such process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _kill_group(child: subprocess.Popen) -> None:
    """Kills the remaining processes of a child's group, such as ffmpeg."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _end_with(parent: int) -> None:
    """In a new child: asks the kernel for SIGTERM when the parent ends in any way. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(0)
