"""`adnerf backup` and `adnerf restore`: a consistent copy of a running service, and the way back."""

from __future__ import annotations

import io
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from api.services import subjects
from storage import backup, object_places
from storage.cleanup import ObjectCleaner
from storage.database import queries
from storage.database.engine import Database
from storage.database.models import LOCAL, Subject
from storage.errors import BackupRefused
from storage.objects.open_store import open_store
from storage.settings import environment_of
from storage.tables import removals, verifications
from worker.__main__ import main


@pytest.fixture
def adnerf(house, monkeypatch, capsys):
    """Runs a command on the service's data; returns what it printed."""
    for name, value in environment_of(house.settings).items():
        monkeypatch.setenv(name, value)

    def adnerf(*words, status=0):
        assert main([str(word) for word in words]) == status
        printed = capsys.readouterr()
        return printed.err if status else printed.out

    return adnerf


@pytest.fixture
def restored(house, tmp_path):
    """The settings of a service whose data folder does not exist yet."""
    return house.settings.replace(data_dir=tmp_path / "restored")


def read(store, key):
    with store.open(key) as file:
        return file.read()


def check(settings):
    """Checks that the data are whole and fit together; returns the keys that the rows name."""
    with closing(sqlite3.connect(settings.data_dir / "adnerf.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    store = open_store(settings)
    with closing(Database(settings.database)) as database:
        with database.session(write=False) as session:
            named = object_places.named_keys(session)
        cleaner = ObjectCleaner(database, store, grace_s=-60.0)
        assert cleaner.run_batch() == [] and not cleaner.paused
    assert {key for key in store.keys(older_than_s=-60.0) if not key.startswith("service/")} == named
    return named


def test_a_restored_service_has_everything(adnerf, house, tmp_path, restored):
    subject = house.ready_subject()
    house.submit_video(subject.id, background=b"a wall")
    house.work()
    house.settings.signing.mkdir(mode=0o700)
    for path in (house.settings.data_dir / "webhook.key", house.settings.signing / "mark.key"):
        path.write_text("k" * 48)
        path.chmod(0o600)
    with house.database.session() as session:  # its time in the trash is over when the backup is restored
        removals.trash(session, queries.get(session, Subject, subject.id), keep_s=-1.0)
        verifications.create(
            session, "ver_1", owner=LOCAL, file=house.store.put("verifications/ver_1", io.BytesIO(b"film"))
        )
        verifications.claim(session)
    folder = tmp_path / "backups" / "monday"
    assert "secret keys" in adnerf("backup", folder) and folder.stat().st_mode & 0o777 == 0o700
    contents = {key: read(house.store, key) for key in house.objects()}
    os.utime(folder / "objects" / subject.run_key, (2**32, 2**32))  # it was stored while the clock was ahead
    house.write(subjects.delete_subject, house.store, subject.id)
    assert "is restored" in adnerf("restore", folder, "--data-dir", restored.data_dir)
    named = check(restored)
    store = open_store(restored)
    with closing(Database(restored.database)) as database, database.session() as session:
        assert removals.delete_due(session, store) == []
        removals.restore(session, queries.get(session, Subject, subject.id))
        again = verifications.claim(session)  # its worker does not know this database: it waits no lease
        assert (again.id, again.max_attempts - again.attempt) == ("ver_1", 2)
    assert {key: read(store, key) for key in named} == {key: contents[key] for key in named}
    assert restored.signing.stat().st_mode & 0o777 == 0o700
    assert {
        path.stat().st_mode & 0o077 for path in (restored.data_dir / "webhook.key", *restored.signing.iterdir())
    } == {0}


def test_a_backup_is_durable_before_it_has_its_name(house, tmp_path, synced):
    house.submit_subject()
    folder = tmp_path / "backups" / "monday"
    backup.back_up(house.settings, folder)
    end = synced.index((folder / ".adnerf.db", folder / "adnerf.db"))
    everything = {folder, *folder.rglob("*")} - {folder / "adnerf.db"} | {folder / ".adnerf.db"}
    assert everything <= set(synced[:end]) and {folder.parent, tmp_path} <= set(synced[:end])
    assert synced[end + 1 :] == [folder]


def test_the_database_of_a_backup_removes_nothing_from_the_live_store(house, tmp_path):
    house.submit_subject()
    cleaner = ObjectCleaner(house.database, house.store, grace_s=-60.0)
    cleaner.run_batch()
    backup.back_up(house.settings, tmp_path / "backup")
    house.submit_subject()
    cleaner.run_batch()
    objects = house.objects()
    with closing(Database(f"sqlite:///{tmp_path / 'backup' / 'adnerf.db'}")) as copy:
        wrong = ObjectCleaner(copy, house.store, grace_s=-60.0)
        assert wrong.run_batch() == [] and wrong.paused
    assert house.objects() == objects
    assert cleaner.run_batch() == [] and not cleaner.paused


def test_a_backup_while_rows_and_objects_come_and_go_is_consistent(house, tmp_path, restored):
    house.ready_subject()
    ended = threading.Event()

    def submit_and_delete():
        while not ended.is_set():
            submitted = [house.submit_subject() for _ in range(3)]
            for subject in submitted[:2]:
                house.write(subjects.delete_subject, house.store, subject.id)

    writer = threading.Thread(target=submit_and_delete)
    writer.start()
    try:
        for number in range(5):
            folder = tmp_path / f"backup{number}"
            assert backup.back_up(house.settings, folder).missing == []
            settings = restored.replace(data_dir=tmp_path / f"restored{number}")
            backup.restore(settings, folder)
            check(settings)
    finally:
        ended.set()
        writer.join()


def test_an_object_that_is_deleted_during_the_backup_is_not_in_it(house, tmp_path, monkeypatch, restored):
    kept, deleted = house.submit_subject(), house.submit_subject()
    copy_database, copies = backup._copy_database, []

    def copy_and_delete(*arguments):
        copies.append(copy_database(*arguments))
        if len(copies) == 1:
            house.write(subjects.delete_subject, house.store, deleted.id)
        return copies[-1]

    monkeypatch.setattr(backup, "_copy_database", copy_and_delete)
    assert backup.back_up(house.settings, tmp_path / "backup") == ([kept.source_key], [])
    assert len(copies) == 2
    backup.restore(restored, tmp_path / "backup")
    assert check(restored) == {kept.source_key}


def test_objects_that_were_lost_before_are_named(adnerf, house, tmp_path, capsys):
    lost, kept = house.submit_subject(), house.submit_subject()
    house.store.delete(lost.source_key)
    assert main(["backup", str(tmp_path / "backup")]) == 0
    assert lost.source_key in capsys.readouterr().err
    assert open_store(house.settings.replace(data_dir=tmp_path / "backup")).exists(kept.source_key)


def test_what_a_backup_has_lost_is_named_when_it_is_restored(adnerf, house, tmp_path, restored, capsys):
    subject = house.submit_subject()
    adnerf("backup", tmp_path / "backup")
    (tmp_path / "backup" / "objects" / subject.source_key).unlink()
    assert main(["restore", str(tmp_path / "backup"), "--data-dir", str(restored.data_dir)]) == 0
    assert f"a row names {subject.source_key}, but the backup lacks it" in capsys.readouterr().err


def test_nothing_is_overwritten(adnerf, house, tmp_path, restored):
    house.submit_subject()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "is not empty" in adnerf("backup", tmp_path / "full", status=1)
    adnerf("backup", tmp_path / "backup")
    assert "already" in adnerf("restore", tmp_path / "backup", status=1)
    restored.data_dir.mkdir()
    (restored.data_dir / "file").touch()
    assert "is not empty" in adnerf("restore", tmp_path / "backup", "--data-dir", restored.data_dir, status=1)
    assert "not a complete backup" in adnerf("restore", tmp_path / "full", "--data-dir", tmp_path / "new", status=1)


def test_a_service_that_is_started_during_the_restoration_keeps_its_database(house, tmp_path, monkeypatch, restored):
    house.submit_subject()
    backup.back_up(house.settings, tmp_path / "backup")
    started = Path(make_url(restored.database).database)
    monkeypatch.setattr(backup, "sync_all", lambda folder: started.write_bytes(b"of the service"))
    with pytest.raises(BackupRefused, match="A service was started meanwhile"):
        backup.restore(restored, tmp_path / "backup")
    assert started.read_bytes() == b"of the service"


def test_what_cannot_be_backed_up_is_refused(house, tmp_path, restored):
    with pytest.raises(BackupRefused, match="no database"):
        backup.back_up(restored, tmp_path / "backup")
    for servers in ({"store_url": "s3://bucket"}, {"database_url": "postgresql+psycopg://h/d"}):
        with pytest.raises(BackupRefused, match=r"docs/operations\.md"):
            backup.back_up(house.settings.replace(**servers), tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_a_full_disk_is_told_in_one_sentence(adnerf, house, small_disk):
    """Wherever the space ends: in the database, in its log, in an object, in a key. The tmpfs has 3 MB."""
    house.submit_subject(words="w" * 600_000)
    with closing(sqlite3.connect(house.settings.data_dir / "adnerf.db")) as database:
        pages, page = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    told = set()
    for free in (50_000, 250_000, pages * page + 16_384, 700_000):
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - free))
        told.add(adnerf("backup", small_disk / "backup", status=1))
        shutil.rmtree(small_disk / "backup")
        ballast.unlink()
    assert all("No space left" in each and "Traceback" not in each and "sqlite" not in each for each in told), told
    adnerf("backup", small_disk / "backup")


@pytest.mark.parametrize(("command", "kib"), [("backup", 1), ("backup", 64), ("restore", 64)])
def test_a_limit_on_the_size_of_files_is_told_alike(house, tmp_path, restored, command, kib):
    """`ulimit -f`, as a real process: EFBIG instead of ENOSPC."""
    house.submit_subject(words="w" * 900_000)
    folder, settings = tmp_path / "backup", house.settings
    if command == "restore":
        backup.back_up(settings, folder)
        settings = restored
    ran = subprocess.run(
        [sys.executable, "-m", "worker", command, str(folder)],
        env=environment_of(settings) | {"PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (kib << 10, kib << 10)),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1 and "No space left for" in ran.stderr and "Traceback" not in ran.stderr, ran.stderr
