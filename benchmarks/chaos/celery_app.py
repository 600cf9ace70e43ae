"""The Celery application with the chaos' core: `celery --app benchmarks.chaos.celery_app`, also in spawned processes."""

from __future__ import annotations

import os

from benchmarks.chaos.core import CORE, VISIBILITY
from worker import tasks
from worker.celery_app import app

tasks.load_core = lambda: CORE
app.conf.include = (*app.conf.include, __name__)
if seconds := os.environ.get(VISIBILITY):
    app.conf.broker_transport_options = app.conf.broker_transport_options | {"visibility_timeout": float(seconds)}
    app.conf.visibility_timeout = float(seconds)
