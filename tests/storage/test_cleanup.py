"""The cleanup moves objects that no row needs to the trash, and nothing else, on each kind of database and store."""

from __future__ import annotations

import errno
import io
import logging
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from adnerf_core.files.video_formats import FORMATS
from storage import cleanup, object_places, store_identity, trash
from storage.cleanup import ObjectCleaner
from storage.database import queries, revisions
from storage.database.engine import Database
from storage.database.models import Identity, Job, Subject, Video, now
from storage.errors import StoreMismatch
from storage.settings import Settings
from storage.tables import deletions, jobs, streams
from tests.storage.objects.test_objects import FUTURE_S
from tests.storage.tables.test_jobs import claim, new_job
from tests.tables import create_tables

one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
one_store = pytest.mark.parametrize("store", ["folder"], indirect=True)


@pytest.fixture
def put(store):
    def put(*names):
        for name in names:
            store.put(name, io.BytesIO(name.encode()))

    return put


@pytest.fixture
def cleaner(database, store):
    """An ObjectCleaner without a grace period."""
    return ObjectCleaner(database, store, grace_s=FUTURE_S)


@pytest.fixture
def other_database(tmp_path):
    """Another database with empty tables."""
    database = Database(Settings(data_dir=tmp_path / "other").database)
    create_tables(database)
    yield database
    database.close()


def keys(store):
    """The keys of all objects that are not the store's own."""
    return [key for key in store.keys(older_than_s=FUTURE_S) if not key.startswith(("trash/", "service/"))]


def trashed(store):
    return sorted(entry.key for entry in trash.entries(store))


def name_all(database, job):
    """Names an object in every column for keys of the job's subject and video; returns the keys."""
    named = []
    folders = {column: folder for folder, column in object_places.SUBJECT_FOLDERS.items()}
    suffixes = {column: suffix for suffix, column in object_places.VIDEO_SUFFIXES.items()}
    with database.session() as session:
        for model, row_id in ((Subject, job.subject_id), (Video, job.video_id)):
            row = queries.get(session, model, row_id)
            for column in [each.name for each in object_places.key_columns(model)]:
                if model is Subject:
                    key = f"{folders[column]}/{job.id}-0.x" if column in folders else column
                else:
                    name = f"{job.id}-0{suffixes[column]}" if column in suffixes else column
                    key = f"videos/{job.video_id}/{name}"
                named.append(f"subjects/{job.subject_id}/{key}")
                setattr(row, column, named[-1])
    return named


def delete_rows(database, job):
    """Deletes a subject's rows without deleting its objects."""
    with database.session() as session:
        jobs.delete_where(session, Job.subject_id == job.subject_id)
        session.delete(queries.get(session, Subject, job.subject_id))


def test_every_column_for_a_key_has_a_place():
    for model, places, others in (
        (Subject, object_places.SUBJECT_FOLDERS, {"source_key", "consent_clip_key"}),
        (Video, object_places.VIDEO_SUFFIXES, {"audio_key", "background_key"}),
    ):
        assert {column.name for column in object_places.key_columns(model)} == {*places.values()} | others
    beside = {".c2pa", ".wav", ".srt", ".vtt", ".jpg", ".clip"}
    assert {*FORMATS} | beside == {*object_places.VIDEO_SUFFIXES}


def test_named_objects_stay_and_unnamed_ones_go_to_the_trash(database, store, put, cleaner):
    job = new_job(database, "render")
    named = name_all(database, job)
    assert len(named) >= 8
    folder = f"subjects/{job.subject_id}"
    unnamed = [
        f"{folder}/previews/{job.id}-0-3.jpg",
        f"{folder}/videos/vid_gone/audio",
        f"{folder}/videos/{job.video_id}/{job.id}-0-9.mp4",
        "subjects/sub_gone/source",
    ]
    unknown = [f"{folder}/gestures/{job.id}-0.zip", f"{folder}/videos/{job.video_id}/{job.id}-0.txt", f"{folder}/notes"]
    put(*named, *unnamed, *unknown, "somebody/else's")
    assert sorted(cleaner.run_batch()) == sorted(unnamed)
    assert keys(store) == sorted([*named, *unknown, "somebody/else's"])
    assert trashed(store) == sorted(unnamed)
    assert cleaner.run_batch() == []


