"""Webhooks in the database: who delivers their events, and the effects of success and failure."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
from sqlalchemy import update

from storage.database import queries
from storage.database.models import LOCAL, Delivery, Webhook, now
from storage.errors import NotFound, TooManyDeliveries, TooManyWebhooks, WebhookDisabled
from storage.tables import counters, jobs, webhooks
from storage.tables.webhooks import EVENTS, GIVE_UP, OUTCOMES, TEST, WAITS, Attempt
from tests.storage.tables.test_jobs import ERROR, new_job

ACCEPTED = Attempt(204, "")
SERVER_ERROR = Attempt(500, "no")
NO_RESPONSE = Attempt(error="No connection.")


def new_webhook(database, *events, owner=LOCAL):
    with database.session() as session:
        return webhooks.create(
            session, owner=owner, url="https://example.com/", events=list(events or EVENTS), description=""
        )


def deliveries(database, webhook=None):
    """All deliveries, oldest first."""
    with database.session(write=False) as session:
        rows = queries.page(session, Delivery, limit=100, webhook_id=webhook and webhook.id).items
    return sorted(rows, key=lambda delivery: (delivery.next_at, delivery.id))


def reread(database, row):
    with database.session(write=False) as session:
        return queries.get(session, type(row), row.id)


def claim_delivery(database, lease_s=60.0):
    with database.session() as session:
        return webhooks.claim(session, lease_s=lease_s)


def record_attempt(database, claimed, attempt):
    with database.session() as session:
        return webhooks.record_attempt(session, claimed, attempt)


def send_test(database, webhook):
    with database.session() as session:
        return webhooks.enqueue_test(session, queries.get(session, Webhook, webhook.id))


def test_a_webhook_that_is_being_deleted_does_not_fail_the_end_of_a_job(database):
    """On PostgreSQL, where both transactions run at the same time, the delivery referred to a row that was gone at the commit."""
    job, webhook, other = new_job(database), new_webhook(database), new_webhook(database)

    def end_job():
        with database.session() as session:
            jobs.cancel(session, job.id)

    with ThreadPoolExecutor(1) as threads:
        with database.session() as session:
            webhooks.remove(session, queries.get(session, Webhook, webhook.id))
            ended = threads.submit(end_job)
            with suppress(TimeoutError):
                ended.result(0.2)
        ended.result()
    assert {each.webhook_id for each in deliveries(database)} == {other.id}


@contextmanager
def later(monkeypatch, **time):
    """Advances the clock of storage/tables/webhooks.py."""
    with monkeypatch.context() as patched:
        patched.setattr(webhooks, "now", lambda: now() + timedelta(**time))
        yield


def end(database, job, move):
    with database.session() as session:
        if move == "cancel":
            jobs.cancel(session, job.id)
        elif move == "fail":
            assert jobs.fail(session, job.id, 1, ERROR)
        elif move == "time_out":
            assert jobs.time_out(session, job.id, 1, 5.0)
        else:
            assert jobs.succeed(session, job.id, 1)


def test_a_webhook_gets_one_delivery_at_a_time(database):
    first, second = new_webhook(database), new_webhook(database)
    for webhook in (first, first, second):
        send_test(database, webhook)
    claims = claim_delivery(database), claim_delivery(database)
    assert {claimed.webhook.id for claimed in claims} == {first.id, second.id}
    assert claim_delivery(database) is None
    assert {claimed.delivery.attempts for claimed in claims} == {1}
    for claimed in claims:
        assert record_attempt(database, claimed, ACCEPTED) == "delivered"
    last = claim_delivery(database)
    assert last.webhook.id == first.id
    assert reread(database, claims[0].delivery).state == "delivered"
    assert reread(database, claims[0].delivery).delivered_at is not None


def test_concurrent_claims_get_different_deliveries(database):
    for _ in range(6):
        send_test(database, new_webhook(database))
    claimed = []

    def work():
        while claim := claim_delivery(database):
            claimed.append(claim.delivery.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 6


def test_after_the_loss_of_its_worker_a_delivery_is_sent_again_with_the_same_id(database):
    delivery = send_test(database, new_webhook(database))
    lost = claim_delivery(database)
    with database.session() as session:
        assert webhooks.claims(session) == [lost.webhook.sending]
        webhooks.release(session, [lost.webhook.sending, "msg_1:gone"])
    again = claim_delivery(database)
    assert lost.delivery.id == again.delivery.id == delivery.id
    assert again.delivery.attempts == 2
    assert record_attempt(database, lost, ACCEPTED) is None, "the late one"
    assert claim_delivery(database) is None, "the late one has not ended the claim of the other"
    assert record_attempt(database, again, ACCEPTED) == "delivered"


@pytest.mark.parametrize("leap", [timedelta(hours=2), timedelta(hours=-2)])
def test_a_clock_that_leaps_neither_delivers_twice_nor_delays_a_first_attempt(database, monkeypatch, leap):
    webhook = new_webhook(database)
    with later(monkeypatch, seconds=leap.total_seconds()):
        send_test(database, webhook), send_test(database, webhook)
    claimed = claim_delivery(database)
    assert claimed is not None
    with later(monkeypatch, seconds=leap.total_seconds()):
        assert claim_delivery(database) is None, "it is being sent"
        assert record_attempt(database, claimed, ACCEPTED) == "delivered"
        assert record_attempt(database, claim_delivery(database), SERVER_ERROR) == "failed"
    send_test(database, webhook)
    assert claim_delivery(database) is not None


@pytest.mark.parametrize("attempt", [SERVER_ERROR, NO_RESPONSE, Attempt(302, ""), Attempt(404, "")])
def test_a_failed_delivery_is_repeated_for_three_days_and_then_given_up(database, monkeypatch, attempt):
    webhook = new_webhook(database)
    delivery = send_test(database, webhook)
    passed, waits = timedelta(), []
    for _ in range(len(WAITS)):
        with later(monkeypatch, seconds=passed.total_seconds()):
            begun = webhooks.now()
            assert record_attempt(database, claim_delivery(database), attempt) == "failed"
            assert claim_delivery(database) is None
        waits.append(reread(database, delivery).next_at - begun)
        passed += waits[-1] + timedelta(seconds=1)
    for wait, expected in zip(waits, WAITS, strict=True):
        assert 0.79 * expected < wait < 1.21 * expected + timedelta(seconds=5)
    assert timedelta(days=2.5) < passed < timedelta(days=4)
    with later(monkeypatch, seconds=passed.total_seconds()):
        assert record_attempt(database, claim_delivery(database), attempt) == "given_up"
    ended = reread(database, delivery)
    assert (ended.state, ended.attempts, ended.last_status) == ("failed", len(WAITS) + 1, attempt.status)
    assert ended.last_error == attempt.error
    with database.session(write=False) as session:
        counted = {each.label: each.count for each in counters.all_counts(session) if each.name == counters.DELIVERY}
    assert counted == {"failed": len(WAITS), "given_up": 1} and set(counted) < set(OUTCOMES)
    assert reread(database, webhook).enabled


def test_a_failing_webhook_is_put_on_hold_until_it_accepts_a_delivery(database, monkeypatch):
    webhook = new_webhook(database)
    for _ in range(3):
        send_test(database, webhook)
    record_attempt(database, claim_delivery(database), SERVER_ERROR)
    failing = reread(database, webhook)
    assert failing.failing_since is not None
    assert claim_delivery(database) is None, "the others wait too"
    with later(monkeypatch, seconds=7):
        record_attempt(database, claim_delivery(database), SERVER_ERROR)
    with later(monkeypatch, seconds=13):
        assert claim_delivery(database) is None, "on hold for as long as it has been failing"
    with later(monkeypatch, hours=1):
        assert record_attempt(database, claim_delivery(database), ACCEPTED) == "delivered"
        assert claim_delivery(database) is not None
    assert reread(database, webhook).failing_since is None


def test_a_webhook_that_answers_gone_is_disabled_at_once(database):
    webhook = new_webhook(database)
    delivery, waiting = send_test(database, webhook), send_test(database, webhook)
    assert record_attempt(database, claim_delivery(database), Attempt(410, "gone")) == "given_up"
    off = reread(database, webhook)
    assert (off.enabled, off.disabled_because) == (False, "gone")
    assert claim_delivery(database) is None
    assert sorted(reread(database, each).state for each in (delivery, waiting)) == ["failed", "pending"]
    with pytest.raises(WebhookDisabled):
        send_test(database, webhook)


def test_a_webhook_that_fails_for_days_is_disabled_and_continues_when_enabled(database, monkeypatch):
    webhook = new_webhook(database)
    send_test(database, webhook)
    record_attempt(database, claim_delivery(database), NO_RESPONSE)
    with later(monkeypatch, seconds=GIVE_UP.total_seconds() + 10):
        record_attempt(database, claim_delivery(database), NO_RESPONSE)
    off = reread(database, webhook)
    assert (off.enabled, off.disabled_because) == (False, "failing")
    with database.session() as session:
        on = webhooks.change(session, queries.get(session, Webhook, webhook.id), enabled=True)
    assert (on.enabled, on.disabled_because, on.failing_since, on.held_until) == (True, None, None, None)
    assert record_attempt(database, claim_delivery(database), ACCEPTED) == "delivered", (
        "pending deliveries are due at once"
    )


def test_a_replay_starts_again_with_the_same_id_and_body(database):
    webhook = new_webhook(database)
    delivery = send_test(database, webhook)
    record_attempt(database, claim_delivery(database), ACCEPTED)
    with database.session() as session:
        webhooks.replay(session, queries.get(session, Webhook, webhook.id), queries.get(session, Delivery, delivery.id))
    again = claim_delivery(database)
    assert (again.delivery.id, again.delivery.body, again.delivery.attempts) == (delivery.id, delivery.body, 1)
    with database.session() as session:  # While it is being sent.
        webhooks.replay(session, queries.get(session, Webhook, webhook.id), queries.get(session, Delivery, delivery.id))
    assert record_attempt(database, again, ACCEPTED) is None
    assert reread(database, delivery).state == "pending"


def test_deleting_a_webhook_deletes_its_deliveries(database):
    webhook = new_webhook(database)
    delivery = send_test(database, webhook)
    claimed = claim_delivery(database)
    with database.session() as session:
        webhooks.remove(session, queries.get(session, Webhook, webhook.id))
    assert record_attempt(database, claimed, ACCEPTED) is None
    with pytest.raises(NotFound):
        reread(database, delivery)


def test_many_deliveries_of_a_deleted_webhook_are_deleted_some_at_a_time(database, monkeypatch):
    monkeypatch.setattr(queries, "AT_ONCE", 2)
    webhook, other = new_webhook(database), new_webhook(database)
    for each in (webhook,) * 5 + (other,):
        send_test(database, each)
    with database.session() as session:
        webhooks.remove(session, queries.get(session, Webhook, webhook.id))
    with database.session(write=False) as session:
        assert [each.id for each in queries.page(session, Webhook, owner=LOCAL).items] == [other.id]
    assert claim_delivery(database).webhook.id == other.id and claim_delivery(database) is None
    left = []
    while not left or left[-1]:
        with database.session() as session:
            left.append(webhooks.delete_expired(session))
    assert left == [2, 1, 0] and len(deliveries(database)) == 1
    with pytest.raises(NotFound):
        reread(database, webhook)


def test_the_oldest_of_too_many_pending_deliveries_are_given_up(database, monkeypatch):
    monkeypatch.setattr(webhooks, "MAX_PENDING", 3)
    webhook, other = new_webhook(database, "job.cancelled"), new_webhook(database, "job.cancelled")
    sent = send_test(database, other)
    claim_delivery(database)  # one that is being sent is kept
    for _ in range(2):
        job = new_job(database)
        end(database, job, "cancel")
        with database.session() as session:
            jobs.retry(session, job.id)
        end(database, job, "cancel")
    assert len(deliveries(database, webhook)) == 3
    kept = deliveries(database, other)
    assert len(kept) == 3 and sent.id in [each.id for each in kept]


def test_the_oldest_ended_deliveries_beyond_a_number_are_deleted(database, monkeypatch):
    monkeypatch.setattr(webhooks, "MAX_KEPT", 3)
    webhook, other = new_webhook(database), new_webhook(database)
    send_test(database, other)
    record_attempt(database, claim_delivery(database), ACCEPTED)
    pending, *sent = (send_test(database, webhook) for _ in range(3))
    with database.session() as session:
        queries.execute_update(
            session, update(Delivery).where(Delivery.id.in_([each.id for each in sent])).values(state="delivered")
        )
    newest = [send_test(database, webhook) for _ in range(2)]
    kept = {each.id for each in deliveries(database, webhook)}
    assert kept == {pending.id, sent[1].id, *(each.id for each in newest)}
    assert len(deliveries(database, other)) == 1


def test_enabling_a_webhook_again_makes_due_what_waits_for_another_attempt_and_rewrites_nothing_else(database):
    webhook = new_webhook(database)
    failed, untried = (send_test(database, webhook) for _ in range(2))
    record_attempt(database, claim_delivery(database), SERVER_ERROR)
    for _ in range(2):
        with database.session() as session:
            webhooks.change(session, queries.get(session, Webhook, webhook.id), enabled=True)
    assert reread(database, untried).next_at == untried.next_at
    assert [claim_delivery(database).delivery.id] == [untried.id]
    assert reread(database, failed).next_at <= now()


def test_the_due_time_of_the_longest_overdue_delivery(database):
    def since():
        with database.session(write=False) as session:
            assert bool(webhooks.due_owners(session)) is (webhooks.due_since(session) is not None)
            return webhooks.due_since(session)

    assert since() is None
    delivery = send_test(database, new_webhook(database))
    assert since() == reread(database, delivery).next_at
    record_attempt(database, claim_delivery(database), SERVER_ERROR)
    assert since() is None


def test_old_deliveries_are_deleted(database, monkeypatch):
    old = send_test(database, new_webhook(database))
    with database.session() as session:
        assert webhooks.delete_expired(session) == 0
    monkeypatch.setattr(webhooks, "RETENTION", timedelta(seconds=-10))
    with database.session() as session:
        assert webhooks.delete_expired(session) == 1
    with pytest.raises(NotFound):
        reread(database, old)


def test_the_number_of_webhooks_per_owner_is_limited(database):
    for _ in range(webhooks.MAX_WEBHOOKS):
        new_webhook(database)
    with pytest.raises(TooManyWebhooks):
        new_webhook(database)
    new_webhook(database, owner="other")


def test_requests_at_the_same_time_do_not_exceed_the_number_of_webhooks(database):
    def try_to_create(_):
        try:
            new_webhook(database)
        except TooManyWebhooks:
            return 0
        return 1

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(try_to_create, range(webhooks.MAX_WEBHOOKS + 20))) == webhooks.MAX_WEBHOOKS


def test_tests_and_replays_are_refused_while_many_deliveries_are_due(database, monkeypatch):
    monkeypatch.setattr(webhooks, "MAX_DUE", 3)
    webhook, other = new_webhook(database, TEST), new_webhook(database, TEST, owner="ann")
    sent = [send_test(database, webhook) for _ in range(3)]
    with pytest.raises(TooManyDeliveries):
        send_test(database, webhook)
    with pytest.raises(TooManyDeliveries), database.session() as session:
        webhooks.replay(session, queries.get(session, Webhook, webhook.id), queries.get(session, Delivery, sent[0].id))
    send_test(database, other)
    record_attempt(database, claim_delivery(database), SERVER_ERROR)
    # Those of a webhook on hold do not count: a test shows whether its receiver works again.
    send_test(database, webhook)
    assert len(deliveries(database, webhook)) == 4


def test_due_owners_are_those_for_whom_a_delivery_can_be_claimed(database):
    ann, bob = (new_webhook(database, TEST, owner=owner) for owner in ("ann", "bob"))
    first = send_test(database, ann)
    send_test(database, ann), send_test(database, bob)
    with database.session(write=False) as session:
        due = webhooks.due_owners(session)
    assert due["ann"] == first.next_at < due["bob"]
    with database.session() as session:
        assert webhooks.claim(session, lease_s=60, owner="bob").webhook.id == bob.id
    with database.session() as session:
        assert webhooks.claim(session, lease_s=60, owner="bob") is None
    with database.session(write=False) as session:
        assert list(webhooks.due_owners(session)) == ["ann"]
