"""Broker: how workers on many machines are woken. It carries no jobs; those are rows, and a claim decides who runs one.

A wake-up says no more than "there is a job of this kind": whoever hears it claims the oldest one. So wake-ups of a kind
are all alike. One too many finds nothing to claim; lost ones are made good by their number, whichever they were; one
that is late does not hold up the job that it was sent for. All that is ever needed is as many as there are queued jobs.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
from collections import Counter
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING

from storage.database.engine import Database
from storage.database.models import JobKind, now
from storage.settings import Settings
from storage.tables import jobs
from storage.tables.jobs import WakeUp

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)

QUEUES: dict[JobKind, str] = {"preprocess": "cpu", "train": "gpu_train", "render": "gpu_render"}
"""The queue of each kind of job."""

WAKE = "adnerf.wake"
"""The one task that there is; its one argument is a kind of job."""

VISIBILITY_TIMEOUT_S = 7 * 86400
"""When Redis gives a message that was taken and not acknowledged to another worker. Longer than any job may take: the
lease in the database tells of lost workers, and much earlier."""
ON_ITS_WAY_S = 1.0
"""A younger wake-up is being sent by the process that made it."""
CONNECT_S, ANSWER_S = 2.0, 5.0
"""How long to wait for a broker that is away."""


def make_app(broker_url: str) -> Celery:
    """The Celery application. Celery is loaded only here: one machine without a broker does not need it."""
    from celery import Celery
    from kombu import Exchange, Queue

    app = Celery("adnerf", broker=broker_url, include=["worker.processes.celery_tasks"])
    visibility = {"visibility_timeout": VISIBILITY_TIMEOUT_S}
    app.conf.update(
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in QUEUES.values()],
        task_default_queue=QUEUES["preprocess"],
        task_create_missing_queues=False,  # a misspelt -Q is refused
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,  # the row of the job is the result
        task_acks_late=True,
        task_reject_on_worker_lost=False,  # a wake-up is spent; the job of a lost worker gets a new one from the sweep
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
        worker_concurrency=1,  # one job at a time: a job is as wide as the machine, or as its GPU
        worker_prefetch_multiplier=1,
        worker_pool="prefork",
        worker_pool_start_method="spawn",  # CUDA does not survive a fork
        worker_proc_alive_timeout=300.0,  # a new process loads torch before it says that it is up
        worker_cancel_long_running_tasks_on_connection_loss=False,  # work goes on while the broker is away
        worker_hijack_root_logger=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        beat_scheduler="worker.processes.beat:Sweeper",
        broker_transport_options=visibility
        | {
            "socket_connect_timeout": CONNECT_S,
            "socket_timeout": ANSWER_S,
            "socket_keepalive": True,  # a connection that died silently is noticed within a minute
            "socket_keepalive_options": {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3},
        },
        result_backend_transport_options=visibility,
        **visibility,
    )
    return app


def kinds_of(queues: Collection[str]) -> tuple[JobKind, ...]:
    """The kinds of jobs whose queues are among these."""
    return tuple(kind for kind, queue in QUEUES.items() if queue in queues)


def open_database(settings: Settings) -> Database:
    """The database; where there is a broker, a job that is queued in it wakes a worker."""
    database = Database(settings.database)
    if settings.broker_url:
        database.on_queued = Broker(make_app(settings.broker_url), settings).hasten
    return database


class Broker:
    """Sends wake-ups. A broker that is away is no error: they stand in the database until `catch_up` reaches it."""

    def __init__(self, app: Celery, settings: Settings):
        from kombu.exceptions import OperationalError
        from redis.exceptions import RedisError

        self.app, self.settings = app, settings
        self.away = (OperationalError, RedisError, OSError)  # what `send` and `waiting` raise where it is away
        self._hasty: queue.SimpleQueue[JobKind] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_hasty, name="wake-ups", daemon=True)
        self._start = threading.Lock()

    def hasten(self, wakeup: WakeUp) -> None:
        """Sends a wake-up soon, from a thread of its own: for Database.on_queued, which must neither wait nor raise."""
        self._hasty.put(wakeup.kind)
        with self._start:
            if not self._thread.is_alive():
                self._thread.start()

    def catch_up(self, database: Database) -> None:
        """Sends the wake-ups that are due, except as many as are waiting in the broker anyway."""
        latest = now() - timedelta(seconds=ON_ITS_WAY_S)
        with database.session(write=False) as session:
            due = [wakeup for wakeup in jobs.due_wakeups(session) if wakeup.due < latest]
        try:
            for kind, count in Counter(wakeup.kind for wakeup in due).items():
                missing = count - self.waiting(kind)
                for _ in range(missing):
                    self.send(kind)
                if missing > 0:
                    log.info("%d wake-ups sent to %s", missing, QUEUES[kind])
        except self.away as error:
            log.warning("the broker is away (%s); the next sweep will try again", error)
            return
        if due:
            with database.session() as session:
                jobs.mark_sent(session, due, again_s=self.settings.wake_again_s)

    def send(self, kind: JobKind) -> None:
        """Sends one wake-up. Raises one of `away`."""
        self.app.send_task(WAKE, [kind], queue=QUEUES[kind])

    def waiting(self, kind: JobKind) -> int:
        """How many wake-ups of this kind no worker has taken yet. Raises one of `away`."""
        with self.app.connection_for_write() as connection, connection.channel() as channel:
            return self.app.amqp.queues[QUEUES[kind]].bind(channel).queue_declare().message_count

    def _send_hasty(self) -> None:
        while True:
            kind = self._hasty.get()
            try:
                self.send(kind)
            except Exception as error:
                log.warning("the broker is away (%s); the sweep will send what is due", error)
                while not self._hasty.empty():  # each would wait as long for nothing
                    self._hasty.get()
