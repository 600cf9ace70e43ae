"""Nothing that is needed goes, and nothing that is not needed stays for ever."""

from __future__ import annotations

import io
import os
import time

from api.services import subjects
from storage.cleanup import ObjectCleaner
from storage.database import migrations
from worker.jobs.scratch_cleanup import remove_stale_scratch
from worker.jobs.workspace import Workspace


def age(house):
    """Makes all objects two hours old."""
    for key in house.objects():
        os.utime(house.store.root / key, (0, time.time() - 7200))


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
    newest = house.read(subjects.subject_preview, subject.id)
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
    migrations.upgrade(house.database)  # as `adnerf serve` does
    log = tmp_path / "log"
    with log.open("wb") as file:
        house.start("serve", stderr=file)
        house.until(lambda: b"nothing is removed from the object store" in log.read_bytes())
    assert b"adnerf store adopt" in log.read_bytes()
    assert house.objects() == before
    assert not (house.store.root / "trash").exists()
