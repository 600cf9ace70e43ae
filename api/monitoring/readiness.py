"""Readiness: which parts of the service answer. Each is asked in a thread of its own, and none is waited for long."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from typing import NamedTuple

from storage.database.engine import Database
from storage.objects.base import ObjectStore
from storage.settings import Settings
from storage.tables import workers
from worker.broker import QUEUES

log = logging.getLogger(__name__)

PATIENCE_S = 3.0
"""A part that has not answered by then counts as down."""

REQUIRED = ("database", "store", "queue")
"""Parts without which requests cannot be served as they should. Work that no worker is there for waits."""


class ComponentStatus(NamedTuple):
    """Whether one part of the service is well, and a sentence on it that holds no secrets."""

    ok: bool
    detail: str


class Readiness:
    """Asks the parts. A part that hangs is asked once, not again by each who wants to know."""

    def __init__(self, settings: Settings, database: Database, store: ObjectStore):
        self.settings, self.database, self.store = settings, database, store
        self._asks = {"database": self._database, "store": self._store, "queue": self._queue, "workers": self._workers}
        self._pool = ThreadPoolExecutor(len(self._asks), thread_name_prefix="readiness")
        self._asked: dict[str, Future[str]] = {}
        self._lock = threading.Lock()

    def parts(self) -> dict[str, ComponentStatus]:
        """Every part by name, asked now."""
        with self._lock:
            for name, ask in self._asks.items():
                if name not in self._asked or self._asked[name].done():
                    self._asked[name] = self._pool.submit(ask)
            asked = dict(self._asked)
        return {name: _part(name, answer) for name, answer in asked.items()}

    def close(self) -> None:
        """Asks nobody any more."""
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

        waiting = {"socket_connect_timeout": PATIENCE_S, "socket_timeout": PATIENCE_S}
        with Connection(self.settings.broker_url, transport_options=waiting) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=PATIENCE_S)
        return "broker"

    def _workers(self) -> str:
        with self.database.session(write=False) as session:
            alive = workers.alive(session, within_s=self.settings.worker_silence_s)
        idle = sorted(set(QUEUES.values()) - {queue for worker in alive for queue in worker.queues})
        if idle:
            raise NobodyThere(f"no worker for {', '.join(idle)}")
        return f"{len(alive)} alive"


class NobodyThere(Exception):
    """A queue has no worker."""


def _part(name: str, answer: Future[str]) -> ComponentStatus:
    try:
        return ComponentStatus(True, answer.result(PATIENCE_S))
    except NobodyThere as error:
        return ComponentStatus(False, str(error))
    except TooSlow:
        return ComponentStatus(False, f"no answer within {PATIENCE_S:.0f} s")
    except Exception as error:
        log.warning("%s is down: %s", name, error)
        return ComponentStatus(False, type(error).__name__)  # its words may name hosts and users
