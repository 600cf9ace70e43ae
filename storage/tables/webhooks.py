"""Webhooks and their deliveries, and the only writer of the two tables.

`enqueue_events` is called in the transaction that ends a job, and writes one delivery per event and subscribed webhook. So a
killed process loses no event, and no event is sent for a change that was rolled back. Workers (worker/webhooks/delivery.py)
send the deliveries:

    due_owners        whose deliveries are due: workers take them in turn from each owner
    claim             takes a due delivery; its webhook gets no other one until the outcome is recorded or the claim released
    record_attempt    stores the outcome: delivered, due again later (WAITS), or given up
    release           makes the deliveries of lost workers due again

A transaction that locks both tables locks the webhook first, so that transactions cannot deadlock.

If a worker dies in between, the others see for a lease of their own running time that its claim stays, release it, and the delivery
is sent again with the same id. No wall clocks are compared for that, so clocks that differ or leap neither deliver twice nor delay a
first attempt (docs/decisions/0028-watchdog.md); they move the times of further attempts. A webhook that fails gets no
delivery for as long as it has been failing already (HOLD_S at most), and is disabled after GIVE_UP. A webhook that answers
410 Gone is disabled at once.
"""

from __future__ import annotations

import json
import logging
import random
import secrets
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple, get_args

from sqlalchemy import CTE, ColumnElement, ScalarSelect, and_, delete, func, literal_column, or_, select, update
from sqlalchemy.orm import Session, aliased

from storage.database import queries
from storage.database.engine import before_commit
from storage.database.models import Delivery, Job, Video, Webhook, WebhookEvent, first_id, new_id, now
from storage.errors import TooManyDeliveries, TooManyWebhooks, WebhookDisabled
from storage.tables import counters, quotas

log = logging.getLogger(__name__)

EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)
"""The events that a webhook can subscribe to."""
TEST = "webhook.test"
"""An event that is sent only when a client requests it."""

WAITS = tuple(timedelta(seconds=each) for each in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400))
"""Time after each failed attempt until the next: the schedule of the Standard Webhooks specification, over three days."""
JITTER = 0.2
"""Random fraction by which a wait is longer or shorter, so that deliveries that failed together are not repeated together."""
HOLD_S = 3600.0
"""Longest time for which a failing webhook gets no delivery: it is noticed within an hour when it works again."""
FIRST_HOLD_S = WAITS[0].total_seconds()
"""Time without deliveries after the first failure: until the failed delivery is due again."""
GIVE_UP = timedelta(days=5)
"""A webhook that has been failing for this time is disabled: longer than the schedule of a delivery, so each gets its attempts."""
RETENTION = timedelta(days=30)
"""How long deliveries are stored for clients that debug their receiver (docs/webhooks.md)."""
BOTH_SIGN = timedelta(hours=24)
"""Time after a rotation during which deliveries are signed with the previous secret too: a day to deploy the new one."""
MAX_WEBHOOKS = 20
"""Maximum number of webhooks per owner; each multiplies the deliveries of an event."""
MAX_DUE = 100
"""Due deliveries of an owner beyond which none is added on request; events of jobs are always written. People test and replay a
few at a time. Deliveries of a webhook on hold do not count: a test must show that its receiver works again."""
MAX_PENDING = 2000
"""Pending deliveries of a webhook; beyond them, those that have been due for longest are deleted unsent. A receiver that is away for a day
misses nothing of a thousand videos, and deliveries that nobody accepts fill no database."""
MAX_KEPT = 5000
"""Deliveries of a webhook that are stored, those of some thousand videos; beyond them, the oldest that have ended are deleted."""
DELETED = ""
"""Owner of a deleted webhook whose deliveries are not all deleted yet: no key has this name, so nobody finds the webhook."""

GONE = 410
"""HTTP status with which a receiver says that it wants no more deliveries."""
OUTCOMES = ("delivered", "failed", "given_up")
"""Outcomes of an attempt, as counted: after `failed` the delivery is sent again, after `given_up` it is not."""


