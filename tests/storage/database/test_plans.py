"""Query plans with many rows: no query of clients or workers reads a whole table, on either database."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, select, text

from api.auth import Caller
from api.routes.jobs import list_jobs
from api.services import videos
from benchmarks.listing import WRITES, fill, read_queries
from storage.database import migrations, queries
from storage.database.engine import Database
from storage.database.models import LOCAL, ResponseResource, StoredResponse, Video, now
from storage.settings import Settings
from storage.tables import idempotency, quotas, removals, workers
from storage.tables.estimates import Estimates
from storage.tables.idempotency import IdempotencyKey

JOBS = 4000
FEW = 250
"""Most rows that a query may read: more than a page (50), far fewer than the 400 of the queue."""
LONG = {"place of the last in the queue", "places of the 50 newest"}
"""Queries that count the queue of 400 jobs."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def crowded(request, tmp_path_factory):
    """A database with many jobs."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path_factory.mktemp('crowd') / 'crowd.db'}")
    else:
        server = request.getfixturevalue("postgresql")
        database = Database(server.create("crowd"))
    migrations.upgrade(database)
    fill(database, JOBS)
    yield database
    database.close()
    if not database.sqlite:
        server.drop("crowd")


def statements(session, ask):
    """The statements that `ask` sends to the database, with their parameters."""
    sent = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        sent.append((statement, parameters))

    engine = session.get_bind().engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        ask()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return [(sql, values) for sql, values in sent if sql.startswith(("SELECT", "UPDATE", "WITH"))]


def unindexed(session, statement, parameters):
    """The steps of SQLite's plan that read a table without an index."""
    plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    steps = [row[-1] for row in plan]
    if any("answer_resources" in step and "resource_id=?" not in step for step in steps):
        return steps
    return [step for step in steps if step in {f"SCAN {table}" for table in ("subjects", "videos", "jobs", "answers")}]


def most_rows(session, statement, parameters):
    """The largest number of rows that a step of PostgreSQL's plan has read.

    The 40 subjects lie in one page, which PostgreSQL reads whole for each row, rather than their index: they are counted once.
    """
    plan = session.connection().exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
    nodes, most = [plan.scalar_one()[0]["Plan"]], 0
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        few = node.get("Relation Name") == "subjects" and read <= JOBS // 100
        most = max(most, read if few else read * node["Actual Loops"])
    return most


def check(database, session, name, ask):
    asked = statements(session, ask)
    assert asked
    for statement, parameters in asked:
        if database.sqlite:
            assert unindexed(session, statement, parameters) == [], f"{name}: {statement}"
        else:
            limit = FEW if name not in LONG else JOBS // 5
            assert most_rows(session, statement, parameters) <= limit, f"{name}: {statement}"


def test_no_query_reads_a_whole_table(crowded):
    with crowded.session(write=False) as session:
        asked = read_queries(session)
        for name, ask in asked.items():
            check(crowded, session, name, ask)
    assert set(asked) > LONG


def test_positions_in_separate_queues_read_no_whole_table(crowded):
    with crowded.session() as session:
        for name, queues in (("cpu", ["cpu"]), ("gpu", ["gpu_train", "gpu_render"])):
            workers.register(session, name, host="a", queues=queues, device={"name": "cpu"})
        session.flush()
        for name, ask in read_queries(session).items():
            if name.startswith("place"):
                check(crowded, session, name, ask)
        session.rollback()


def test_durations_are_estimated_from_the_latest_jobs_alone(crowded):
    with crowded.session(write=False) as session:
        (asked,) = statements(session, lambda: Estimates(session)._of("render", None))
        if not crowded.sqlite:
            pytest.skip("PostgreSQL chooses by its statistics, and sorts in milliseconds")
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0]}", asked[1]).all()
        assert len(plan) == 1 and "ix_jobs_kind_state_id" in plan[0][-1]  # no step sorts


@pytest.mark.parametrize("name", WRITES)
def test_no_move_reads_a_whole_table(crowded, name):
    with crowded.session() as session:
        check(crowded, session, name, lambda: WRITES[name](session))
        session.rollback()


def test_a_deletion_reads_only_the_responses_that_name_it(crowded, monkeypatch):
    keys = [IdempotencyKey("ann", "POST /v1/uploads", str(number)) for number in range(JOBS)]
    response = {"fingerprint": "f", "status": 201, "headers": {}, "body": "{}"}
    with crowded.session() as session:
        session.execute(insert(StoredResponse), [key.columns | response for key in keys])
        named = [key.columns | {"resource_id": f"upl_{number}"} for number, key in enumerate(keys)]
        session.execute(insert(ResponseResource), named)
        if not crowded.sqlite:
            session.execute(text("ANALYZE answers, answer_resources"))
        check(crowded, session, "erase", lambda: idempotency.erase_naming(session, "upl_7", owner="ann"))
        assert idempotency.find(session, keys[7]).body is None
        monkeypatch.setattr(idempotency, "MAX_STORED", 3)
        monkeypatch.setattr(queries, "AT_ONCE", 3)
        check(crowded, session, "excess", lambda: idempotency._delete_excess(session, "ann"))
        session.rollback()


def test_filtered_lists_read_few_rows(crowded):
    with crowded.session() as session:
        video = session.scalars(select(Video).limit(1)).one()
        owner, subject = video.owner, video.subject_id
        late = videos.conditions(ids=None, title=None, after=now() + timedelta(days=1), before=None)
        trash = removals.in_trash(Video, True, owner=owner)
        lists = {
            "videos of a time": lambda: queries.page(session, Video, *late, owner=owner),
            "the trash": lambda: queries.page(session, Video, trash, owner=owner),
            "a subject's trash": lambda: queries.page(session, Video, trash, owner=owner, subject_id=subject),
            "the jobs of a video": lambda: list_jobs(Caller(owner, frozenset()), None, session, video_id=video.id),
        }
        if not crowded.sqlite:
            session.execute(text("ANALYZE videos, jobs"))
        for name, ask in lists.items():
            check(crowded, session, name, ask)
            if crowded.sqlite:
                statement, values = statements(session, ask)[0]
                plan = str(session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all())
                assert re.search(r"id>\?|ix_videos_trash|video_id=\?", plan), f"{name}: {plan}"


def test_a_query_without_an_index_is_noticed(crowded):
    with crowded.session(write=False) as session:
        whole = "SELECT * FROM jobs WHERE worker = 'nobody'"
        result = unindexed(session, whole, ()) if crowded.sqlite else most_rows(session, whole, ())
    assert result == ["SCAN jobs"] or result == JOBS


def test_the_bytes_of_an_owner_are_summed_from_indexes(crowded):
    with crowded.session(write=False) as session:
        asked = statements(session, lambda: quotas.usage(session, Settings(), LOCAL, ["stored_bytes"]))
        sums = [(sql, values) for sql, values in asked if "sum(" in sql]
        if not crowded.sqlite:  # which reads small tables whole, because that is quicker
            session.execute(text("SET LOCAL enable_seqscan = off"))
            session.execute(text("SET LOCAL enable_bitmapscan = off"))
        explain = "EXPLAIN QUERY PLAN" if crowded.sqlite else "EXPLAIN"
        plans = [str(session.connection().exec_driver_sql(f"{explain} {sql}", values).all()) for sql, values in sums]
    assert len(plans) == 3
    # PostgreSQL takes the narrower index where the table is nearly empty, as that of uploads is here.
    read = "COVERING INDEX" if crowded.sqlite else r"Index Cond: \(+owner\b"
    assert [plan for plan in plans if not re.search(read, plan)] == []
