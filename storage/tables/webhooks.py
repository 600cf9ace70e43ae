"""Webhooks: what is told to whom, and how far the telling is. The only writer of the two tables.

`enqueue_events` is called where a job comes to an end, in the transaction that ends it, and writes one row for every webhook
that wants to hear of it. So an event is not lost by a killed process, and none is told that did not happen. Workers
(worker/webhooks/delivery.py) take these rows to where they go:

    claim     a delivery that is due; nobody else takes it, nor another one of its webhook, for `lease_s` seconds
    settle    what came of the attempt: delivered, due again later (WAITS), or given up

Where both are locked it is the webhook first, so that transactions cannot wait for each other in a circle.

A worker that dies in between leaves a lease that runs out; then the delivery is made again, with the same id. A webhook
that does not take its deliveries is left alone for as long again as it has been failing (at most HOLD_S), whatever else
waits for it, and switched off after GIVE_UP; one that answers 410 is switched off at once.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple, get_args

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Delivery, Job, Webhook, WebhookEvent, new_id, now
from storage.errors import TooManyWebhooks, WebhookDisabled
from storage.tables import counters

EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)
"""What a webhook may ask for."""
TEST = "webhook.test"
"""The event that is sent on request only."""

WAITS = tuple(timedelta(seconds=each) for each in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400))
"""After each attempt but the last, the time until the next: the Standard Webhooks specification's, three days in all."""
JITTER = 0.2
"""Part by which a wait is longer or shorter, so that what failed together does not come back together."""
HOLD_S = 3600.0
"""The longest that a webhook which fails is left alone."""
FIRST_HOLD_S = WAITS[0].total_seconds()
GIVE_UP = timedelta(days=5)
"""A webhook that took nothing for so long is switched off."""
KEPT = timedelta(days=30)
"""For how long deliveries can be looked up."""
BOTH_SIGN = timedelta(hours=24)
"""For how long the secret before the last rotation signs too."""
MOST = 20
"""Webhooks that one owner may have."""

GONE = 410
OUTCOMES = ("delivered", "failed", "given_up")
"""Of attempts, as they are counted: `failed` is tried again, `given_up` is not."""


class Claimed(NamedTuple):
    """A delivery to be made now, and to whom. `delivery.next_at` is when it counts as not made."""

    delivery: Delivery
    webhook: Webhook


class Attempt(NamedTuple):
    """What came of an attempt: the answer's status and what its body began with, or the `error` where none came."""

    status: int | None = None
    response: str | None = None
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the receiver has taken it."""
        return self.status is not None and 200 <= self.status < 300


def create(session: Session, *, owner: str, url: str, events: list[WebhookEvent], description: str) -> Webhook:
    """A new webhook, switched on. Raises TooManyWebhooks."""
    if session.scalars(select(func.count()).select_from(Webhook).where(Webhook.owner == owner)).one() >= MOST:
        raise TooManyWebhooks(f"There are {MOST} webhooks.")
    webhook = Webhook(id=new_id("whk"), owner=owner, url=url, events=events, description=description)
    session.add(webhook)
    session.flush()
    return webhook


def change(session: Session, webhook: Webhook, **values: Any) -> Webhook:
    """Sets columns. A webhook that gets another address or is switched on starts afresh: what waits for it is due."""
    for name, value in values.items():
        setattr(webhook, name, value)
    if "enabled" in values:
        webhook.disabled_because = None if webhook.enabled else "request"
    webhook.updated_at = now()
    if values.get("enabled") or "url" in values:
        _clear_failures(webhook)
        session.flush()  # always before its deliveries
        waiting = update(Delivery).where(Delivery.webhook_id == webhook.id, Delivery.state == "pending")
        session.execute(waiting.values(next_at=now()), execution_options={"synchronize_session": False})
    session.flush()
    return webhook


def rotate(session: Session, webhook: Webhook) -> Webhook:
    """The next generation of its secret; the one before signs too for BOTH_SIGN."""
    webhook.generation += 1
    webhook.both_sign_until, webhook.updated_at = now() + BOTH_SIGN, now()
    session.flush()
    return webhook


def enqueue_events(session: Session, job: Job) -> None:
    """Writes down who is to be told that `job` is in the state in which it is; nobody of a job that goes on."""
    told = list(_events_of(job))
    if not told:
        return
    for webhook in session.scalars(select(Webhook).where(Webhook.owner == job.owner, Webhook.enabled)).all():
        for event, data in told:
            if event in webhook.events:
                _send(session, webhook, event, data)


def test(session: Session, webhook: Webhook) -> Delivery:
    """A delivery of the event TEST, due now. Raises WebhookDisabled."""
    _wait_no_longer(session, webhook)
    delivery = _send(session, webhook, TEST, {"id": webhook.id})
    session.flush()
    return delivery


def replay(session: Session, webhook: Webhook, delivery: Delivery) -> Delivery:
    """Makes the delivery again now, and as often as a new one if need be. Its id stays. Raises WebhookDisabled."""
    _wait_no_longer(session, webhook)
    delivery.state, delivery.attempts, delivery.next_at, delivery.delivered_at = "pending", 0, now(), None
    session.flush()
    return delivery


def is_due(session: Session) -> bool:
    """Whether there is something to `claim`."""
    return session.execute(_due(Delivery.id).limit(1)).first() is not None


def due_since(session: Session) -> datetime | None:
    """When that was due which has been for longest; None: nothing is."""
    return session.scalars(_due(func.min(Delivery.next_at))).one()


def claim(session: Session, *, lease_s: float) -> Claimed | None:
    """The delivery that has been due for longest, for `lease_s` seconds nobody else's; None where none is due."""
    oldest = _due(Delivery, Webhook).order_by(Delivery.next_at, Delivery.id).limit(1)
    query = oldest.with_for_update(skip_locked=True, key_share=True)
    found = session.execute(query, execution_options={"populate_existing": True}).first()
    if found is None:
        return None
    delivery, webhook = found
    delivery.attempts += 1
    delivery.next_at = webhook.held_until = now() + timedelta(seconds=lease_s)
    session.flush()
    return Claimed(delivery, webhook)