def test_objects_of_a_running_attempt_stay(database, store, put, cleaner):
    new_job(database, "render")
    job = claim(database)
    folder = f"subjects/{job.subject_id}/videos/{job.video_id}"
    # As they are today, and as earlier versions named them.
    names = ([f"{folder}/{job.id}-{job.attempt + n}{end}.mp4" for end in ("", "-0a1b2c3d")] for n in (-1, 0, 1))
    earlier, mine, later = names
    put(*mine, *earlier, *later)
    assert sorted(cleaner.run_batch()) == sorted(earlier)
    with database.session() as session:
        jobs.release(session, job.id, job.attempt)
    assert sorted(cleaner.run_batch()) == sorted(mine)
    assert keys(store) == sorted(later)  # the rows are older than these objects


def test_segments_stay_as_long_as_a_row_names_their_attempt(database, store, put, cleaner):
    new_job(database, "render")
    first = claim(database)
    with database.session() as session:
        video = queries.get(session, Video, first.video_id)
        jobs.release(session, first.id, first.attempt)
    second = claim(database)
    name = streams.new_name(second.attempt)
    # The second is what the same attempt stored before the database was restored from a backup.
    lost, before, shown = (f"{streams.folder(video, each)}0.m4s" for each in ("1", "2-0a1b2c3d", name))
    put(lost, before, shown)
    assert cleaner.run_batch() == [lost]
    with database.session() as session:
        assert streams.publish(session, store, second, name, 5)
        assert jobs.succeed(session, second.id, second.attempt)
    assert cleaner.run_batch() == [before] and keys(store) == [shown]
    with database.session() as session:
        session.execute(update(Job).values(finished_at=now() - timedelta(seconds=2 * streams.KEPT_S)))
    assert cleaner.run_batch() == [] and keys(store) == [] and trashed(store) == [lost, before]
    with database.session() as session:
        assert queries.get(session, Video, first.video_id).stream_attempt is None


def test_what_others_have_put_into_the_store_ends_no_cleanup(database, store, put, cleaner):
    job = new_job(database)
    assert cleaner.run_batch() == []  # which makes this database that of the store
    strange = ["trash/README", "lost+found/x", f"subjects/{job.subject_id}/.snapshot/a", "subjects/sub_1/.hidden"]
    if hasattr(store, "root"):
        for name in strange:
            path = store.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    else:
        for name in (*strange, "trash/", "subjects//a"):
            store._client.put_object(Bucket=store.bucket, Key=f"{store.folder}{name}")
    put("subjects/sub_1/datasets/a")
    assert cleaner.run_batch() == ["subjects/sub_1/datasets/a"]
    assert cleaner.run_batch() == [] and trashed(store) == ["subjects/sub_1/datasets/a"]


def test_new_objects_stay(database, store, put):
    put("subjects/sub_coming/source")
    assert ObjectCleaner(database, store).run_batch() == []
    assert keys(store) == ["subjects/sub_coming/source"]


def test_what_a_user_deletes_is_deleted_at_once_and_from_the_trash_with_the_next_cleanup(database, store, put, cleaner):
    job = new_job(database, "render")
    folder = f"subjects/{job.subject_id}/"
    put(*name_all(database, job), f"{folder}previews/{job.id}-0-1.jpg")
    cleaner.run_batch()
    assert len(trashed(store)) == 1
    with database.session() as session:
        deletions.request(session, store, folder)
    assert keys(store) == []
    cleaner.run_batch()
    assert trashed(store) == []


def test_a_deletion_that_was_interrupted_is_carried_out_by_the_cleaner(database, store, put, cleaner, monkeypatch):
    """Although no subject is left: a deletion is not inferred from missing rows."""
    cleaner.run_batch()
    job = new_job(database, "render")
    put(*name_all(database, job))
    with database.session() as session, monkeypatch.context() as killed:
        killed.setattr(deletions, "after_commit", lambda *_, **__: None)
        deletions.request(session, store, f"subjects/{job.subject_id}/")
    delete_rows(database, job)
    assert len(keys(store)) >= 8
    cleaner.run_batch()
    assert keys(store) == trashed(store) == []
    monkeypatch.setattr(deletions, "REPEAT_S", -1.0)
    for _ in range(2):
        cleaner.run_batch()
        put(f"subjects/{job.subject_id}/previews/late")
    assert keys(store) == [f"subjects/{job.subject_id}/previews/late"]  # the deletion is forgotten


def test_a_deletion_of_objects_that_was_interrupted_is_carried_out_once(database, store, put, cleaner, monkeypatch):
    monkeypatch.setattr(deletions, "KEYS_PER_STATEMENT", 2)
    gone, *more, stays = (f"verifications/ver_{number}" for number in (1, 2, 3, 4, 5, 12))
    put(gone, *more, stays)
    with database.session() as session, monkeypatch.context() as killed:
        killed.setattr(deletions, "after_commit", lambda *_, **__: None)
        deletions.request_objects(session, store, [gone, *more])
    deletions.carry_out(database, store)
    assert keys(store) == [stays] and trashed(store) == []
    put(gone)
    deletions.carry_out(database, store)
    assert keys(store) == [gone, stays]  # the deletion is forgotten


