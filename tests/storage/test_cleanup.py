"""The janitor removes what no row names, and nothing else, on each kind of database and store."""

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
def impatient(database, store):
    """A janitor without grace."""
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


def test_what_is_named_stays_and_what_is_not_goes(database, store, put, impatient):
    job = new_job(database, "render")
    named = name_all(database, job)
    assert len(named) >= 8
    folder = f"subjects/{job.subject_id}"
    lost = [f"{folder}/source", f"{folder}/videos/{job.video_id}/late.mp4", f"{folder}/videos/vid_gone/audio"]
    put(*named, *lost, "subjects/sub_gone/source", "somebody/else's")
    assert impatient.round() == sorted([*lost, "subjects/sub_gone/source"])
    assert keys(store) == sorted([*named, "somebody/else's"])
    assert impatient.round() == []


def test_a_deleted_subject_leaves_nothing(database, store, put, impatient):
    """Also where the process was killed between the commit and the removal of the files."""
    job = new_job(database, "render")
    put(*name_all(database, job))
    with database.session() as session:
        jobs.delete_job(session, Job.subject_id == job.subject_id)
        session.delete(queries.get(session, Subject, job.subject_id))
    impatient.round()
    assert keys(store) == []


def test_what_a_running_attempt_has_written_is_left_alone(database, store, put, impatient):
    new_job(database, "render")
    job = claim(database)
    folder = f"subjects/{job.subject_id}/videos/{job.video_id}"
    mine, earlier = f"{folder}/{job.id}-{job.attempt}.mp4", f"{folder}/{job.id}-0-3.mp4"
    put(mine, earlier)
    assert impatient.round() == [earlier]
    with database.session() as session:
        jobs.release(session, job.id, job.attempt)
    assert impatient.round() == [mine]


def test_what_is_new_is_left_alone(database, store, put):
    put("subjects/sub_coming/source")
    assert ObjectCleaner(database, store).round() == []
    assert keys(store) == ["subjects/sub_coming/source"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_rounds_are_bounded_and_go_all_the_way_round(database, store, put, impatient, monkeypatch):
    monkeypatch.setattr(cleanup, "LOOK", 3)
    monkeypatch.setattr(cleanup, "BATCH", 2)
    job = new_job(database, "render")
    named = name_all(database, job)
    put(*named, *(f"subjects/sub_gone/{number}" for number in range(4)))
    removed = [len(impatient.round()) for _ in range((len(named) + 4) // 3 + 1)]
    assert sum(removed) == 4
    assert max(removed) <= 3
    assert keys(store) == sorted(named)
    put("subjects/sub_a/1")
    assert "subjects/sub_a/1" in {key for _ in range(5) for key in impatient.round()}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_unfinished_uploads_go(database, store, s3_server, impatient):
    s3_server.client().create_multipart_upload(Bucket=store.bucket, Key=f"{store.folder}subjects/sub_1/source")
    impatient.round()
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 0
