"""Nothing that is needed goes, and nothing that is not needed stays for ever."""

from __future__ import annotations

import io
import os
import time
from functools import partial

import pytest

from api.services import consents, subjects
from storage.cleanup import ObjectCleaner
from storage.database import migrations
from storage.database.engine import Database
from tests.worker.stub_core import CORE
from worker.jobs.scratch_cleanup import remove_deleted_subjects, remove_stale_scratch
from worker.jobs.workspace import Workspace
from worker.processes.polling import PollingWorker


def age(house):
    """Makes all objects two days old."""
    for key in house.objects():
        os.utime(house.store.root / key, (0, time.time() - 2 * 86_400))


def tidied(house):
    remove_stale_scratch(house.database, Workspace(house.settings.work, house.store))
    ObjectCleaner(house.database, house.store).run_batch()


def test_every_object_of_a_living_row_stays(house):
    subject = house.submit_subject(train={"previews": True})
    house.submit_subject(train={"at": {"2": "crash"}})
    house.work()
    house.submit_video(subject.id, background=b"a wall")
    house.work()
    needed = house.objects()
    house.store.put("subjects/sub_gone/source", io.BytesIO(b"its upload was never committed"))
    house.store.put(
        f"subjects/{subject.id}/runs/{subject.jobs[-1].id}-0.zip", io.BytesIO(b"its worker died before it was named")
    )
    (house.store.root / "subjects" / subject.id / ".source.0123").write_bytes(b"half an upload")
    tidied(house)
    assert len(house.objects()) == len(needed) + 3  # too new to be sure
    age(house)
    tidied(house)
    newest = house.read(subjects.subject_part, subject.id, "preview_key")
    assert house.objects() == [key for key in needed if "/previews/" not in key or key == newest]


def test_the_copies_of_a_deleted_subject_go(house):
    subject = house.ready_subject()
    house.submit_video(subject.id)
    house.work()
    cache = house.settings.work / "cache"
    tidied(house)
    assert [path.name.split("+")[2] for path in cache.iterdir()] == ["runs"]  # no job reads the dataset any more
    house.write(subjects.delete_subject, house.store, subject.id)
    tidied(house)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("purge", [False, True])
def test_an_idle_worker_soon_removes_its_copies_of_a_deleted_or_purged_subject(house, purge):
    gone, other = house.ready_subject(), house.ready_subject()
    for subject in (gone, other):
        house.submit_video(subject.id)
    house.work()
    cache = house.settings.work / "cache"
    if purge:
        house.write(partial(consents.withdraw_consent, purge=True), house.store, gone.id)
    else:
        house.write(subjects.delete_subject, house.store, gone.id)
    worker = PollingWorker(house.settings.replace(sweep_s=0.1), CORE)
    worker.start_background_tasks()
    deadline = time.monotonic() + 30
    while any(gone.id in path.name for path in cache.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    worker.close()
    assert not any(gone.id in path.name for path in cache.iterdir())
    assert any(other.id in path.name for path in cache.iterdir())


def test_the_work_on_a_purged_subject_goes(house):
    subject = house.submit_subject()
    (job,) = house.subject(subject).jobs
    work = house.settings.work / "jobs" / job.id / "1"
    work.mkdir(parents=True)
    (work / "frame.jpg").write_bytes(b"a face")
    workspace = Workspace(house.settings.work, house.store)
    remove_deleted_subjects(house.database, workspace)
    assert work.exists()
    house.write(partial(consents.withdraw_consent, purge=True), house.store, job.subject_id)
    remove_deleted_subjects(house.database, workspace)
    assert not work.exists()


def test_a_data_folder_whose_database_is_lost_keeps_every_object(house, tmp_path):
    """A worker of its own process, which cleans up when it starts."""
    house.submit_video(house.ready_subject().id)
    house.work()
    age(house)
    before = house.objects()
    assert len(before) >= 6
    house.database.close()
    for path in house.settings.data_dir.glob("adnerf.db*"):
        path.unlink()
    new = Database(house.settings.database)
    migrations.upgrade(new)  # as `adnerf serve` does
    new.close()
    log = tmp_path / "log"
    with log.open("wb") as file:
        house.start("serve", stderr=file)
        house.until(lambda: b"nothing is removed from the object store" in log.read_bytes())
    assert b"adnerf store adopt" in log.read_bytes()
    assert house.objects() == before
    assert not (house.store.root / "trash").exists()
