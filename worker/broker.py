"""The message broker, which wakes workers on many machines.

Jobs are rows of the database, and a claim decides which worker runs a job. A message (a wake-up) only says that there is a
job of one kind: the worker that receives it claims the oldest one. Wake-ups of a kind are therefore interchangeable: the worker
that receives one too many finds nothing to claim, the sweep replaces lost ones, and a late one delays no particular job. The broker only
needs as many wake-ups as there are queued jobs.
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
from storage.tables.workers import QUEUES

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)

WAKE = "adnerf.wake"
"""Name of the only task; its argument is a kind of job."""

VISIBILITY_TIMEOUT_S = 7 * 86400
"""Seconds after which Redis delivers an unacknowledged message again. A week is longer than any job may take: lost workers are
detected by the lease in the database, much earlier."""
SENDING_S = 1.0
"""Age in seconds below which a wake-up is left to the process that created it: that process sends it within milliseconds."""
CONNECT_S, ANSWER_S = 2.0, 5.0
"""Seconds to wait for a connection to the broker and for its answer. A reachable broker answers in milliseconds; a sender must not
wait long for one that is down, since the sweep sends again."""


def make_app(broker_url: str) -> Celery:
    """Creates the Celery application. Celery is imported only here: a single machine without a broker does not need it."""
    from celery import Celery
    from kombu import Exchange, Queue

    app = Celery("adnerf", broker=broker_url, include=["worker.processes.celery_tasks"])
    visibility = {"visibility_timeout": VISIBILITY_TIMEOUT_S}
    app.conf.update(
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in QUEUES.values()],
        task_default_queue=QUEUES["preprocess"],
        task_create_missing_queues=False,  # a misspelt queue name is refused
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,  # the row of the job is the result
        task_acks_late=True,
        task_reject_on_worker_lost=False,  # the sweep sends a new wake-up for the job of a lost worker
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
        worker_concurrency=1,  # one job at a time: a job uses all cores of the machine, or its GPU
        worker_prefetch_multiplier=1,
        worker_pool="prefork",
        worker_pool_start_method="spawn",  # CUDA does not survive a fork
        worker_proc_alive_timeout=300.0,  # a new process imports torch before it reports that it is up
        worker_cancel_long_running_tasks_on_connection_loss=False,  # work goes on while the broker is away
        worker_hijack_root_logger=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        beat_scheduler="worker.processes.beat:SweepScheduler",
        broker_transport_options=visibility
        | {
            "socket_connect_timeout": CONNECT_S,
            "socket_timeout": ANSWER_S,
            "socket_keepalive": True,  # detects a dead connection within a minute: 30 s + 3 probes of 10 s
            "socket_keepalive_options": {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3},
        },
        result_backend_transport_options=visibility,
        **visibility,
    )
    return app


def kinds_of(queues: Collection[str]) -> tuple[JobKind, ...]:
    """Returns the kinds of jobs whose queues are among `queues`."""
    return tuple(kind for kind, queue in QUEUES.items() if queue in queues)


def open_database(settings: Settings) -> Database:
    """Opens the database; if the settings name a broker, every newly queued job wakes a worker."""
    database = Database(settings.database)
    if settings.broker_url:
        database.on_queued = Broker(make_app(settings.broker_url), settings).notify_soon
    return database


class Broker:
    """Sends wake-ups. An unavailable broker is no error: wake-ups stay in the database until `resend_due` can send them."""

    def __init__(self, app: Celery, settings: Settings):
        from kombu.exceptions import OperationalError
        from redis.exceptions import RedisError

        self.app, self.settings = app, settings
        self.unavailable_errors = (OperationalError, RedisError, OSError)  # of `send` and `queue_length`
        self._outgoing: queue.SimpleQueue[JobKind] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_outgoing, name="wake-ups", daemon=True)
        self._start = threading.Lock()

    def notify_soon(self, wakeup: WakeUp) -> None:
        """Sends a wake-up from a separate thread, since Database.on_queued must neither wait nor raise."""
        self._outgoing.put(wakeup.kind)
        with self._start:
            if not self._thread.is_alive():
                self._thread.start()

    def resend_due(self, database: Database) -> None:
        """Sends the wake-ups that are due, minus those that still wait in the broker's queue."""
        latest = now() - timedelta(seconds=SENDING_S)
        with database.session(write=False) as session:
            due = [wakeup for wakeup in jobs.due_wakeups(session) if wakeup.due < latest]
        try:
            for kind, count in Counter(wakeup.kind for wakeup in due).items():
                missing = count - self.queue_length(kind)
                for _ in range(missing):
                    self.send(kind)
                if missing > 0:
                    log.info("%d wake-ups sent to %s", missing, QUEUES[kind])
        except self.unavailable_errors as error:
            log.warning("the broker is away (%s); the next sweep will try again", error)
            return
        if due:
            with database.session() as session:
                jobs.mark_sent(session, due, again_s=self.settings.wake_again_s)

    def send(self, kind: JobKind) -> None:
        """Sends one wake-up. Raises one of `unavailable_errors`."""
        self.app.send_task(WAKE, [kind], queue=QUEUES[kind])

    def queue_length(self, kind: JobKind) -> int:
        """Returns the number of wake-ups of this kind that no worker has received. Raises one of `unavailable_errors`."""
        with self.app.connection_for_write() as connection, connection.channel() as channel:
            return self.app.amqp.queues[QUEUES[kind]].bind(channel).queue_declare().message_count

    def _send_outgoing(self) -> None:
        while True:
            kind = self._outgoing.get()
            try:
                self.send(kind)
            except Exception as error:
                log.warning("the broker is away (%s); the sweep will send what is due", error)
                while not self._outgoing.empty():  # each would wait for the same timeout
                    self._outgoing.get()
