"""The cleanup removes objects that no row names, and nothing else, on each kind of database and store."""

from __future__ import annotations

import io

import pytest

from storage import cleanup
from storage.cleanup import ObjectCleaner
from storage.database import queries
from storage.database.models import Job, Subject, Video
from storage.tables import jobs
from tests.storage.objects.test_objects import FUTURE_S, keys
from tests.storage.tables.test_jobs import claim, new_job


@pytest.fixture
def put(store):
    def put(*names):
        for name in names:
            store.put(name, io.BytesIO(b"x"))

    return put


@pytest.fixture
def cleaner(database, store):
    """An ObjectCleaner without a grace period."""
    return ObjectCleaner(database, store, grace_s=FUTURE_S)


def name_all(database, job):
    """Names an object in every column for keys of the job's subject and video; returns the keys."""
    named = []
    with database.session() as session:
        for model, row_id in ((Subject, job.subject_id), (Video, job.video_id)):
            row = queries.get(session, model, row_id)
            for column in [each.name for each in model.__table__.columns]:
                if column.endswith("_key"):
                    folder = f"subjects/{job.subject_id}/" + ("" if model is Subject else f"videos/{job.video_id}/")
                    named.append(f"{folder}{column}")
                    setattr(row, column, named[-1])
    return named


def test_named_objects_stay_and_unnamed_ones_go(database, store, put, cleaner):
    job = new_job(database, "render")
    named = name_all(database, job)
    assert len(named) >= 8
    folder = f"subjects/{job.subject_id}"
    unnamed = [f"{folder}/source", f"{folder}/videos/{job.video_id}/late.mp4", f"{folder}/videos/vid_gone/audio"]
    put(*named, *unnamed, "subjects/sub_gone/source", "somebody/else's")
    assert cleaner.run_batch() == sorted([*unnamed, "subjects/sub_gone/source"])
    assert keys(store) == sorted([*named, "somebody/else's"])
    assert cleaner.run_batch() == []


def test_a_deleted_subject_leaves_nothing(database, store, put, cleaner):
    """Also if the process was killed between the commit and the removal of the files."""
    job = new_job(database, "render")
    put(*name_all(database, job))
    with database.session() as session:
        jobs.delete_where(session, Job.subject_id == job.subject_id)
        session.delete(queries.get(session, Subject, job.subject_id))
    cleaner.run_batch()
    assert keys(store) == []


def test_objects_of_a_running_attempt_stay(database, store, put, cleaner):
    new_job(database, "render")
    job = claim(database)
    folder = f"subjects/{job.subject_id}/videos/{job.video_id}"
    mine, earlier = f"{folder}/{job.id}-{job.attempt}.mp4", f"{folder}/{job.id}-0-3.mp4"
    put(mine, earlier)
    assert cleaner.run_batch() == [earlier]
    with database.session() as session:
        jobs.release(session, job.id, job.attempt)
    assert cleaner.run_batch() == [mine]


def test_new_objects_stay(database, store, put):
    put("subjects/sub_coming/source")
    assert ObjectCleaner(database, store).run_batch() == []
    assert keys(store) == ["subjects/sub_coming/source"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_batches_are_bounded_and_cover_the_whole_store(database, store, put, cleaner, monkeypatch):
    monkeypatch.setattr(cleanup, "LISTED_PER_BATCH", 3)
    monkeypatch.setattr(cleanup, "KEYS_PER_QUERY", 2)
    job = new_job(database, "render")
    named = name_all(database, job)
    put(*named, *(f"subjects/sub_gone/{number}" for number in range(4)))
    removed = [len(cleaner.run_batch()) for _ in range((len(named) + 4) // 3 + 1)]
    assert sum(removed) == 4
    assert max(removed) <= 3
    assert keys(store) == sorted(named)
    put("subjects/sub_a/1")
    assert "subjects/sub_a/1" in {key for _ in range(5) for key in cleaner.run_batch()}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_unfinished_uploads_go(database, store, s3_server, cleaner):
    s3_server.client().create_multipart_upload(Bucket=store.bucket, Key=f"{store.folder}subjects/sub_1/source")
    cleaner.run_batch()
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 0
