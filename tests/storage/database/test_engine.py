"""Transactions, times and pages."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import delete, event, select, text
from sqlalchemy.exc import IntegrityError, InternalError, OperationalError

from storage.database import engine, migrations, queries
from storage.database.engine import Database, after_commit, after_rollback
from storage.database.models import LOCAL, Certificate, Job, Subject, Video, new_id
from storage.errors import NotFound, StoreFull
from tests.servers import PostgreSQL, running


def subject(**values):
    values = {"id": new_id("sub"), "owner": LOCAL, "name": "Ada", "state": "pending", "preset": "draft"} | values
    return Subject(consent="Ada", source_key="k", **values)


def names(database):
    with database.session(write=False) as session:
        return list(session.scalars(select(Subject.name)))


def test_an_id_that_no_database_can_store_is_not_found(database):
    with database.session() as session:
        session.add(subject())
    with database.session(write=False) as session:
        with pytest.raises(NotFound):
            queries.get(session, Subject, "sub_\0", owner=LOCAL)
        assert queries.page(session, Subject, limit=9, owner=LOCAL, id="sub_\0") == queries.Page([], None)


def test_a_block_that_raises_is_rolled_back(database):
    seen = []
    with pytest.raises(RuntimeError), database.session() as session:
        after_commit(session, lambda: seen.append("commit"))
        after_rollback(session, lambda: seen.append("rollback"))
        session.add(subject())
        session.flush()
        raise RuntimeError
    assert (names(database), seen) == ([], ["rollback"])


def test_actions_after_the_commit_see_the_rows(database):
    seen = []
    with database.session() as session:
        after_commit(session, lambda: seen.append(names(database)))
        after_rollback(session, lambda: seen.append("rollback"))
        session.add(subject())
    assert seen == [["Ada"]]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_readers_do_not_wait_for_writers_and_writers_wait_for_each_other(database):
    order = []

    def write_later():
        with database.session() as session:
            session.add(subject(name="second"))
            session.flush()
            order.append("second")

    with database.session() as session:
        session.add(subject(name="first"))
        session.flush()
        other = threading.Thread(target=write_later)
        other.start()
        time.sleep(0.2)
        assert names(database) == []
        order.append("first")
    other.join()
    assert order == names(database) == ["first", "second"]


def test_a_reading_session_does_not_lock_and_keeps_its_snapshot(database):
    with database.session(write=False) as reading:
        assert reading.scalars(select(Subject)).all() == []
        with database.session() as writing:
            writing.add(subject())
        assert reading.scalars(select(Subject)).all() == []


def test_foreign_keys_are_enforced(database):
    with pytest.raises(IntegrityError), database.session() as session:
        session.add(Video(id="vid_1", owner=LOCAL, subject_id="sub_none", state="pending", options={}, audio_key="k"))


def test_times_come_back_in_utc(database):
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone(timedelta(hours=2)))
    with database.session() as session:
        session.add(subject(id="sub_1", created_at=moment))
    with database.session(write=False) as session:
        found = queries.get(session, Subject, "sub_1").created_at
    assert found == moment
    assert found.utcoffset() == timedelta(0)


def test_the_zone_of_a_machine_or_server_and_a_change_of_its_clocks_move_no_time(database, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        before = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # an hour later the clocks of Berlin say the same again
        with database.session() as session:
            if not database.sqlite:
                session.execute(text("SET LOCAL timezone TO 'America/St_Johns'"))
            rows = [subject(created_at=before + timedelta(hours=hours)) for hours in range(2)]
            session.add_all(rows)
            session.flush()
            session.expire_all()
            assert [row.created_at.isoformat() for row in rows] == [
                "2026-10-25T00:30:00+00:00",
                "2026-10-25T01:30:00+00:00",
            ]
            assert session.scalars(select(Subject.id).where(Subject.created_at > before)).all() == [rows[1].id]
            assert abs(queries.server_now(session) - datetime.now(UTC)) < timedelta(minutes=1)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_pages_cover_all_rows_once_newest_first(database):
    with database.session() as session:
        for number in range(7):
            session.add(subject(name=str(number), state="ready" if number % 2 else "failed"))
            time.sleep(0.002)  # ids sort by the millisecond
    with database.session(write=False) as session:
        found, cursor = [], None
        while True:
            page = queries.page(session, Subject, limit=3, cursor=cursor)
            found.append([row.name for row in page.items])
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == [["6", "5", "4"], ["3", "2", "1"], ["0"]]
        ready = queries.page(session, Subject, limit=3, state="ready")
        assert ([row.name for row in ready.items], ready.next_cursor) == (["5", "3", "1"], None)


def test_a_page_of_long_texts_has_fewer_rows(database, monkeypatch):
    monkeypatch.setattr(queries, "PAGE_BYTES", 5000)
    with database.session() as session:
        for size in (10, 2000, 2000, 2000, 9000):
            session.add(subject(name="n" * size))
            time.sleep(0.002)
    with database.session(write=False) as session:
        sizes, cursor = [], ""
        while cursor is not None:
            page = queries.page(session, Subject, limit=4, cursor=cursor or None)
            sizes.append([len(row.name) for row in page.items])
            cursor = page.next_cursor
    assert sizes == [[9000], [2000, 2000], [2000, 10]]


def test_a_missing_row_is_named_in_the_error(database):
    with database.session(write=False) as session, pytest.raises(NotFound, match="no job job_1"):
        queries.get(session, Job, "job_1")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_full_disk_raises_store_full(database):
    with database.engine.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()

    def limit(connection, _record, _proxy):  # SQLite says the same as on a full disk
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(database.engine, "checkout", limit)
    with pytest.raises(StoreFull), database.session() as session:
        session.add(subject(name="x" * 1_000_000))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_log_that_readers_keep_growing_is_emptied_between_them(database, monkeypatch):
    monkeypatch.setattr(engine, "MAX_LOG_BYTES", 2 << 20)
    log, reader = Path(f"{database.url.database}-wal"), ExitStack()
    reader.enter_context(database.session(write=False)).execute(text("SELECT count(*) FROM subjects")).all()
    for _ in range(3):
        with database.session() as session:
            session.add(subject(name="x" * 1_000_000))
    assert log.stat().st_size > engine.MAX_LOG_BYTES
    threading.Timer(0.2, reader.close).start()
    database.bound_log()
    assert log.stat().st_size == 0 and len(names(database)) == 3


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_full_disk_of_the_server_raises_store_full(database):
    block = "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'"
    with pytest.raises(StoreFull), database.session() as session:
        session.execute(text(f"DO $$ BEGIN {block}; END $$"))


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("end", ["SET idle_in_transaction_session_timeout = 50", "SET TRANSACTION READ ONLY"])
def test_a_server_that_ends_a_session_or_takes_no_writes_counts_as_away(database, end):
    """After a pause of this process, and after a failover: psycopg has other classes for these than for a lost connection."""
    with pytest.raises(OperationalError), database.session() as session:
        session.execute(text(end))
        time.sleep(0.3)
        session.add(Certificate(serial="1", chain=""))
    with database.session(write=False) as session:
        assert session.get(Certificate, "1") is None


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_reading_session_cannot_write(database):
    with pytest.raises(InternalError, match="read-only"), database.session(write=False) as session:
        session.add(subject())


@pytest.fixture
def own_postgresql():
    """A server that a test may kill."""
    with running(PostgreSQL) as (server,):
        yield server


def test_after_a_crash_of_the_server_committed_rows_are_there(own_postgresql):
    database = Database(own_postgresql.url)
    migrations.upgrade(database)
    with database.session() as session:
        session.add(subject(name="kept"))
    with pytest.raises(OperationalError), database.session() as session:
        session.add(subject(name="lost"))
        session.flush()
        own_postgresql.kill()
    with pytest.raises(OperationalError):
        database.ping()
    own_postgresql.start()
    assert names(database) == ["kept"]
    database.close()


def test_a_connection_in_use_is_closed_when_it_returns_to_the_pool(database):
    closed = []
    event.listen(database.engine, "close", lambda connection, _: closed.append(connection))
    with database.session(write=False) as session:
        mine = session.connection().connection.dbapi_connection
        database.close()
        assert mine not in closed
        assert session.execute(text("SELECT 2")).scalar_one() == 2
    assert mine in closed


def test_ping_fails_if_the_database_does_not_answer(database, tmp_path):
    database.ping()
    lost = Database(f"sqlite:///{tmp_path / 'folder' / 'x.db'}")
    lost.close()
    (tmp_path / "folder").rmdir()
    with pytest.raises(OperationalError):
        lost.ping()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_locked_row_is_removed_only_after_the_transaction(database):
    """So a row that refers to it can be committed."""
    with database.session() as session:
        session.add(subject(id="sub_1"))
    order = []

    def remove():
        with database.session() as session:
            session.execute(delete(Subject).where(Subject.id == "sub_1"))
            order.append("removed")

    with database.session() as session:
        queries.get(session, Subject, "sub_1", lock=True)
        other = threading.Thread(target=remove)
        other.start()
        other.join(0.5)
        session.add(Video(id="vid_1", owner=LOCAL, subject_id="sub_1", state="pending", options={}, audio_key="k"))
        session.flush()
        order.append("added")
    other.join()
    assert order == ["added", "removed"]
    with database.session(write=False) as session:
        assert session.scalars(select(Video)).all() == []


def test_a_file_that_is_moved_away_gets_no_further_rows_and_a_restored_one_is_used(tmp_path):
    database, backup = (Database(f"sqlite:///{tmp_path / name / 'adnerf.db'}") for name in ("live", "backup"))
    for each, name in ((database, "Ada"), (backup, "Bob")):
        migrations.upgrade(each)
        with each.session() as session:
            session.add(subject(name=name))
    backup.close()
    (tmp_path / "live").rename(tmp_path / "old")
    for write in (True, False):
        with pytest.raises(OperationalError, match=r"adnerf\.db is gone"), database.session(write=write) as session:
            session.add(subject())
            session.flush()
    assert not (tmp_path / "live").exists(), "a new database would be in the way of the backup"
    (tmp_path / "backup").rename(tmp_path / "live")
    assert names(database) == ["Bob"]
    database.close()
