"""Measures what a tenant notices while another one misbehaves: `python -m benchmarks.neighbours [--seconds N] [--rounds N]`.

Real processes: an API on PostgreSQL, a worker with a stub core, and Mallory, who misbehaves in each of WAYS within her rate limit. Ann reads,
writes and receives webhooks meanwhile. Phases with and without Mallory alternate, so that other load on the machine changes both.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx

from benchmarks.api_load import FORM, MP4_HEAD, ROOT, answers
from storage.database import migrations
from storage.database.engine import Database
from storage.settings import Settings, environment_of
from storage.tables import api_keys
from tests.receivers import Receiver
from tests.servers import PostgreSQL, free_port, running

RESULTS = Path(__file__).parent / "results" / "neighbours.json"
ALLOWED = 2.0
"""Most by which another tenant may lengthen the 99th percentile."""
SETTLE_S = 1.5
"""Seconds between the beginning of the misbehaviour and the first measurement, and after its end until the next."""
RECEIVERS = 20
PAUSE_S = 0.02
"""Seconds between two requests of Ann: together with her deliveries she stays below her rate limit of 20 a second."""
API = """
import socket, sys, time
look_up = socket.getaddrinfo
def slow(host, *rest, **more):  # a name server that does not answer
    if str(host).endswith(".slow.test"):
        time.sleep(20)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return look_up(host, *rest, **more)
socket.getaddrinfo = slow
sys.argv[0] = "api"
from api.__main__ import main
main()
"""


class Mallory:
    """What misbehaves: requests to the API at `url`, with the key `token`."""

    def __init__(self, url: str, token: str):
        self.address = httpx.URL(url).host, httpx.URL(url).port
        self.token = token
        limits = httpx.Limits(max_connections=None)
        self.client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60, limits=limits, trust_env=False
        )

    def flood(self, send: Callable[[], object], threads: int = 8) -> None:
        """Sends requests from several threads for ever."""

        def repeat() -> None:
            while True:
                with suppress(httpx.HTTPError):
                    send()

        with ThreadPoolExecutor(threads) as pool:
            for _ in range(threads):
                pool.submit(repeat)

    def hooks(self, url: str) -> list[str]:
        """Returns the paths of webhooks that lead to `url`."""
        while len(paths := [each["links"]["self"] for each in self._webhooks()]) < RECEIVERS:
            self.client.post("/v1/webhooks", json={"url": f"{url}/{len(paths)}"})
        for path in paths:
            self.client.patch(path, json={"url": url, "enabled": True})
        return paths

    def test(self, receiver: Receiver) -> None:
        """Tests all webhooks again and again."""
        paths = self.hooks(receiver.url) * 1000
        self.flood(lambda: self.client.post(f"{paths.pop()}/test"))

    def slow_receivers(self) -> None:
        with Receiver(200) as receiver:
            receiver.release.clear()
            self.test(receiver)

    def quick_receivers(self) -> None:
        with Receiver(200) as receiver:
            self.test(receiver)

    def slow_look_ups(self) -> None:
        for path in [each["links"]["self"] for each in self._webhooks()]:
            self.client.delete(path)
        self.flood(lambda: self.client.post("/v1/webhooks", json={"url": "https://a.slow.test/"}), threads=60)

    def verifications(self) -> None:
        files = {"file": ("a.mp4", MP4_HEAD + bytes(100_000))}
        self.flood(lambda: self.client.post("/v1/verify", files=files), threads=20)

    def half_requests(self) -> None:
        connections = []
        while True:
            with suppress(OSError):
                connection = socket.create_connection(self.address, timeout=10)
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
                connections.append(connection)
            time.sleep(0.01 if len(connections) < 500 else 1)

    def silent_readers(self) -> None:
        """Asks for a large document, and reads nothing of it."""
        connections = []
        while True:
            with suppress(OSError):
                connection = socket.socket()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(self.address)
                connection.sendall(3 * b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
                connections.append(connection)
            time.sleep(0.05 if len(connections) < 500 else 1)

    def trickling_bodies(self) -> None:
        """Begins uploads, and sends a byte of each now and then."""
        head = (
            f"POST /v1/subjects HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n--x\r\n"
        ).encode()
        connections: list[socket.socket] = []
        while True:
            with suppress(OSError):
                connections.append(socket.create_connection(self.address, timeout=10))
                connections[-1].sendall(head)
            for connection in connections[:-1] if len(connections) >= 500 else ():
                with suppress(OSError):
                    connection.sendall(b"-")
            time.sleep(0.05 if len(connections) < 500 else 1)

    def streams(self) -> None:
        job = self.client.get("/v1/jobs?limit=1").json()["items"][0]["links"]["self"]
        head = f"GET {job}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()
        connections = []
        while True:
            with suppress(OSError):
                connection = socket.create_connection(self.address, timeout=10)
                connection.sendall(head)
                connections.append(connection)
            time.sleep(0.05 if len(connections) < 500 else 1)

    def _webhooks(self) -> list[dict[str, Any]]:
        return self.client.get("/v1/webhooks?limit=100").json().get("items", [])


WAYS = (
    "slow_receivers", "quick_receivers", "slow_look_ups", "verifications", "half_requests", "trickling_bodies", "streams",
    "silent_readers",
)  # fmt: skip
"""Names of Mallory's methods."""


