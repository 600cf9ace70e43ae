"""The courier, from the end of a job to a real receiver: signed, once where all goes well, again where it does not."""

from __future__ import annotations

import stat
import threading
from types import SimpleNamespace

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from api.services import webhooks as use_cases
from storage.database import queries
from storage.database.models import LOCAL, Delivery, Webhook, now
from storage.errors import BadSetting, WebhooksOff
from storage.settings import Settings
from storage.tables import webhooks
from tests.receivers import Receiver
from worker.webhooks import guarded_http
from worker.webhooks.delivery import LEASE_S, WebhookDeliverer
from worker.webhooks.signing import check_settings, load_signer


@pytest.fixture
def settings(settings):
    return settings.replace(webhook_networks="127.0.0.0/8", sweep_s=0.1)


def new_webhook(house, url, *events):
    with house.database.session() as session:
        wanted = list(events or webhooks.EVENTS)
        return use_cases.create_webhook(session, house.settings, owner=LOCAL, url=url, events=wanted, description="")[0]


def send_test(house, webhook):
    return house.write(use_cases.send_test_event, webhook.id)


def reread(house, row):
    return house.read(queries.get, type(row), row.id)


def deliver(house):
    """One round of a courier in this process."""
    WebhookDeliverer(house.settings, house.database, threading.Event()).deliver_due()


def opened(house, webhook, received):
    """What a request says, as its receiver finds out who has the webhook's secret."""
    secret = load_signer(house.settings).secret(reread(house, webhook))
    return Verifier(secret).verify(received.body, received.headers)


def test_a_job_s_end_is_told_and_signed(house):
    with Receiver(200) as receiver:
        webhook = new_webhook(house, receiver.url, "subject.ready", "job.failed")
        subject = house.ready_subject()
        house.submit_subject(at={"1": "fail"})
        house.work()
        deliver(house)
    ready, failed = (opened(house, webhook, received) for received in receiver.received)
    assert (ready["type"], ready["data"]["id"], ready["data"]["state"]) == ("subject.ready", subject.id, "ready")
    assert failed["type"] == "job.failed" and failed["data"]["error"]["code"]
    first, second = receiver.received
    assert first.headers["webhook-id"] != second.headers["webhook-id"]
    assert first.headers["content-type"] == "application/json"
    delivery = house.read(queries.get, Delivery, first.headers["webhook-id"])
    assert (delivery.state, delivery.last_status, delivery.response) == ("delivered", 200, "answer 200")
    with pytest.raises(WebhookVerificationError):
        opened(house, webhook, first._replace(body=first.body.replace(b"ready", b"weary")))


def test_both_secrets_sign_for_a_day_after_a_rotation(house):
    keyring = load_signer(house.settings)
    webhook = new_webhook(house, "http://127.0.0.1:1/")
    old = keyring.secret(webhook)
    with house.database.session() as session:
        rotated, new = use_cases.rotate_secret(session, house.settings, webhook.id, owner=LOCAL)
    assert new == keyring.secret(rotated)
    assert old != new and {old[:6], new[:6]} == {"whsec_"}
    headers = keyring.headers(rotated, "msg_1", now(), "{}")
    for secret in (old, new):
        assert Verifier(secret).verify("{}", headers) == {}
    with pytest.raises(WebhookVerificationError):
        Verifier(keyring.secret(SimpleNamespace(id="whk_other", generation=1))).verify("{}", headers)
    rotated.both_sign_until = now()
    headers = keyring.headers(rotated, "msg_1", now(), "{}")
    assert len(headers["webhook-signature"].split()) == 1
    assert Verifier(new).verify("{}", headers) == {}


def test_what_is_refused_is_delivered_when_it_is_due_again(house):
    with Receiver(503, 200) as receiver:
        webhook = new_webhook(house, receiver.url)
        delivery = send_test(house, webhook)
        deliver(house)
        failed = reread(house, delivery)
        assert (failed.state, failed.attempts, failed.last_status, failed.response) == ("pending", 1, 503, "answer 503")
        deliver(house)
        assert len(receiver.received) == 1, "not before it is due"
        house.write(make_due, delivery)
        deliver(house)
    assert reread(house, delivery).state == "delivered"
    first, second = (received.headers for received in receiver.received)
    assert first["webhook-id"] == second["webhook-id"] == delivery.id
    assert first["webhook-timestamp"] <= second["webhook-timestamp"]


def make_due(session, delivery, *, owner):
    """Lets the time pass that the delivery and its webhook have to wait."""
    queries.get(session, Delivery, delivery.id, owner=owner).next_at = now()
    queries.get(session, Webhook, delivery.webhook_id, owner=owner).held_until = None


def test_an_address_that_leads_inside_by_now_is_not_called(house):
    """It was public when the webhook was made; the network that it leads to was open then."""
    with Receiver(200) as receiver:
        delivery = send_test(house, new_webhook(house, receiver.url))
        house.settings = house.settings.replace(webhook_networks="")
        deliver(house)
    assert receiver.received == []
    assert "public internet" in reread(house, delivery).last_error


def test_a_receiver_that_is_not_there_is_an_error_that_can_be_read(house):
    delivery = send_test(house, new_webhook(house, "http://127.0.0.1:9/"))
    deliver(house)
    assert (reread(house, delivery).last_status, reread(house, delivery).last_error) == (None, "No connection.")


