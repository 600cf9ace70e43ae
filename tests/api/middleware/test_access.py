"""A service without keys answers its own machine only, whoever pretends to be it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from api.app import create_app
from api.middleware import peer_user
from storage.local_token import FILE
from storage.settings import Settings
from storage.tables import api_keys
from tests.api.conftest import VIDEO, check_problem, serving

DOCS = Path(__file__).parents[3] / "docs"
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
    **{
        f"a proxy's {name}": {name: "1"}
        for name in (
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Forwarded-Port",
            "X-Real-IP",
            "X-Client-IP",
            "True-Client-IP",
            "Fly-Client-IP",
            "CF-Ray",
            "CF-Connecting-IP",
            "CDN-Loop",
            "X-Original-Host",
        )
    },
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
def test_where_a_request_comes_from(app, address, status, monkeypatch):
    """As uvicorn tells it, however it was started."""
    monkeypatch.setattr(peer_user, "is_own_user", lambda *_: True)
    scope = {"type": "http", "method": "GET", "path": "/v1/subjects", "raw_path": b"/v1/subjects", "query_string": b""}
    scope |= {"headers": [(b"host", b"localhost")], "client": address, "server": ("localhost", 80), "scheme": "http"}
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app({**scope, "http_version": "1.1", "root_path": "", "asgi": {"version": "3.0"}}, receive, send))
    assert sent[0]["status"] == status


def bearer(settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {(settings.data_dir / FILE).read_text().strip()}"}


def raw(url: str, request: bytes) -> bytes:
    host, _, port = url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_what_nginx_sends_by_default_is_refused(app):
    """Byte for byte: HTTP/1.0, the name of the target, and no header that tells of a proxy."""
    with serving(app) as url:
        head = f"Host: {url.removeprefix('http://')}\r\nConnection: close\r\nAccept: */*\r\n\r\n"
        refused = raw(url, f"GET /v1/me HTTP/1.0\r\n{head}".encode())
        assert b" 403 " in refused.splitlines()[0] and b"keys_needed" in refused
        assert b" 200 " in raw(url, f"GET /v1/me HTTP/1.1\r\n{head}".encode()).splitlines()[0]


AS_ANOTHER_USER = """
import encodings.idna, os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as connection:
    connection.sendall(sys.stdin.buffer.read())
    sys.stdout.buffer.write(b"".join(iter(lambda: connection.recv(65536), b"")))