class ClaimedDelivery(NamedTuple):
    """A delivery to send now, and its webhook, whose `sending` is the claim."""

    delivery: Delivery
    webhook: Webhook


class Attempt(NamedTuple):
    """The result of one attempt: status and beginning of the response body, or `error` if there was no response."""

    status: int | None = None
    response: str | None = None
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the receiver accepted the delivery."""
        return self.status is not None and 200 <= self.status < 300


def create(session: Session, *, owner: str, url: str, events: list[WebhookEvent], description: str) -> Webhook:
    """Creates an enabled webhook. Raises TooManyWebhooks if the owner has MAX_WEBHOOKS already."""
    quotas.lock_owner(session, owner)
    if session.scalars(select(func.count()).select_from(Webhook).where(Webhook.owner == owner)).one() >= MAX_WEBHOOKS:
        raise TooManyWebhooks(f"You have {MAX_WEBHOOKS} webhooks, the most that are allowed.")
    webhook = Webhook(id=new_id("whk"), owner=owner, url=url, events=events, description=description)
    session.add(webhook)
    session.flush()
    return webhook


def change(session: Session, webhook: Webhook, **values: Any) -> Webhook:
    """Sets columns. If the webhook is enabled or gets a new URL, its failures are cleared and its deliveries are due now."""
    for name, value in values.items():
        setattr(webhook, name, value)
    if "enabled" in values:
        webhook.disabled_because = None if webhook.enabled else "request"
    webhook.updated_at = now()
    if values.get("enabled") or "url" in values:
        _clear_failures(webhook)
        session.flush()  # Locks the webhook before its deliveries.
        time = now()
        later = _is_pending(Delivery), Delivery.attempts > 0, Delivery.next_at > time  # The others are due anyway.
        retried = update(Delivery).where(Delivery.webhook_id == webhook.id, *later)
        queries.execute_update(session, retried.values(next_at=time))
    session.flush()
    return webhook


def remove(session: Session, webhook: Webhook) -> None:
    """Deletes a webhook and its deliveries. If it has many, it is only out of reach at once, and `delete_expired` deletes the rest."""
    webhook.owner, webhook.url, webhook.description = DELETED, "", ""
    webhook.enabled, webhook.sending = False, None
    session.flush()  # Locks the webhook before its deliveries.
    if queries.delete_some(session, Delivery, Delivery.webhook_id == webhook.id) < queries.AT_ONCE:
        session.delete(webhook)
        session.flush()


def rotate(session: Session, webhook: Webhook) -> Webhook:
    """Changes the secret to the next generation; the previous one signs too for BOTH_SIGN."""
    webhook.generation += 1
    webhook.both_sign_until, webhook.updated_at = now() + BOTH_SIGN, now()
    session.flush()
    return webhook


def enqueue_events(session: Session, job: Job) -> None:
    """Writes the deliveries that the end of `job` causes. An active job causes none."""
    events = list(_events_of(session, job))
    if not events:
        return
    # Locked as the foreign key of a delivery does: one that is being deleted now has no row then, and the end of the job does not fail.
    enabled = select(Webhook).where(Webhook.owner == job.owner, Webhook.enabled).order_by(Webhook.id)
    for webhook in session.scalars(enabled.with_for_update(read=True, key_share=True)).all():
        for event, data in events:
            if event in webhook.events:
                _enqueue(session, webhook, event, data, subject_id=job.subject_id, video_id=job.video_id)


def enqueue_test(session: Session, webhook: Webhook) -> Delivery:
    """Writes a delivery of the event TEST that is due now. Raises WebhookDisabled, TooManyDeliveries."""
    _check_due(session, webhook.owner)
    _end_hold(session, webhook)
    delivery = _enqueue(session, webhook, TEST, {"id": webhook.id})
    session.flush()
    return delivery


def replay(session: Session, webhook: Webhook, delivery: Delivery) -> Delivery:
    """Makes an existing delivery due now, with its id and all attempts of a new one.

    Raises:
        WebhookDisabled: The webhook is disabled.
        TooManyDeliveries: The owner has MAX_DUE deliveries that are due.
    """
    _check_due(session, webhook.owner)
    _end_hold(session, webhook)
    delivery.state, delivery.attempts, delivery.next_at, delivery.delivered_at = "pending", 0, now(), None
    session.flush()
    return delivery


def due_owners(session: Session) -> dict[str, datetime]:
    """Returns the owners for whom `claim` would find a delivery, each with the time at which the oldest was due."""
    waiting = Webhook.id.in_(select(_waiting().c.id)), *_can_be_called()
    query = select(Webhook.owner, func.min(_first_due("next_at"))).where(*waiting).group_by(Webhook.owner)
    return {owner: due for owner, due in session.execute(query) if due is not None}


def due_since(session: Session) -> datetime | None:
    """Returns the due time of the longest overdue delivery; None if no delivery is due."""
    return min(due_owners(session).values(), default=None)


def claim(session: Session, *, lease_s: float, owner: str | None = None) -> ClaimedDelivery | None:
    """Claims the longest overdue delivery (of `owner`) for the caller, who needs up to `lease_s` seconds; None if no delivery is due."""
    due = select(Delivery, Webhook).select_from(Webhook).join(Delivery, Delivery.id == _first_due("id"))
    due = due.where(*_can_be_called())
    if owner is not None:
        due = due.where(Webhook.owner == owner)
    oldest = due.order_by(Delivery.next_at, Delivery.id).limit(1)
    query = oldest.with_for_update(skip_locked=True, key_share=True)
    row = session.execute(query, execution_options={"populate_existing": True}).first()
    if row is None:
        return None
    delivery, webhook = row
    delivery.attempts += 1
    webhook.sending = f"{delivery.id}:{secrets.token_hex(4)}"
    delivery.next_at = webhook.held_until = now() + timedelta(seconds=lease_s)
    session.flush()
    return ClaimedDelivery(delivery, webhook)


def record_attempt(session: Session, claimed: ClaimedDelivery, attempt: Attempt) -> str | None:
    """Stores the result of a claimed delivery.

    Returns:
        One of OUTCOMES. None if the delivery no longer belongs to this claim: it was released, or the delivery was replayed or
        deleted, or its webhook changed.
    """
    webhook = _locked(session, Webhook, claimed.webhook.id)  # The webhook before its delivery.
    delivery = _locked(session, Delivery, claimed.delivery.id)
    if webhook is None or webhook.sending != claimed.webhook.sending:
        return None
    webhook.sending = None
    if delivery is None or delivery.next_at != claimed.delivery.next_at:
        session.flush()
        return None
    delivery.last_at = time = now()
    delivery.last_status, delivery.last_error, delivery.response = attempt.status, attempt.error, attempt.response
    if attempt.ok:
        delivery.state, delivery.delivered_at, outcome = "delivered", time, "delivered"
        _clear_failures(webhook)
    elif attempt.status == GONE or delivery.attempts > len(WAITS):
        delivery.state, outcome = "failed", "given_up"
    else:
        wait = WAITS[delivery.attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
        delivery.next_at, outcome = time + wait, "failed"
    if not attempt.ok:
        _record_failure(webhook, attempt, time)
    counters.add(session, counters.DELIVERY, "webhook", outcome)
    session.flush()
    return outcome


def claims(session: Session) -> list[str]:
    """Returns the claims of the deliveries that are being sent."""
    return list(session.scalars(select(Webhook.sending).where(Webhook.sending.is_not(None))))


def release(session: Session, lost: Collection[str]) -> None:
    """Ends the claims `lost`: their deliveries are due now, with the attempt counted."""
    query = select(Webhook).where(Webhook.sending.in_(lost)).order_by(Webhook.id)
    for webhook in session.scalars(query.with_for_update(key_share=True, skip_locked=True)).all():
        delivery_id = webhook.sending.partition(":")[0]
        webhook.sending = webhook.held_until = None
        session.flush()  # Locks the webhook before its delivery.
        pending = update(Delivery).where(Delivery.id == delivery_id, Delivery.state == "pending")
        queries.execute_update(session, pending.values(next_at=now()))


def delete_deliveries(session: Session, *where: ColumnElement[bool], owner: str) -> int:
    """Deletes those deliveries of an owner that name a deleted resource (`where`), sent or not; returns their number."""
    own = select(Webhook.id).where(Webhook.owner == owner).order_by(Webhook.id)
    session.execute(own.with_for_update(key_share=True))  # The webhooks before their deliveries.
    return queries.execute_update(session, delete(Delivery).where(Delivery.owner == owner, *where))


def delete_expired(session: Session) -> int:
    """Deletes the next deliveries that are older than RETENTION, or whose webhook was deleted; returns their number, 0 if none is left."""
    old = Delivery.id < first_id("msg", queries.server_now(session) - RETENTION)
    if number := queries.delete_some(session, Delivery, old):
        return number
    query = select(Webhook).where(Webhook.owner == DELETED).limit(1).with_for_update(skip_locked=True)
    for webhook in session.scalars(query).all():
        number = queries.delete_some(session, Delivery, Delivery.webhook_id == webhook.id)
        if number < queries.AT_ONCE:
            session.delete(webhook)
        return max(number, 1)
    return 0


def _bound(session: Session, webhook_id: str) -> None:
    """Deletes the oldest deliveries of a webhook beyond MAX_PENDING and MAX_KEPT at the end of the transaction, once in each."""
    bounded = session.info.setdefault(_BOUNDED, set())
    if webhook_id not in bounded:
        bounded.add(webhook_id)
        before_commit(session, lambda: _delete_excess(session, webhook_id))


_BOUNDED = "webhooks whose deliveries are bounded"
"""The key of the ids of these webhooks in `Session.info`."""


def _delete_excess(session: Session, webhook_id: str) -> None:
    mine = select(Delivery.id).where(Delivery.webhook_id == webhook_id)
    newest = mine.where(_is_pending(Delivery)).order_by(Delivery.next_at.desc(), Delivery.id.desc())
    if excess := session.scalars(newest.offset(MAX_PENDING).limit(queries.AT_ONCE)).all():
        # Without waiting for those that others change: they might wait for this transaction.
        free = select(Delivery.id).where(Delivery.id.in_(excess)).with_for_update(skip_locked=True)
        number = queries.execute_update(session, delete(Delivery).where(Delivery.id.in_(free)))
        log.warning("webhook %s has %d pending deliveries: the oldest %d are given up", webhook_id, MAX_PENDING, number)
    if last := session.scalars(mine.order_by(Delivery.id.desc()).offset(MAX_KEPT).limit(1)).first():
        ended = Delivery.webhook_id == webhook_id, Delivery.id <= last, Delivery.state != "pending"
        queries.delete_some(session, Delivery, *ended)


def _is_pending(delivery: type[Delivery]) -> ColumnElement[bool]:
    """The condition of the index of pending deliveries, in which it must stand literally."""
    return delivery.state == literal_column("'pending'")


def _is_due(delivery: type[Delivery]) -> ColumnElement[bool]:
    """Whether a delivery is to be sent now. What was never attempted is due whatever the clock that wrote it said."""
    return and_(_is_pending(delivery), or_(delivery.attempts == 0, delivery.next_at <= now()))


def _can_be_called() -> list[ColumnElement[bool]]:
    """The conditions of a webhook that is enabled, idle, and not on hold: no hold is longer than HOLD_S."""
    time = now()
    held_until, longest = Webhook.held_until, time + timedelta(seconds=HOLD_S)
    not_on_hold = or_(held_until.is_(None), held_until <= time, held_until > longest)
    return [Webhook.enabled, Webhook.sending.is_(None), not_on_hold]


def _first_due(column: str) -> ScalarSelect:
    """A column of the longest overdue delivery of each webhook of the query around it; null if none is due."""
    first = aliased(Delivery)
    due = select(getattr(first, column)).where(first.webhook_id == Webhook.id, _is_due(first))
    return due.order_by(first.next_at, first.id).limit(1).correlate(Webhook).scalar_subquery()


def _waiting() -> CTE:
    """The ids of the webhooks with pending deliveries, and a null: read from their index, one entry for each webhook."""
    first, other = aliased(Delivery), aliased(Delivery)
    waiting = select(func.min(first.webhook_id).label("id")).where(_is_pending(first)).cte("waiting", recursive=True)
    following = select(func.min(other.webhook_id)).where(_is_pending(other), other.webhook_id > waiting.c.id)
    return waiting.union_all(select(following.scalar_subquery()).where(waiting.c.id.is_not(None)))


def _check_due(session: Session, owner: str) -> None:
    """Raises TooManyDeliveries if the owner has MAX_DUE deliveries that are due."""
    quotas.lock_owner(session, owner)
    due = select(Delivery.id).select_from(Webhook).join(Delivery, Delivery.webhook_id == Webhook.id)
    due = due.where(Webhook.owner == owner, *_can_be_called(), _is_due(Delivery)).limit(MAX_DUE).subquery()
    if session.scalars(select(func.count()).select_from(due)).one() >= MAX_DUE:
        raise TooManyDeliveries(f"{MAX_DUE} of your deliveries are due, the most that may wait for a test or a replay.")


def _events_of(session: Session, job: Job) -> Iterator[tuple[WebhookEvent, dict[str, Any]]]:
    """The events that the end of a job causes, for the job and for its target, with their data."""
    if job.state not in ("succeeded", "failed", "cancelled"):
        return
    ids = {"subject_id": job.subject_id, "video_id": job.video_id}
    yield f"job.{job.state}", {"id": job.id, "kind": job.kind, "state": job.state, **ids, "error": job.error}
    subject = {"id": job.subject_id, "job_id": job.id, "error": job.error}
    video = {"id": job.video_id, "subject_id": job.subject_id, "job_id": job.id, "error": job.error}
    if row := session.get(Video, job.video_id) if job.video_id else None:
        video |= {"title": row.title, "metadata": row.client_metadata or {}}
    target, data = ("video", video) if job.video_id else ("subject", subject)
    if job.state == "failed":
        yield f"{target}.failed", data | {"state": "failed"}
    elif job.state == "succeeded" and job.kind != "preprocess":  # After preprocessing, the training follows.
        yield f"{target}.ready", data | {"state": "ready"}


def _enqueue(session: Session, webhook: Webhook, event: str, data: dict[str, Any], **named: str | None) -> Delivery:
    time = now()
    message = {"type": event, "timestamp": time.isoformat().replace("+00:00", "Z"), "data": data}
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    delivery = Delivery(
        id=new_id("msg"), owner=webhook.owner, webhook_id=webhook.id, event=event, body=body, next_at=time, **named
    )
    session.add(delivery)
    _bound(session, webhook.id)
    return delivery


def _record_failure(webhook: Webhook, attempt: Attempt, time: datetime) -> None:
    """Puts a failing webhook on hold, or disables it."""
    webhook.failing_since = webhook.failing_since or time
    failing = time - webhook.failing_since
    webhook.held_until = time + timedelta(seconds=min(max(failing.total_seconds(), FIRST_HOLD_S), HOLD_S))
    if attempt.status == GONE or failing > GIVE_UP:
        webhook.enabled, webhook.updated_at = False, time
        webhook.disabled_because = "gone" if attempt.status == GONE else "failing"


def _clear_failures(webhook: Webhook) -> None:
    webhook.failing_since = webhook.held_until = None


def _end_hold(session: Session, webhook: Webhook) -> None:
    """Allows a requested delivery at once, although the webhook may have failed recently."""
    if not webhook.enabled:
        raise WebhookDisabled(f"Webhook {webhook.id} is disabled.")
    webhook.held_until = None
    session.flush()  # Locks the webhook before its deliveries.


def _locked(session: Session, model: type[queries.Row], row_id: str) -> queries.Row | None:
    return session.get(model, row_id, populate_existing=True, with_for_update={"key_share": True})
