"""Readiness: which components of the service respond. Each is checked in a thread of its own, with a timeout."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from typing import NamedTuple

from storage.database.engine import Database
from storage.objects.base import ObjectStore
from storage.settings import Settings
from storage.tables import workers
from worker.broker import QUEUES

log = logging.getLogger(__name__)

TIMEOUT_S = 3.0
"""Seconds after which a component counts as down, and the whole check ends. Load balancers commonly allow 5 s for it."""

REQUIRED = ("database", "store")
"""Components that requests need. Without workers or the broker, jobs wait in the database, and requests are answered as ever."""


class ComponentStatus(NamedTuple):
    """State of one component, and a short text about it that holds no secrets."""

    ok: bool
    detail: str


class Readiness:
    """Checks the components. While a check hangs, later calls wait for the same check instead of starting another."""

    def __init__(self, settings: Settings, database: Database, store: ObjectStore):
        self.settings, self.database, self.store = settings, database, store
        self._checks = {
            "database": self._database,
            "store": self._store,
            "queue": self._queue,
            "workers": self._workers,
        }
        self._pool = ThreadPoolExecutor(len(self._checks), thread_name_prefix="readiness")
        self._running: dict[str, Future[str]] = {}
        self._lock = threading.Lock()

    def parts(self) -> dict[str, ComponentStatus]:
        """Checks every component now; returns their states by name."""
        with self._lock:
            for name, check in self._checks.items():
                if name not in self._running or self._running[name].done():
                    self._running[name] = self._pool.submit(check)
            running = dict(self._running)
        deadline = time.monotonic() + TIMEOUT_S
        return {name: _status(name, result, deadline - time.monotonic()) for name, result in running.items()}

    def close(self) -> None:
        """Ends the threads; checks that hang are abandoned."""
        self._pool.shutdown(wait=False)

    def _database(self) -> str:
        self.database.ping()
        return self.database.url.get_backend_name()

    def _store(self) -> str:
        self.store.ping()
        return "bucket" if self.settings.store_url else "folder"

    def _queue(self) -> str:
        if not self.settings.broker_url:
            return "the database is the queue"
        from kombu import Connection  # only where there is a broker

        timeouts = {"socket_connect_timeout": TIMEOUT_S, "socket_timeout": TIMEOUT_S}
        with Connection(self.settings.broker_url, transport_options=timeouts) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=TIMEOUT_S)
        return "broker"

    def _workers(self) -> str:
        with self.database.session(write=False) as session:
            alive = workers.alive(session, within_s=self.settings.worker_silence_s)
        idle = sorted(set(QUEUES.values()) - {queue for worker in alive for queue in worker.queues})
        if idle:
            raise NoWorkers(f"no worker for {', '.join(idle)}")
        versions = sorted({worker.device["ffmpeg"] for worker in alive if "ffmpeg" in worker.device})
        return "; ".join([f"{len(alive)} alive", *(f"ffmpeg {version}" for version in versions)])


class NoWorkers(Exception):
    """A queue has no worker."""


def _status(name: str, result: Future[str], wait_s: float) -> ComponentStatus:
    try:
        return ComponentStatus(True, result.result(max(0.0, wait_s)))
    except NoWorkers as error:
        return ComponentStatus(False, str(error))
    except TooSlow:
        return ComponentStatus(False, f"no response within {TIMEOUT_S:.0f} s")
    except Exception as error:
        log.warning("%s is down: %s", name, error)
        return ComponentStatus(False, type(error).__name__)  # its message may contain hosts and users