def record_attempt(session: Session, claimed: Claimed, attempt: Attempt) -> str | None:
    """What came of a claim; one of OUTCOMES. None: it is not this claim's any more (too late, asked for anew, deleted)."""
    webhook = _locked(session, Webhook, claimed.webhook.id)  # always before its deliveries
    delivery = _locked(session, Delivery, claimed.delivery.id)
    if webhook is None or delivery is None or delivery.next_at != claimed.delivery.next_at:
        return None
    delivery.last_at = moment = now()
    delivery.last_status, delivery.last_error, delivery.response = attempt.status, attempt.error, attempt.response
    if attempt.ok:
        delivery.state, delivery.delivered_at, outcome = "delivered", moment, "delivered"
        _clear_failures(webhook)
    elif attempt.status == GONE or delivery.attempts > len(WAITS):
        delivery.state, outcome = "failed", "given_up"
    else:
        wait = WAITS[delivery.attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
        delivery.next_at, outcome = moment + wait, "failed"
    if not attempt.ok:
        _record_failure(webhook, attempt, moment)
    counters.add(session, counters.DELIVERY, "webhook", outcome)
    session.flush()
    return outcome


def trim(session: Session) -> int:
    """Removes the deliveries that are older than KEPT; returns how many."""
    oldest = f"msg_{int((now() - KEPT).timestamp() * 1000):012x}"  # ids sort by time
    return session.execute(delete(Delivery).where(Delivery.id < oldest)).rowcount


def _due(*columns: Any) -> Select:
    moment = now()
    free: ColumnElement[bool] = or_(Webhook.held_until.is_(None), Webhook.held_until <= moment)
    joined = select(*columns).select_from(Delivery).join(Webhook, Webhook.id == Delivery.webhook_id)
    return joined.where(Delivery.state == "pending", Delivery.next_at <= moment, Webhook.enabled, free)


def _events_of(job: Job) -> Iterator[tuple[WebhookEvent, dict[str, Any]]]:
    """What the end of a job means: to the job, and to what it was for."""
    if job.state not in ("succeeded", "failed", "cancelled"):
        return
    about = {"subject_id": job.subject_id, "video_id": job.video_id, "error": job.error}
    yield f"job.{job.state}", {"id": job.id, "kind": job.kind, "state": job.state, **about}
    subject = {"id": job.subject_id, "job_id": job.id, "error": job.error}
    video = {"id": job.video_id, "subject_id": job.subject_id, "job_id": job.id, "error": job.error}
    owner, data = ("video", video) if job.video_id else ("subject", subject)
    if job.state == "failed":
        yield f"{owner}.failed", data | {"state": "failed"}
    elif job.state == "succeeded" and job.kind != "preprocess":  # after that, training follows
        yield f"{owner}.ready", data | {"state": "ready"}


def _send(session: Session, webhook: Webhook, event: str, data: dict[str, Any]) -> Delivery:
    moment = now()
    told = {"type": event, "timestamp": moment.isoformat().replace("+00:00", "Z"), "data": data}
    body = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    delivery = Delivery(
        id=new_id("msg"), owner=webhook.owner, webhook_id=webhook.id, event=event, body=body, next_at=moment
    )
    session.add(delivery)
    return delivery


def _record_failure(webhook: Webhook, attempt: Attempt, moment: datetime) -> None:
    """The webhook failed (again): for how long it is left alone, or that it is switched off."""
    webhook.failing_since = webhook.failing_since or moment
    failing = moment - webhook.failing_since
    webhook.held_until = moment + timedelta(seconds=min(max(failing.total_seconds(), FIRST_HOLD_S), HOLD_S))
    if attempt.status == GONE or failing > GIVE_UP:
        webhook.enabled, webhook.updated_at = False, moment
        webhook.disabled_because = "gone" if attempt.status == GONE else "failing"


def _clear_failures(webhook: Webhook) -> None:
    webhook.failing_since = webhook.held_until = None


def _wait_no_longer(session: Session, webhook: Webhook) -> None:
    """Somebody asks for a delivery now, though the webhook may have failed a moment ago."""
    if not webhook.enabled:
        raise WebhookDisabled(f"Webhook {webhook.id} is switched off.")
    webhook.held_until = None
    session.flush()  # always before its deliveries


def _locked(session: Session, model: type[queries.Row], row_id: str) -> queries.Row | None:
    return session.get(model, row_id, populate_existing=True, with_for_update={"key_share": True})