def test_an_answer_that_is_no_text_can_be_stored(house, monkeypatch):
    monkeypatch.setattr(guarded_http, "post", lambda *_, **__: guarded_http.Response(500, b"\x00\xff\x1b[2J ok\n"))
    delivery = send_test(house, new_webhook(house, "http://127.0.0.1:9/"))
    deliver(house)
    assert reread(house, delivery).response == "\ufffd\ufffd\ufffd[2J ok\n"


def test_a_slow_receiver_holds_up_neither_jobs_nor_others_nor_the_end(house):
    """Real worker: while one receiver does not answer at all, jobs run and another webhook hears of them."""
    with Receiver(200) as slow, Receiver(200) as quick:
        slow.release.clear()
        new_webhook(house, slow.url), new_webhook(house, quick.url, "subject.ready")
        subject = house.submit_subject()
        worker = house.start()
        house.until(lambda: house.subject(subject).state == "ready")
        house.until(lambda: quick.received)
        assert len(slow.received) == 1, "one at a time"
        worker.terminate()
        assert worker.wait(30) == 0


def test_a_worker_that_is_killed_while_it_delivers_delivers_again_with_the_same_id(house):
    with Receiver(200) as receiver:
        receiver.release.clear()
        delivery = send_test(house, new_webhook(house, receiver.url))
        worker = house.start()
        house.until(lambda: receiver.received)
        worker.kill()
        worker.wait()
        held = reread(house, delivery)
        assert (held.state, held.attempts) == ("pending", 1)
        assert 0 < (held.next_at - now()).total_seconds() <= LEASE_S
        (claim,) = house.write(lambda session, owner: webhooks.claims(session))
        house.write(lambda session, owner: webhooks.release(session, [claim]))  # as when the lease is over
        receiver.release.set()
        house.start()
        house.until(lambda: reread(house, delivery).state == "delivered")
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery.id
    assert first.body == second.body
    assert reread(house, delivery).attempts == 2


def test_a_delivery_whose_worker_is_lost_is_sent_after_a_lease_of_running_time(house):
    seconds = [0.0]
    with Receiver(200) as receiver:
        delivery = send_test(house, new_webhook(house, receiver.url))
        house.write(lambda session, owner: webhooks.claim(session, lease_s=LEASE_S))  # by a worker that is lost
        deliverer = WebhookDeliverer(house.settings, house.database, threading.Event(), lambda: seconds[0])
        deliverer.deliver_due()
        seconds[0] += 3600  # a pause: it counts as half a lease
        deliverer.deliver_due()
        assert receiver.received == []
        seconds[0] += LEASE_S / 2
        deliverer.deliver_due()
        assert [request.headers["webhook-id"] for request in receiver.received] == [delivery.id]
    assert reread(house, delivery).state == "delivered"


def test_the_key_is_made_once_and_for_this_user_only(tmp_path):
    settings = Settings(data_dir=tmp_path)
    webhook = SimpleNamespace(id="whk_1", generation=1)
    made = set()
    threads = [threading.Thread(target=lambda: made.add(load_signer(settings).secret(webhook))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_signer(settings).secret(webhook) in made


@pytest.mark.parametrize("content", [b"", b"\xff" * 64], ids=["empty", "no text"])
def test_a_key_with_which_anybody_could_sign_is_refused(tmp_path, content):
    (tmp_path / "webhook.key").write_bytes(content)
    with pytest.raises(BadSetting, match="Restore it from a backup"):
        check_settings(Settings(data_dir=tmp_path))


def test_a_shared_database_needs_a_key_from_the_settings(house):
    shared = house.settings.replace(database_url=house.settings.database)
    with pytest.raises(WebhooksOff):
        load_signer(shared)
    with pytest.raises(BadSetting):
        load_signer(shared.replace(webhook_key="short"))
    one, two = (load_signer(shared.replace(webhook_key=letter * 32)) for letter in "ab")
    webhook = SimpleNamespace(id="whk_1", generation=1)
    assert one.secret(webhook) != two.secret(webhook)
    assert "a" * 32 not in repr(shared.replace(webhook_key="a" * 32))


def test_without_a_key_deliveries_wait(house):
    with Receiver(200) as receiver:
        delivery = send_test(house, new_webhook(house, receiver.url))
        house.settings = house.settings.replace(database_url=house.settings.database)
        deliver(house)
        assert reread(house, delivery).attempts == 0
        house.settings = house.settings.replace(webhook_key="k" * 32)
        deliver(house)
    assert reread(house, delivery).state == "delivered"


def test_secrets_stay_out_of_logs_and_rows(house, caplog):
    with Receiver(500) as receiver, caplog.at_level("DEBUG"):
        webhook = new_webhook(house, receiver.url)
        send_test(house, webhook)
        deliver(house)
        key = (house.settings.data_dir / "webhook.key").read_text()
    secret = load_signer(house.settings).secret(webhook)
    stored = (house.settings.data_dir / "adnerf.db").read_bytes()
    stored += (house.settings.data_dir / "adnerf.db-wal").read_bytes()
    for word in (key, secret, secret.removeprefix("whsec_")):
        assert word not in caplog.text
        assert word.encode() not in stored
