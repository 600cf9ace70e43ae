"""A service without HTTP: a database, a store, the use cases, and workers with the stub core."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from adnerf_core.config import RenderOptions
from api.services import subjects, videos
from storage.database import queries
from storage.database.engine import Database
from storage.database.models import LOCAL, Job, Subject, Video
from storage.objects.open_store import open_store
from storage.settings import Settings, environment_of
from tests.incoming import incoming
from tests.tables import create_tables
from tests.worker.stub_core import CORE
from worker.processes.polling import PollingWorker

ROOT = Path(__file__).parents[2]

PLAIN = RenderOptions()


class House:
    """What tests do with a data folder."""

    def __init__(self, settings):
        self.settings = settings
        self.database = Database(settings.database)
        create_tables(self.database)
        self.store = open_store(settings)
        self.processes: list[subprocess.Popen] = []

    def submit_subject(self, *, preset="draft", audio_track=None, footage=None, may_improve_others=False, **orders):
        """Submits a subject from `footage`, or from `orders` to the stub core."""
        with self.database.session() as session:
            video = incoming(self.store, footage or json.dumps(orders).encode())
            subject = subjects.submit_subject(
                session,
                self.store,
                self.settings,
                owner=LOCAL,
                name="Ada",
                preset=preset,
                audio_track=audio_track,
                consent="Ada, today",
                may_improve_others=may_improve_others,
                video=video,
            )
        return self.subject(subject)

    def submit_video(self, subject_id, background=None, options=PLAIN, idle_s=None, audio=None, **orders):
        """Submits a video of `audio`, or of `orders` to the stub core."""
        with self.database.session() as session:
            video = videos.submit_video(
                session,
                self.store,
                self.settings,
                owner=LOCAL,
                subject_id=subject_id,
                options=options,
                audio=incoming(self.store, audio or json.dumps(orders).encode()) if idle_s is None else None,
                idle_s=idle_s,
                background=incoming(self.store, background) if background is not None else None,
            )
        return self.video(video)

    def ready_subject(self, **orders):
        subject = self.submit_subject(**orders)
        self.work()
        return self.subject(subject)

    def read(self, use_case, *arguments, owner=LOCAL):
        with self.database.session(write=False) as session:
            return use_case(session, *arguments, owner=owner)

    def subject(self, subject):
        return self.read(queries.get, Subject, subject.id)

    def video(self, video):
        return self.read(queries.get, Video, video.id)

    def owner(self, job):
        """The video or subject that a job is for."""
        if job.video_id:
            return self.read(queries.get, Video, job.video_id)
        return self.read(queries.get, Subject, job.subject_id)

    def job(self, job):
        return self.read(queries.get, Job, job.id)

    def newest_job(self):
        return self.read(queries.page, Job).items[0]

    def write(self, use_case, *arguments, owner=LOCAL):
        with self.database.session() as session:
            return use_case(session, *arguments, owner=owner)

    def worker(self):
        """A worker in this process."""
        return PollingWorker(self.settings, CORE)

    def work(self):
        """Runs all jobs that are there, in this process."""
        worker = self.worker()
        while worker.run_next():
            pass
        worker.lock.release()
        worker.database.close()

    def start(self, name="worker", **options):
        """A process of its own session: "worker", "serve", "real_worker" or "drawing_worker" (see worker_processes.py)."""
        return self.start_module("tests.worker.worker_processes", name, **options)

    def start_module(self, *words, environment=None, **options):
        """A Python module with its arguments, as a process of its own session."""
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env=environment_of(self.settings) | (environment or {}),
            start_new_session=True,
            **options,
        )
        self.processes.append(process)
        return process

    def objects(self):
        """The keys of all objects, without the store's own and those in its trash."""
        root = self.store.root
        files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        return [key for key in files if not key.startswith(("service/", "trash/"))]

    def unzip(self, key):
        """A folder that was pushed, as an open archive."""
        with self.store.open(key) as archive:
            return zipfile.ZipFile(io.BytesIO(archive.read()))

    def steps_made(self, subject):
        """The numbers of the steps that the training of a ready subject really made, in their order."""
        with self.unzip(self.subject(subject).run_key) as run:
            return [json.loads(line)["step"] for line in run.read("metrics.jsonl").splitlines()]

    def until(self, condition, seconds=60.0):
        """Waits until `condition()` is true, and returns what it returned.

        The pauses grow from .02 to .1 s: a question takes processor time, which the processes that are waited for lack.
        """
        deadline, pause = time.monotonic() + seconds, 0.02
        while not (value := condition()):
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(pause)
            pause = min(1.2 * pause, 0.1)
        return value

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.database.close()


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data", beat_s=0.05, poll_s=0.05, lease_s=30.0)


@pytest.fixture
def house(settings):
    house = House(settings)
    yield house
    house.close()
