"""The Celery application with the stub core of the experiments: `celery --app benchmarks.chaos.celery_app`."""

from __future__ import annotations

import os

from benchmarks.chaos.core import CORE, VISIBILITY
from worker.celery_app import app
from worker.processes import celery_tasks

celery_tasks.load_core = lambda: CORE
app.conf.include = (*app.conf.include, __name__)
if seconds := os.environ.get(VISIBILITY):
    # Restores messages every second; Kombu's default interval would be longer than the experiment.
    options = {"visibility_timeout": float(seconds), "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    app.conf.broker_transport_options = app.conf.broker_transport_options | options
    app.conf.visibility_timeout = float(seconds)