@pytest.mark.parametrize("ahead_s", [-3600.0, 3600.0])
def test_a_machine_whose_clock_is_wrong_removes_nothing(database, store, put, cleaner, monkeypatch, caplog, ahead_s):
    put("subjects/sub_1/source")
    with monkeypatch.context() as wrong:
        wrong.setattr(cleanup, "now", lambda: now() + timedelta(seconds=ahead_s))
        assert cleaner.run_batch() == [] and cleaner.paused
    assert keys(store) == ["subjects/sub_1/source"] and "clock is 3600 s" in caplog.text
    put(*[f"subjects/{new_job(database).subject_id}/source"])
    assert cleaner.run_batch() == ["subjects/sub_1/source"] and not cleaner.paused


@one_database
@one_store
def test_what_cannot_be_deleted_stays_requested_and_the_rest_goes(database, store, put, monkeypatch, caplog):
    put("subjects/sub_1/source", "subjects/sub_1/runs/1", "subjects/sub_2/source", "lip_priors/1", "lip_priors/2")
    unlink = Path.unlink

    def refuse(path, missing_ok=False):
        if path.parts[-2:] in (("sub_1", "source"), ("lip_priors", "1")):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        unlink(path, missing_ok)

    with monkeypatch.context() as denied:
        denied.setattr(Path, "unlink", refuse)
        denied.setattr(deletions, "REPEAT_S", -1.0)
        with database.session() as session:
            for folder in ("subjects/sub_1/", "subjects/sub_2/"):
                deletions.request(session, store, folder)
            deletions.request_objects(session, store, ["lip_priors/1", "lip_priors/2"])
        deletions.carry_out(database, store)
        assert keys(store) == ["lip_priors/1", "subjects/sub_1/source"] and "Permission denied" in caplog.text
    deletions.carry_out(database, store)
    assert keys(store) == []


def test_an_empty_database_removes_nothing(database, other_database, store, put, cleaner, caplog):
    """A lost database file, a forgotten ADNERF_DATABASE_URL: with and without a marker in the store."""
    job = new_job(database, "render")
    named = name_all(database, job)
    put(*named)
    empty = ObjectCleaner(other_database, store, grace_s=FUTURE_S)
    assert empty.run_batch() == [] and empty.paused
    assert "knows 0 of the 1 subjects" in caplog.text and "adnerf store adopt" in caplog.text
    cleaner.run_batch()
    caplog.clear()
    assert ObjectCleaner(other_database, store, grace_s=FUTURE_S).run_batch() == []
    assert "belongs to another database" in caplog.text
    assert keys(store) == sorted(named) and trashed(store) == []


def test_a_database_whose_rows_are_gone_removes_nothing(database, store, put, cleaner, caplog):
    job = new_job(database, "render")
    named = name_all(database, job)
    put(*named)
    cleaner.run_batch()
    delete_rows(database, job)
    assert cleaner.run_batch() == []
    assert "The database has no subjects" in caplog.text and "adnerf store clean" in caplog.text
    assert keys(store) == sorted(named)
    assert sorted(cleaner.run_all()) == sorted(named)
    assert trash.restore(store) == sorted(named) == keys(store)


def test_an_older_copy_of_the_database_removes_nothing_until_it_is_adopted(database, store, put, cleaner, caplog):
    job = new_job(database, "render")
    put(*name_all(database, job))
    cleaner.run_batch()
    with database.session(write=False) as session:
        backup = session.query(Identity).one().generation
    cleaner.run_batch()
    with database.session() as session:
        session.query(Identity).one().generation = backup
    put("subjects/sub_later/source")
    assert cleaner.run_batch() == []
    assert "older than the object store" in caplog.text
    with pytest.raises(StoreMismatch):
        cleaner.run_all()
    store_identity.adopt(database, store)
    assert cleaner.run_batch() == ["subjects/sub_later/source"] and not cleaner.paused


def test_another_database_takes_a_store_over_only_by_adopting_it(database, other_database, store, put, cleaner):
    cleaner.run_batch()
    put("subjects/sub_gone/source")
    store_identity.adopt(other_database, store)
    assert cleaner.run_batch() == []
    new_job(other_database)
    assert ObjectCleaner(other_database, store, grace_s=FUTURE_S).run_batch() == ["subjects/sub_gone/source"]


