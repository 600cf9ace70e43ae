"""The Celery task that runs a job. Each process of a Celery worker has one Runner and runs one job at a time.

Stopping: on SIGTERM Celery waits for its running tasks, however long they take. Therefore its main process passes the signal on
to the processes that run them, which release their jobs.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import suppress

from celery import current_app, signals
from celery.worker import state
from sqlalchemy.exc import OperationalError

from storage.database.models import JobKind
from storage.settings import load
from worker.broker import WAKE, Broker, kinds_of
from worker.celery_app import app
from worker.jobs.core_functions import load_core
from worker.jobs.runner import Runner
from worker.processes.signals import event_on_signals

log = logging.getLogger(__name__)

PUT_BACK_S = 2.0
"""Seconds before a wake-up that this worker cannot use is sent again: long enough for another idle worker to receive it first."""

_runner: Runner | None = None
"""The runner of this process; the main process has none."""


@app.task(name=WAKE)
def wake(kind: JobKind) -> None:
    """Runs the oldest queued job of this kind, if there is one."""
    if kind not in _runner.kinds:
        log.warning("woken for %s, which this worker does not run", kind)
        _put_back(kind)
        return
    stopping = threading.Event()
    try:
        with event_on_signals(stopping, signal.SIGTERM):
            _runner.run_next([kind], stopping)
    except OperationalError as error:  # other workers may reach it, and this idle one would receive all their wake-ups
        log.warning("the database is away (%s)", error)
        _put_back(kind)


def _put_back(kind: JobKind) -> None:
    time.sleep(PUT_BACK_S)
    _runner.broker.send(kind)


@signals.celeryd_after_setup.connect
def _record_queues(conf, **_) -> None:
    """In the main process: passes the queues on to the worker processes, which do not see the command line."""
    conf.adnerf_queues = sorted(app.amqp.queues.consume_from)


@signals.worker_process_init.connect
def _start(**_) -> None:
    """In a new worker process: creates its runner. If that fails, it would fail in every process: the whole worker ends."""
    global _runner
    try:
        settings, kinds = load(), kinds_of(current_app.conf.adnerf_queues)
        _runner = Runner(settings, load_core(), kinds, Broker(current_app, settings))
    except Exception:
        log.exception("the worker cannot start")
        os.kill(os.getppid(), signal.SIGTERM)
        os._exit(1)
    _runner.start_background_tasks()
    log.info("worker %s is ready for %s", _runner.name, ", ".join(_runner.kinds))


@signals.worker_process_shutdown.connect
def _close(**_) -> None:
    if _runner is not None:
        _runner.close()


@signals.worker_shutting_down.connect
def _forward_sigterm(**_) -> None:
    """In the main process, inside its signal handler: starts a thread that signals the worker processes."""
    threading.Thread(target=_interrupt, name="stopping", daemon=True).start()


def _interrupt() -> None:
    signalled = set()
    while True:
        for request in list(state.active_requests):
            if request.worker_pid and request.id not in signalled:
                signalled.add(request.id)
                with suppress(ProcessLookupError):
                    os.kill(request.worker_pid, signal.SIGTERM)
        time.sleep(0.1)
