"""A house whose workers are woken by Celery: worker and beat processes with the stub core, as an operator starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import redis

from storage.database import queries
from storage.database.models import LOCAL, Job
from storage.settings import environment_of
from storage.tables import workers
from tests.worker.conftest import ROOT, House
from worker.__main__ import QUIET
from worker.broker import QUEUES, Broker, make_app, open_database


class Fleet(House):
    """What tests do with Celery workers. Each machine has a data folder of its own."""

    def __init__(self, settings):
        super().__init__(settings)
        self.database.close()
        self.database = open_database(settings)
        self.broker = Broker(make_app(settings.broker_url), settings)
        self.redis = redis.Redis.from_url(settings.broker_url)
        self.redis.flushall()

    def on(self, machine):
        """The settings of another machine."""
        return self.settings.replace(data_dir=self.settings.data_dir.with_name(machine))

    def celery(self, *arguments, settings=None):
        """A process of `celery ... arguments`."""
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "--app", "tests.worker.celery_stub", *arguments],
            cwd=ROOT,
            env=environment_of(settings or self.settings),
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def start_worker(self, *queues, **more):
        """A worker for these queues (default: all)."""
        return self.celery("worker", "--queues", ",".join(queues or QUEUES.values()), *QUIET, **more)

    def start_beat(self):
        return self.celery("beat")

    def running(self, kind):
        """A running job of this kind, once it has begun to work."""

        def begun():
            with self.database.session(write=False) as session:
                found = queries.page(session, Job, owner=LOCAL, state="running", kind=kind).items
            return next((job for job in found if job.progress > 0), None)

        return self.until(begun)

    def until(self, condition, seconds=180.0):
        """Waits until `condition()` is true; patiently, because Celery's processes take a while to start."""
        return super().until(condition, seconds)

    def until_ready(self, *owners):
        self.until(lambda: all(self._reread(owner).state == "ready" for owner in owners))

    def crew(self):
        """The workers that are there, as they tell of themselves."""
        with self.database.session(write=False) as session:
            return workers.alive(session, within_s=60)

    def waiting(self):
        """How many wake-ups wait in the broker, by kind; without those of none."""
        return {kind: count for kind in QUEUES if (count := self.broker.queue_length(kind))}

    def kill_claimer(self, job):
        """kill -9 of the process that works on the job."""
        os.kill(claimer(job), signal.SIGKILL)

    def close(self):
        self.redis.close()
        super().close()

    def _reread(self, owner):
        return self.video(owner) if owner.id.startswith("vid_") else self.subject(owner)


def claimer(job):
    """The id of the process that works on the job."""
    return int(job.worker.split("-")[-2])