@one_store
def test_a_damaged_marker_stops_the_cleaner_until_it_is_replaced(database, store, put, cleaner, caplog):
    new_job(database)
    store.put(store_identity.KEY, io.BytesIO(b"[]"))
    put("subjects/sub_gone/source")
    assert cleaner.run_batch() == []
    assert "cannot be understood" in caplog.text
    store_identity.adopt(database, store)
    assert cleaner.run_batch() == ["subjects/sub_gone/source"]


@one_store
def test_a_database_of_a_later_version_stops_the_cleaner(database, store, put, cleaner, monkeypatch, caplog):
    new_job(database)
    cleaner.run_batch()
    put("subjects/sub_gone/source")
    with monkeypatch.context() as earlier_version:
        earlier_version.setattr(revisions, "known", lambda: ["0014"])
        assert cleaner.run_batch() == []
    assert "another version" in caplog.text
    assert cleaner.run_batch() == ["subjects/sub_gone/source"]


@pytest.mark.parametrize("missing", ["views_key", "credentials_key"])
def test_an_earlier_version_leaves_objects_that_only_later_columns_name(
    database, store, put, cleaner, monkeypatch, missing
):
    job = new_job(database, "render")
    named = name_all(database, job)
    key_columns = object_places.key_columns

    def earlier_columns(model):
        return [column for column in key_columns(model) if column.name != missing]

    put(*named)
    monkeypatch.setattr(object_places, "key_columns", earlier_columns)
    assert cleaner.run_batch() == []
    assert keys(store) == sorted(named)


@one_database
@one_store
def test_more_than_a_share_is_left_to_the_operator(database, store, put, cleaner, monkeypatch, caplog):
    monkeypatch.setattr(cleanup, "MAX_FREE", 2)
    job = new_job(database, "render")
    named = name_all(database, job)
    gone = [f"subjects/sub_gone/{number}" for number in range(6)]
    put(*named, *gone)
    assert cleaner.run_batch() == []
    assert "No row needs 6 of" in caplog.text and "adnerf store clean" in caplog.text
    store.delete(gone.pop())
    monkeypatch.setattr(cleanup, "MAX_SHARE", 0.5)
    assert cleaner.run_batch() == gone
    assert keys(store) == sorted(named)


@one_database
@one_store
def test_the_reason_for_a_pause_is_logged_once_an_hour(
    database, other_database, store, put, cleaner, caplog, monkeypatch
):
    caplog.set_level(logging.ERROR)
    store_identity.adopt(other_database, store)
    for _ in range(3):
        cleaner.run_batch()
    assert len(caplog.records) == 1
    monkeypatch.setattr(cleanup, "LOG_AGAIN_S", 0.0)
    cleaner.run_batch()
    assert len(caplog.records) == 2


def test_the_trash_is_emptied_after_some_time_and_can_be_restored_before(database, store, put, cleaner):
    new_job(database)
    cleaner.run_batch()
    gone = ["subjects/sub_a/source", "subjects/sub_b/source", "uploads/upl_1-000000000000000-00000000"]
    put(*gone)
    assert sorted(cleaner.run_batch()) == gone
    (entry,) = [entry for entry in trash.entries(store) if entry.key == gone[0]]
    assert entry.trash_key == f"trash/{entry.date}/{gone[0]}"
    assert trash.restore(store, "subjects/sub_a/") == [gone[0]]
    with store.open(gone[0]) as file:
        assert file.read() == gone[0].encode()
    put(gone[1])  # the key is in use again
    assert trash.restore(store, "subjects/") == []
    assert trashed(store) == gone[1:]
    ObjectCleaner(database, store, trash_s=FUTURE_S).run_batch()
    assert trashed(store) == []
    assert keys(store) == gone[:2]


@one_database
def test_batches_are_bounded_and_cover_the_whole_store(database, store, put, cleaner, monkeypatch):
    monkeypatch.setattr(cleanup, "LISTED_PER_BATCH", 3)
    monkeypatch.setattr(cleanup, "KEYS_PER_QUERY", 2)
    job = new_job(database, "render")
    named = name_all(database, job)
    put(*named, *(f"subjects/sub_gone/{number}" for number in range(4)))
    removed = [len(cleaner.run_batch()) for _ in range((len(named) + 4) // 3 + 2)]
    assert sum(removed) == 4
    assert max(removed) <= 3
    assert keys(store) == sorted(named)
    put("subjects/sub_a/1")
    assert "subjects/sub_a/1" in {key for _ in range(7) for key in cleaner.run_batch()}


@one_database
@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_unfinished_uploads_go(database, store, s3_server, cleaner):
    s3_server.client().create_multipart_upload(Bucket=store.bucket, Key=f"{store.folder}subjects/sub_1/source")
    cleaner.run_batch()
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 0
