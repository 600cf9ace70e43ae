"""The Celery application with the chaos' core: `celery --app benchmarks.chaos.celery_app`, also in spawned processes."""

from __future__ import annotations

import os

from benchmarks.chaos.core import CORE, VISIBILITY
from worker.celery_app import app
from worker.processes import celery_tasks

celery_tasks.load_core = lambda: CORE
app.conf.include = (*app.conf.include, __name__)
if seconds := os.environ.get(VISIBILITY):
    # Looked for every second, at every look: Kombu's own rhythm would hide what is tried here.
    eager = {"visibility_timeout": float(seconds), "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    app.conf.broker_transport_options = app.conf.broker_transport_options | eager
    app.conf.visibility_timeout = float(seconds)
