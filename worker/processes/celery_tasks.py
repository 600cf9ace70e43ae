"""What a Celery worker does when it is woken. Each of its processes has one Runner, and runs one job at a time.

Stopping: on SIGTERM Celery waits for its running tasks, however long they take. So its main process passes the signal on
to the processes that work, which give their jobs back.
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
from worker.jobs.pipeline import load_core
from worker.jobs.runner import Runner
from worker.processes.signals import event_on_signals

log = logging.getLogger(__name__)

PUT_BACK_S = 2.0
"""How long a wake-up that this worker has no use for is held back, so that others may be quicker when it is sent again."""

_runner: Runner | None = None
"""This process's own; the main process has none."""


@app.task(name=WAKE)
def wake(kind: JobKind) -> None:
    """Runs the oldest queued job of this kind, if there still is one."""
    if kind not in _runner.kinds:
        log.warning("woken for %s, which this worker does not do", kind)
        _put_back(kind)
        return
    stopping = threading.Event()
    try:
        with event_on_signals(stopping, signal.SIGTERM):
            _runner.step([kind], stopping)
    except OperationalError as error:  # perhaps others reach it: an idle worker that does not would use up all wake-ups
        log.warning("the database is away (%s)", error)
        _put_back(kind)


def _put_back(kind: JobKind) -> None:
    time.sleep(PUT_BACK_S)
    _runner.broker.send(kind)


@signals.celeryd_after_setup.connect
def _note_queues(conf, **_) -> None:
    """Main process: its processes, which do not see its command line, get its configuration."""
    conf.adnerf_queues = sorted(app.amqp.queues.consume_from)


@signals.worker_process_init.connect
def _begin(**_) -> None:
    """A new process that works. Where it cannot begin, no other could: then the whole worker ends."""
    global _runner
    try:
        settings, kinds = load(), kinds_of(current_app.conf.adnerf_queues)
        _runner = Runner(settings, load_core(), kinds, Broker(current_app, settings))
    except Exception:
        log.exception("the worker cannot begin")
        os.kill(os.getppid(), signal.SIGTERM)
        os._exit(1)
    _runner.keep_house()
    log.info("worker %s is ready for %s", _runner.name, ", ".join(_runner.kinds))


@signals.worker_process_shutdown.connect
def _end(**_) -> None:
    if _runner is not None:
        _runner.end()


@signals.worker_shutting_down.connect
def _pass_on(**_) -> None:
    """Main process, inside its signal handler: a thread tells the processes that work, now or in a moment."""
    threading.Thread(target=_interrupt, name="stopping", daemon=True).start()


def _interrupt() -> None:
    told = set()
    while True:
        for request in list(state.active_requests):
            if request.worker_pid and request.id not in told:
                told.add(request.id)
                with suppress(ProcessLookupError):
                    os.kill(request.worker_pid, signal.SIGTERM)
        time.sleep(0.1)
