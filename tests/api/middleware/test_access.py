"""A service without keys answers its own machine only, whoever pretends to be it."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.conftest import VIDEO, check_problem

STRANGERS = {
    "a name bound to 127.0.0.1": {"Host": "evil.example"},
    "another address of this machine": {"Host": "10.1.2.3:8000"},
    "no name": {"Host": ""},
    "a page from elsewhere": {"Origin": "https://evil.example"},
    "a page from nowhere": {"Origin": "null"},
    "a page of another port": {"Origin": "http://localhost:3000"},
    "a page of another name for this machine": {"Host": "localhost:8000", "Origin": "http://127.0.0.1:8000"},
    "a page of another scheme": {"Host": "localhost:8000", "Origin": "https://localhost:8000"},
    "a page without a port": {"Host": "localhost:8000", "Origin": "http://localhost"},
    "a proxy": {"X-Forwarded-For": "127.0.0.1"},
    "a newer proxy": {"Forwarded": "for=127.0.0.1"},
    "a proxy that names itself": {"Via": "1.1 proxy"},
}
FRIENDS = [
    {},
    {"Host": "localhost"},
    {"Host": "localhost:8000"},
    {"Host": "[::1]:8000"},
    {"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:8000"},
    {"Host": "localhost", "Origin": "http://localhost:80"},
    {"Host": "[::1]:8000", "Origin": "http://[::1]:8000", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site"},  # a link from another page
]


@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_gets_nothing(client, headers):
    for method, path in (("GET", "/v1/subjects"), ("POST", "/v1/keys"), ("GET", "/docs"), ("GET", "/metrics")):
        check_problem(client.request(method, path, headers=headers), "keys_needed")
    assert client.get("/healthz", headers=headers).status_code == 200


@pytest.mark.parametrize("headers", FRIENDS, ids=str)
def test_this_machine_gets_everything(client, headers):
    for path in ("/v1/subjects", "/v1/keys", "/docs", "/metrics"):
        assert client.get(path, headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_origin_changes_nothing(client, site):
    for method, path in (("POST", "/v1/keys"), ("DELETE", "/v1/subjects/sub_1"), ("PATCH", "/v1/subjects/sub_1")):
        check_problem(client.request(method, path, headers={"Sec-Fetch-Site": site}), "keys_needed")


def test_a_page_of_another_port_cannot_send_footage(client):
    headers = {"Origin": "http://localhost:3000", "Host": client.base_url.netloc.decode()}
    files = {"video": ("ann.mp4", VIDEO)}
    sent = client.post("/v1/subjects", data={"name": "A", "consent": "A agreed"}, files=files, headers=headers)
    check_problem(sent, "keys_needed")
    own = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    sent = client.post("/v1/subjects", data={"name": "A", "consent": "A agreed"}, files=files, headers=own)
    assert sent.status_code == 202


@pytest.mark.parametrize(
    ("address", "status"),
    [(("10.1.2.3", 5), 403), (("::ffff:10.1.2.3", 5), 403), (None, 403), (("127.0.0.1", 5), 200), (("::1", 5), 200)],
)
def test_where_a_request_comes_from(app, address, status):
    """As uvicorn tells it, however it was started."""
    scope = {"type": "http", "method": "GET", "path": "/v1/subjects", "raw_path": b"/v1/subjects", "query_string": b""}
    scope |= {"headers": [(b"host", b"localhost")], "client": address, "server": ("localhost", 80), "scheme": "http"}
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app({**scope, "http_version": "1.1", "root_path": "", "asgi": {"version": "3.0"}}, receive, send))
    assert sent[0]["status"] == status
