"""The Celery application with the stub core: `celery --app tests.worker.celery_stub`, also in its spawned processes."""

from __future__ import annotations

from tests.worker.stub_core import CORE
from worker.celery_app import app
from worker.processes import celery_tasks

celery_tasks.load_core = lambda: CORE
app.conf.include = (*app.conf.include, __name__)