def misbehave(way: str, url: str, token: str) -> None:
    """Misbehaves in one way until the process is killed."""
    getattr(Mallory(url, token), way)()


class Ann:
    """The other tenant. `measure` adds the milliseconds of each operation to lists."""

    def __init__(self, url: str, token: str, receiver: Receiver):
        headers = {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False)
        self.receiver = receiver
        made = self.client.post("/v1/webhooks", json={"url": receiver.url}).raise_for_status()
        self.hook = made.json()["links"]["self"]

    def measure(self, seconds: float, times: dict[str, list[float]]) -> None:
        """Reads and writes, and beside that receives deliveries, for some seconds."""
        stop = time.monotonic() + seconds
        deliveries = threading.Thread(target=self._receive, args=(stop, times["delivery"]))
        deliveries.start()
        number = 0
        while time.monotonic() < stop:
            times["read"].append(_ms(lambda: self.client.get(self.hook).raise_for_status()))
            time.sleep(4 * PAUSE_S)
            number += 1
            change = {"description": str(number)}
            times["write"].append(_ms(lambda: self.client.patch(self.hook, json=change).raise_for_status()))  # noqa: B023
            time.sleep(4 * PAUSE_S)
        deliveries.join()

    def _receive(self, stop: float, times: list[float]) -> None:
        while time.monotonic() < stop:
            times.append(_ms(self._deliver))

    def _deliver(self) -> None:
        count = len(self.receiver.received)
        self.client.post(f"{self.hook}/test").raise_for_status()
        while len(self.receiver.received) == count:
            time.sleep(PAUSE_S)


def _ms(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - start)


@contextmanager
def service(settings: Settings) -> Iterator[str]:
    """Runs an API and a worker inside the block; yields the API's URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    commands = (
        [sys.executable, "-c", API, "--port", str(port)],
        [sys.executable, "-m", "tests.worker.worker_processes", "worker"],
    )
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=environment_of(settings), stderr=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        with httpx.Client(base_url=url, trust_env=False) as client:
            while not answers(client):
                if processes[0].poll() is not None:
                    raise RuntimeError(f"the API ended with status {processes[0].returncode}")
                time.sleep(0.1)
        yield url
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def measure(seconds: float, rounds: int, ways: Sequence[str]) -> dict[str, Any]:
    """Makes all measurements; returns the figures, times in milliseconds."""
    spawn = multiprocessing.get_context("spawn")
    figures: dict[str, Any] = {"processors": os.cpu_count(), "seconds": seconds, "rounds": rounds, "ways": {}}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neighbours-")))
        (server,) = stack.enter_context(running(PostgreSQL))
        settings = Settings(
            data_dir=folder,
            database_url=server.create("neighbours"),
            webhook_key="k" * 32,
            webhook_networks="127.0.0.0/8",
            sweep_s=0.2,
            train_limit_s=1e6,
        )
        with closing(Database(settings.database)) as database:
            migrations.upgrade(database)
            with database.session() as session:
                ann, mallory = (
                    api_keys.create(session, owner=owner, name=owner, scopes=["read", "write"])[1]
                    for owner in ("ann", "mallory")
                )
        url = stack.enter_context(service(settings))
        receiver = stack.enter_context(Receiver(200))
        tenant = Ann(url, ann, receiver)
        stack.callback(tenant.client.close)
        with Mallory(url, mallory).client as client:
            client.post("/v1/subjects", data=FORM, files={"video": ("a.mp4", MP4_HEAD + bytes(4096))})
        tenant.measure(2 * SETTLE_S, defaultdict(list))  # warms up
        for way in ways:
            before: dict[str, list[float]] = defaultdict(list)
            during: dict[str, list[float]] = defaultdict(list)
            for _ in range(rounds):
                tenant.measure(seconds, before)
                process = spawn.Process(target=misbehave, args=(way, url, mallory), daemon=True)
                process.start()
                time.sleep(2 * SETTLE_S)
                tenant.measure(seconds, during)
                process.kill()
                process.join()
                time.sleep(SETTLE_S)
            figures["ways"][way] = {kind: _compare(before[kind], during[kind]) for kind in before}
            print(way, json.dumps(figures["ways"][way]), flush=True)
        figures["load_average"] = round(os.getloadavg()[0], 1)
    return figures


def _compare(before: list[float], during: list[float]) -> dict[str, float]:
    """The 50th and 99th percentiles of both, and the ratio of the latter; with less than 100 values, those are near the maximum."""
    one, two = (quantiles(each, n=100, method="inclusive") for each in (before, during))
    return {
        "count": len(during),
        "p50_before_ms": round(one[49], 1),
        "p50_during_ms": round(two[49], 1),
        "p99_before_ms": round(one[98], 1),
        "p99_during_ms": round(two[98], 1),
        "p99_ratio": round(two[98] / one[98], 2),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, measures, prints and writes the figures.

    Returns:
        0 if no 99th percentile was lengthened by ALLOWED or more, else 1.
    """
    parser = argparse.ArgumentParser("python -m benchmarks.neighbours", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a phase (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="phases of each kind (default: %(default)s)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="how Mallory misbehaves (default: all)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the figures (default: %(default)s)")
    args = parser.parse_args(arguments)
    figures = measure(args.seconds, args.rounds, args.ways)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(figures, indent=2) + "\n")
    ratios = [kind["p99_ratio"] for way in figures["ways"].values() for kind in way.values()]
    return int(max(ratios) >= ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
