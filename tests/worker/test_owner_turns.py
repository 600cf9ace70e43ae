"""Turns between owners: deliveries and verifications of one who floods the service, and the few of another."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from storage.database import queries
from storage.database.engine import Database
from storage.database.models import Delivery, Verification, new_id
from storage.objects.open_store import open_store
from storage.settings import Settings
from storage.tables import webhooks
from tests.receivers import Receiver
from tests.tables import create_tables
from worker.owner_turns import OwnerTurns
from worker.provenance import verifier
from worker.provenance.verifier import Verifier
from worker.webhooks import delivery
from worker.webhooks.delivery import WebhookDeliverer

FLOOD = 200
TEN_RECEIVERS = 10


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request, tmp_path):
    url = request.getfixturevalue("postgresql_url") if request.param == "postgresql" else ""
    return Settings(data_dir=tmp_path, database_url=url, webhook_key="k" * 32, webhook_networks="127.0.0.0/8")


@pytest.fixture
def database(settings):
    with closing(Database(settings.database)) as database:
        create_tables(database)
        yield database


def new_webhook(database, owner, url):
    with database.session() as session:
        return webhooks.create(session, owner=owner, url=url, events=list(webhooks.EVENTS), description="")


def make_due(database, hooks, number):
    """Writes `number` due deliveries, spread over the webhooks of one owner."""
    with database.session() as session:
        for k in range(number):
            hook = hooks[k % len(hooks)]
            session.add(
                Delivery(id=new_id("msg"), owner=hook.owner, webhook_id=hook.id, event=webhooks.TEST, body="{}")
            )


def pending(database, owner):
    with database.session(write=False) as session:
        rows = queries.page(session, Delivery, limit=1000, owner=owner).items
    return sum(row.state == "pending" for row in rows)


def test_a_turn_goes_to_the_owner_whose_last_one_is_longest_ago():
    turns, taken = OwnerTurns(at_once=2), []
    waiting = {"mallory": 1, "ann": 2, "bob": 3}
    for _ in range(6):
        with turns.take(waiting) as owner:
            taken.append(owner)
    assert taken == ["mallory", "ann", "bob"] * 2


def test_one_owner_does_not_occupy_all_threads():
    turns = OwnerTurns(at_once=2)
    with turns.take({"mallory": 1}) as first, turns.take({"mallory": 1}) as second:
        assert first == second == "mallory"
        with turns.take({"mallory": 1}) as third, turns.take({"mallory": 1, "ann": 2}) as fourth:
            assert (third, fourth) == (None, "ann")
    with turns.take({"mallory": 1}) as again:
        assert again == "mallory"


def test_the_deliveries_of_one_owner_do_not_hold_up_those_of_another(settings, database):
    """Mallory's 200 are due to ten receivers that do not answer; Ann's one, which came last, is delivered at once."""
    stopping = threading.Event()
    with Receiver(200) as slow, Receiver(200) as quick, ThreadPoolExecutor(delivery.THREADS) as pool:
        slow.release.clear()
        make_due(
            database,
            [new_webhook(database, "mallory", f"{slow.url}/{k}") for k in range(TEN_RECEIVERS)],
            FLOOD,
        )
        deliverer = WebhookDeliverer(settings, database, stopping)
        for _ in range(delivery.THREADS):
            pool.submit(deliverer.deliver_due)
        until(lambda: len(slow.received) == delivery.AT_ONCE)
        make_due(database, [new_webhook(database, "ann", quick.url)], 1)
        deliverer.deliver_due()
        until(lambda: pending(database, "ann") == 0)  # one of the other threads may have taken it
        assert len(quick.received) == 1
        assert len(slow.received) == delivery.AT_ONCE
        assert pending(database, "mallory") == FLOOD
        stopping.set()
        slow.release.set()


def test_with_one_thread_the_next_turn_is_the_other_owner_s(settings, database):
    with Receiver(200) as receiver:
        make_due(database, [new_webhook(database, "mallory", f"{receiver.url}/mallory")], FLOOD)
        make_due(database, [new_webhook(database, "ann", f"{receiver.url}/ann")], 2)
        WebhookDeliverer(settings, database, threading.Event()).deliver_due()
    paths = [received.path.rpartition("/")[2] for received in receiver.received]
    assert paths[:5] == ["mallory", "ann", "mallory", "ann", "mallory"]
    assert len(paths) == FLOOD + 2


def test_verifications_are_answered_in_turn(settings, database, monkeypatch):
    """While a file of Mallory's takes for ever, the second thread answers Ann's, and no further one of Mallory's."""
    release, looked_at = threading.Event(), []

    def findings(self, row):
        looked_at.append(row.owner)
        if row.owner == "mallory":
            release.wait(60)
        return {"error": {"code": "not_media", "message": "", "remedy": ""}}

    monkeypatch.setattr(Verifier, "_findings", findings)
    with database.session() as session:
        for owner in ("mallory",) * 5 + ("ann",):
            session.add(Verification(id=new_id("ver"), owner=owner, sha256="0" * 64, file_key=f"verifications/{owner}"))
            session.flush()
    answers = Verifier(settings, database, open_store(settings))
    with ThreadPoolExecutor(verifier.THREADS) as pool:
        threads = [pool.submit(answers.verify_pending) for _ in range(verifier.THREADS)]
        until(lambda: any(thread.done() for thread in threads))
        meanwhile = sorted(looked_at)
        release.set()  # before any assertion: a failure would leave the pool waiting
    assert meanwhile == ["ann", "mallory"]  # either of the two threads may be the first
    assert looked_at[2:] == ["mallory"] * 4


def until(true, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