"""

needs_users = pytest.mark.skipif(
    os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="only root of Linux can act as another user"
)


def as_another_user(url: str, request: bytes) -> bytes:
    command = [sys.executable, "-c", AS_ANOTHER_USER, url.rpartition(":")[2]]
    return subprocess.run(command, input=request, capture_output=True, check=True, timeout=60).stdout


@needs_users
def test_another_user_of_this_machine_gets_nothing_without_the_token(app, settings):
    with serving(app) as url:
        host = url.removeprefix("http://")
        head = f"Host: {host}\r\nConnection: close\r\n"
        for path, status in (("/v1/me", 403), ("/metrics", 403), ("/healthz", 200), ("/", 200)):
            answer = as_another_user(url, f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
            assert f" {status} " in answer.splitlines()[0].decode(), path
        body = json.dumps({"owner": "local", "name": "mine", "scopes": ["admin"]})
        typed = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        refused = as_another_user(url, f"POST /v1/keys HTTP/1.1\r\n{head}{typed}\r\n{body}".encode())
        assert b"keys_needed" in refused and b"another user" in refused
        token = bearer(settings)["Authorization"]
        answer = as_another_user(url, f"GET /v1/me HTTP/1.1\r\n{head}Authorization: {token}\r\n\r\n".encode())
        assert b" 200 " in answer.splitlines()[0]


PLAIN = "proxy_pass http://127.0.0.1:8000;"
KEEPING_ALIVE = PLAIN + ' proxy_http_version 1.1; proxy_set_header Connection "";'


@contextmanager
def nginx(folder, target: str, server: str):
    """A real nginx as it is usually installed: its workers run as another user. Yields its port.

    Args:
        folder: for its files.
        target: URL of the service, in place of http://127.0.0.1:8000.
        server: its `server` block, which listens on port 443; another port takes its place.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(
        textwrap.dedent(f"""
            user nobody nogroup; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
            events {{}}
            http {{
                access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
                include {folder}/server.conf;
            }}
        """)
    )
    server = server.replace("http://127.0.0.1:8000", target).replace("listen 443", f"listen 127.0.0.1:{port}")
    (folder / "server.conf").write_text(server)
    process = subprocess.Popen(["nginx", "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx: apt-get install nginx-light")


@needs_users
@needs_nginx
@pytest.mark.parametrize("location", [PLAIN, KEEPING_ALIVE], ids=["defaults", "HTTP/1.1"])
def test_a_service_without_keys_is_closed_behind_a_real_nginx(app, tmp_path, location):
    server = f"server {{ listen 443; location / {{ {location} }} }}"
    with (
        serving(app) as url,
        nginx(tmp_path, url, server) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as stranger,
    ):
        for method, path in (("GET", "/v1/me"), ("GET", "/v1/subjects"), ("GET", "/metrics")):
            check_problem(stranger.request(method, path), "keys_needed")
        made = stranger.post("/v1/keys", json={"owner": "local", "name": "mine", "scopes": ["admin"]})
        check_problem(made, "keys_needed")
        assert httpx.get(f"{url}/v1/me").status_code == 200


@needs_nginx
def test_the_proxy_of_the_documents_passes_uploads_on_as_they_come_and_names_the_client(settings, tmp_path, caplog):
    (server,) = re.findall(r"```nginx\n(.*?)```", (DOCS / "operations.md").read_text(), re.DOTALL)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    server = server.replace("/etc/nginx/adnerf-", f"{tmp_path}/")
    trusting = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    app = create_app(settings.replace(trusted_proxies="127.0.0.1"))
    with app.state.database.session() as session:
        _, token = api_keys.create(session, owner="local", name="first", scopes=["read", "write"])
    caplog.set_level("INFO")
    with (
        serving(app) as url,
        nginx(tmp_path, url, server) as port,
        # Nobody becomes somebody else by a header of his own.
        httpx.HTTPTransport(verify=trusting, local_address="127.0.0.2") as transport,
        httpx.Client(base_url=f"https://127.0.0.1:{port}", transport=transport) as client,
    ):
        check_problem(client.get("/v1/me", headers={"X-Forwarded-For": "203.0.113.9"}), "unauthorized")
        client.headers["Authorization"] = f"Bearer {token}"
        assert client.get("/v1/me").json()["owner"] == "local"
        files, data = {"video": ("ann.mp4", VIDEO + bytes(100_000))}, {"name": "A", "consent": "A agreed"}
        assert client.post("/v1/subjects", data=data, files=files).status_code == 202
    assert {getattr(record, "client", None) for record in caplog.records} - {None} == {"127.0.0.2"}
    assert "buffered" not in (tmp_path / "error.log").read_text()
    largest = int(re.search(r"client_max_body_size (\d+)m", server)[1]) * 2**20
    assert largest > Settings.model_fields["max_video_bytes"].default + 2**20


def test_the_token_is_accepted_as_a_key_would_be_until_there_is_one(client, app, settings):
    token = bearer(settings)
    assert client.get("/v1/me", headers=token | {"X-Forwarded-For": "10.1.2.3"}).status_code == 200
    wrong = {"Authorization": "Bearer adnerf-local-0", "X-Forwarded-For": "10.1.2.3"}
    check_problem(client.get("/v1/me", headers=wrong), "keys_needed")
    assert client.get("/v1/me", headers={"Authorization": "Bearer of any key"}).status_code == 200
    with app.state.database.session() as session:
        api_keys.create(session, owner="local", name="first", scopes=["read"])
    check_problem(client.get("/v1/me", headers=token), "unauthorized")


def test_the_token_can_be_required_of_everybody(settings):
    app = create_app(settings.replace(open_mode="token"))
    with serving(app) as url, httpx.Client(base_url=url) as client:
        for path in ("/v1/me", "/metrics"):
            check_problem(client.get(path), "unauthorized")
            assert client.get(path, headers=bearer(settings)).status_code == 200
        for path in ("/", "/docs", "/static/js/main.js", "/healthz"):
            assert client.get(path).status_code == 200
