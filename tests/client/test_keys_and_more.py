"""Keys, webhooks and verification, through the client and its commands."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adnerf.__main__ import main
from adnerf_client import AdnerfError, Client, NotFound
from adnerf_client import models as ours
from adnerf_client.errors import NotAllowed, StillRunning
from api.schemas import verifications, webhooks
from storage.local_token import load_or_create
from storage.tables import api_keys
from tests.api.conftest import empty_database  # noqa: F401 (a fixture)
from tests.client.conftest import CONSENT, Service, a_service

HOOK = "https://93.184.215.14/hook"  # public, and no name to look up


def test_keys_separate_owners(service, monkeypatch, capsys):
    with service.app.state.database.session() as session:
        tokens = [api_keys.create(session, owner=who, name=who, scopes=["read", "write"])[1] for who in ("ann", "bob")]
    ann, bob = (service.client(api_key=token) for token in tokens)
    subject = ann.subjects.create(service.file(), consent=CONSENT)
    assert [each.id for each in ann.subjects.list()] == [subject.id] and list(bob.subjects.list()) == []
    with pytest.raises(NotFound):
        bob.subjects.get(subject)
    for stranger in (service.client(), service.client(api_key="adnerf_wrong")):
        with pytest.raises(NotAllowed) as caught:
            stranger.subjects.get(subject)
        assert caught.value.status == 401 and caught.value.code
    assert main(["subjects", "list", "--url", service.url, "--api-key", "adnerf_wrong"]) == 1
    monkeypatch.setenv("ADNERF_API_KEY", tokens[0])
    assert main(["subjects", "list", "--url", service.url]) == 0
    printed = capsys.readouterr()
    assert subject.id in printed.out and "adnerf_wrong" not in printed.err


@pytest.fixture
def wary(tmp_path, empty_database) -> Iterator[Service]:  # noqa: F811
    """A service without keys that requires its local token."""
    with a_service(tmp_path, empty_database, open_mode="token") as service:
        yield service


def test_without_keys_the_client_finds_the_local_token_by_itself(wary, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADNERF_DATA_DIR", raising=False)
    file = wary.settings.data_dir / "local-token"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("ADNERF_DATA_DIR", str(elsewhere))
    with pytest.raises(NotAllowed):
        list(wary.client().subjects.list())
    for name, value in (("ADNERF_TOKEN_FILE", file), ("ADNERF_DATA_DIR", file.parent)):
        with monkeypatch.context() as patch:
            patch.setenv(name, str(value))
            assert list(wary.client().subjects.list()) == []
            assert main(["subjects", "list", "--url", wary.url]) == 0
    monkeypatch.delenv("ADNERF_DATA_DIR")
    monkeypatch.chdir(file.parent.parent)
    assert file.parent.name == "data"
    assert list(wary.client().subjects.list()) == []


def test_the_token_goes_to_this_machine_only(monkeypatch, tmp_path):
    token = load_or_create(tmp_path)
    monkeypatch.setenv("ADNERF_DATA_DIR", str(tmp_path))
    seen = []

    def answer(request):
        seen.append(request.headers.get("Authorization"))
        return httpx.Response(200, json={"items": [], "next_cursor": None})

    for url in ("http://127.0.0.1:1", "http://service.example"):
        with Client(url, transport=httpx.MockTransport(answer)) as client:
            list(client.subjects.list())
    assert seen == [f"Bearer {token}", None]


def test_the_token_does_not_go_to_another_users_program(wary, monkeypatch, tmp_path):
    """The service's port, which another user could take while the service is stopped."""
    monkeypatch.setenv("ADNERF_DATA_DIR", str(wary.settings.data_dir))
    client = wary.client()
    assert list(client.subjects.list()) == []
    header, *rows = Path("/proc/net/tcp").read_text().splitlines()
    port = f":{httpx.URL(wary.url).port:04X}"
    (row,) = (row for row in rows if port in row and row.split()[3] == "0A")
    table = tmp_path / "tcp"
    monkeypatch.setattr("adnerf_client.local_token.TABLES", (table, tmp_path / "missing"))
    table.write_text("\n".join([header, row.replace(f" {os.geteuid()} ", " 54321 ", 1)]))
    with pytest.raises(NotAllowed):
        list(client.subjects.list())
    table.write_text("\n".join([header, row]))
    assert list(client.subjects.list()) == []


def test_webhooks_by_the_client(service, client):
    webhook = client.webhooks.create(HOOK, events=["video.ready"], description="the editor")
    assert webhook.secret.startswith("whsec_") and client.webhooks.get(webhook).secret is None
    assert client.webhooks.change(webhook, enabled=False).disabled_because == "request"
    assert client.webhooks.change(webhook, enabled=True).enabled
    assert client.webhooks.rotate(webhook).secret not in (None, webhook.secret)
    delivery = client.webhooks.test(webhook)
    assert [each.id for each in client.webhooks.deliveries(webhook, state="pending")] == [delivery.id]
    assert client.webhooks.replay(delivery).id == delivery.id
    assert [each.url for each in client.webhooks.list()] == [HOOK]
    client.webhooks.delete(webhook)
    assert list(client.webhooks.list()) == []


def test_webhooks_by_commands(service, monkeypatch, capsys):
    monkeypatch.setenv("ADNERF_URL", service.url)

    def adnerf(*words):
        assert main(["webhooks", *words]) == 0
        return capsys.readouterr().out

    webhook = json.loads(adnerf("create", HOOK, "--event", "video.ready", "--event", "subject.ready", "--json"))
    assert set(webhook["events"]) == {"video.ready", "subject.ready"} and webhook["secret"]
    assert webhook["id"] in adnerf("list") and "off (request)" in (adnerf("disable", webhook["id"]), adnerf("list"))[1]
    assert json.loads(adnerf("enable", webhook["id"], "--json"))["enabled"]
    assert "whsec_" in adnerf("rotate", webhook["id"]) and "webhook.test" in adnerf("test", webhook["id"])
    assert "pending" in adnerf("deliveries", webhook["id"]) and "whsec_" not in adnerf("show", webhook["id"])
    adnerf("delete", webhook["id"])


def verification(state, **more):
    moment = "2026-01-01T00:00:00Z"
    end = {} if state == "queued" else {"finished_at": moment}
    return {"id": "ver_1", "state": state, "created_at": moment, **end, **more}


def test_a_subject_is_exported_and_imported(service, client, monkeypatch, capsys, tmp_path):
    service.start_worker()
    subject = client.wait(client.subjects.create(service.file(), consent="Ann agreed"), timeout=60)
    monkeypatch.setenv("ADNERF_URL", service.url)
    assert main(["subjects", "export", subject.id, "-o", str(tmp_path / "ann.zip")]) == 0
    assert main(["subjects", "import", str(tmp_path / "ann.zip"), "--name", "Ann again"]) == 0
    capsys.readouterr()
    (again,) = (each for each in client.subjects.list() if each.name == "Ann again")
    assert again.state == "ready" and again.imported_from.subject_id == subject.id
    video = client.wait(client.videos.create(again, duration_s=1), timeout=60)
    assert video.state == "ready" and not list(tmp_path.glob(".*"))


def test_verify_waits_for_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr("adnerf_client.client.VERIFY_LOOK_S", 0.0)
    film = tmp_path / "found.mp4"
    film.write_bytes(b"film")
    answers = [
        (202, verification("queued")),
        (200, verification("queued")),
        (200, verification("succeeded", made_here=True)),
    ]
    requests = []

    def answer(request):
        requests.append((request.method, request.url.path))
        status, body = answers.pop(0)
        return httpx.Response(status, json=body)

    with Client("http://service", transport=httpx.MockTransport(answer)) as client:
        assert client.verify(film).made_here is True
    assert requests == [("POST", "/v1/verify"), *[("GET", "/v1/verifications/ver_1")] * 2]


def test_verifying_waits_for_a_limited_time(tmp_path, monkeypatch):
    monkeypatch.setattr("adnerf_client.client.VERIFY_LOOK_S", 0.01)
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=verification("queued")))
    with Client("http://service", transport=transport) as client, pytest.raises(StillRunning, match="ver_1"):
        client.verify(film, timeout=0.05)


def test_a_file_that_cannot_be_verified_raises_with_its_remedy(tmp_path):
    film = tmp_path / "found.mp4"
    film.write_bytes(b"film")
    error = {"code": "not_media", "message": "It is broken.", "remedy": "Send it whole."}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=verification("failed", error=error)))
    with Client("http://service", transport=transport) as client, pytest.raises(AdnerfError, match="whole") as caught:
        client.verify(film)
    assert caught.value.code == "not_media"


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (ours.Webhook, webhooks.WebhookWithSecret),
        (ours.Delivery, webhooks.Delivery),
        (ours.Verification, verifications.Verification),
        (ours.Credentials, verifications.CredentialsFound),
        (ours.Mark, verifications.MarkFound),
    ],
)
def test_the_fields_exist_in_the_schemas_of_the_service(mine, theirs):
    assert set(mine.model_fields) <= set(theirs.model_fields)
