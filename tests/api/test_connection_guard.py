"""Strangers who send half of a request, and more connections than there are descriptors."""

from __future__ import annotations

import importlib.util
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace

import h11
import httpx
import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from api import connection_guard
from api.connection_guard import guarded_protocol
from api.middleware.client_address import ClientAddresses
from api.problems.problems import Problem
from storage.tables import api_keys
from tests.api.conftest import check_problem
from tests.servers import free_port

HALF = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
TRICKLE = (
    "POST /v1/subjects HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n--x\r\n"
)
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def served(app, max_connections=100, proxies="127.0.0.1", **options):
    """`app` behind uvicorn with guarded connections, in a thread; yields the port. The tests are many clients behind `proxies`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        protocol = guarded_protocol(max_connections, ClientAddresses(proxies))
        config = uvicorn.Config(app, log_level="critical", http=protocol, timeout_keep_alive=30, **options)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def everything(connection: socket.socket) -> bytes:
    """What comes until the connection is closed."""
    data = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            data += chunk
    return data


def response(connection: socket.socket) -> bytes:
    """The status line of the next response; the whole response is read."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head.splitlines()[0]


def test_the_head_of_a_request_has_a_deadline_however_slowly_it_comes(app, monkeypatch):
    monkeypatch.setattr(connection_guard, "HEAD_S", 1.0)
    with served(app) as port, connect(port) as silent, connect(port) as half, connect(port) as slow:
        half.sendall(HALF)
        slow.sendall(HALF)
        start = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - start < 20:
                slow.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - start < 15
        assert is_closed(silent) and is_closed(half)


def test_the_deadline_holds_for_every_request_of_a_connection_and_leaves_idle_ones_alone(app, monkeypatch):
    monkeypatch.setattr(connection_guard, "HEAD_S", 1.0)
    with served(app) as port, connect(port) as connection:
        for _ in range(3):
            connection.sendall(WHOLE)
            assert b"200" in response(connection)
        time.sleep(2)  # longer than the deadline: an idle connection is uvicorn's business
        connection.sendall(WHOLE + WHOLE)  # pipelined
        assert b"200" in response(connection)
        with connect(port) as other:
            other.sendall(WHOLE)
            assert b"200" in response(other)
            other.sendall(HALF)
            assert is_closed(other)


CHUNKED = b"POST /v1/subjects HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_body_in_tiny_chunks_is_refused_with_the_reason(caplog):
    """Parsing 40,000 takes a second, in which nobody else is answered."""
    received = 0

    async def app(scope, receive, send):
        nonlocal received
        while scope["type"] == "http" and (event := await receive())["type"] == "http.request":
            received += len(event["body"])

    with served(app) as port, connect(port) as connection:
        connection.sendall(CHUNKED + b"1\r\nx\r\n" * 20_000)
        told = connection.makefile("rb").read()
        assert told.startswith(b"HTTP/1.1 400") and connection_guard.TOO_SMALL.encode() in told
    assert received <= connection_guard.SMALL_CHUNKS + 1 and not caplog.records


def test_tiny_chunks_after_a_refusal_end_the_connection(app, caplog):
    with served(app) as port, connect(port) as connection:
        connection.sendall(CHUNKED)
        assert response(connection).split()[1] != b"200"
        connection.sendall(b"1\r\nx\r\n" * 20_000)
        assert is_closed(connection)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_chunks_that_are_whole_or_come_slowly_are_taken(monkeypatch):
    monkeypatch.setattr(connection_guard, "SMALL_CHUNKS", 10)
    monkeypatch.setattr(connection_guard, "SMALL_CHUNKS_PER_S", 1000)

    async def app(scope, receive, send):
        size = 0
        while scope["type"] == "http" and (event := await receive())["type"] == "http.request":
            size += len(event["body"])
            if not event["more_body"]:
                head = [(b"content-length", b"%d" % len(str(size)))]
                await send({"type": "http.response.start", "status": 200, "headers": head})
                await send({"type": "http.response.body", "body": b"%d" % size})
                return

    whole = b"400\r\n" + b"x" * 1024 + b"\r\n"
    with served(app) as port, connect(port) as connection:
        connection.sendall(CHUNKED + whole * 500)
        for _ in range(30):
            connection.sendall(b"1\r\nx\r\n")
            time.sleep(0.005)
        connection.sendall(b"0\r\n\r\n")
        assert b"200" in response(connection)


def test_chunks_that_arrive_in_pieces_count_as_wholes():
    parser = connection_guard.GuardedParser()
    parser.receive_data(CHUNKED)
    assert isinstance(parser.next_event(), h11.Request)
    received, sent = 0, (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 2000
    for first in range(0, len(sent), 1448):
        parser.receive_data(sent[first : first + 1448])
        while isinstance(event := parser.next_event(), h11.Data):
            received += len(event.data)
    assert received == 2000 * 4096


def test_a_head_of_thousands_of_lines_is_refused_before_it_is_parsed(app):
    many = WHOLE[:-2] + b"a:b\r\n" * 12_900 + b"\r\n"
    with served(app) as port:
        for sent in (many, many[:-2], many.replace(b"\r", b"")):
            with connect(port) as stranger:
                stranger.sendall(sent)
                assert b" 400 " in everything(stranger)
        with connect(port) as stranger:
            stranger.sendall(WHOLE + many)  # one behind the other
            assert everything(stranger).count(b"HTTP/1.1 200") == 1
        with connect(port) as client:
            client.sendall(WHOLE[:-2] + b"a:b\r\n" * 150 + b"\r\n")
            assert b"200" in response(client)


def test_a_response_that_takes_longer_than_the_deadline_is_not_cut(monkeypatch):
    monkeypatch.setattr(connection_guard, "HEAD_S", 0.5)

    async def app(scope, receive, send):
        if scope["type"] == "http":
            import asyncio

            await asyncio.sleep(1.5)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    with served(app) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/").text == "ok"


def test_a_new_connection_replaces_the_one_that_has_waited_longest(app):
    with served(app, max_connections=5) as port, ExitStack() as stack:
        waiting = [stack.enter_context(connect(port)) for _ in range(5)]
        for connection in waiting:
            connection.sendall(HALF)
        time.sleep(0.5)
        for _ in range(3):
            with connect(port) as connection:
                connection.sendall(WHOLE)
                assert b"200" in response(connection)
                time.sleep(0.1)
        assert is_closed(waiting[0])


def test_one_tenant_s_trickling_bodies_leave_connections_to_others(app):
    with app.state.database.session() as session:
        mallory, bob = (
            api_keys.create(session, owner=owner, name=owner, scopes=["read", "write"])[1]
            for owner in ("mallory", "bob")
        )
    app.state.request_shares.connections = 20
    with served(app, max_connections=20) as port, ExitStack() as stack:
        held = [stack.enter_context(connect(port)) for _ in range(30)]
        for connection in held:
            connection.sendall(TRICKLE.format(token=mallory).encode())
        time.sleep(1)
        for _ in range(3):
            for connection in held:
                with suppress(OSError):  # those beyond the share were answered, and replaced
                    connection.sendall(b"-")
            answer = httpx.get(f"http://127.0.0.1:{port}/v1/me", headers={"Authorization": f"Bearer {bob}"}, timeout=10)
            assert answer.status_code == 200
        refused = httpx.get(
            f"http://127.0.0.1:{port}/v1/me", headers={"Authorization": f"Bearer {mallory}"}, timeout=10
        )
        check_problem(refused, "rate_limited")
        assert refused.headers["retry-after"]
        for connection in held:
            connection.close()
        for _ in range(100):
            answer = httpx.get(f"http://127.0.0.1:{port}/v1/me", headers={"Authorization": f"Bearer {mallory}"})
            if answer.status_code == 200:
                break
            time.sleep(0.1)
        assert answer.status_code == 200, "her share is free again"


@pytest.mark.parametrize("times", [1, 200], ids=["closing", "pipelined"])
def test_a_client_that_reads_nothing_is_closed_and_a_slow_one_is_not(monkeypatch, times):
    monkeypatch.setattr(connection_guard, "READ_S", 1.0)
    monkeypatch.setattr(connection_guard, "READ_BYTES", 20_000)
    body = b"x" * 400_000
    ended = []

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"400000")]})
            await send({"type": "http.response.body", "body": body})
            ended.append(scope["path"])

    request = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
    with served(app) as port, few_bytes(port) as silent, few_bytes(port) as slow:
        silent.sendall(request % (b"silent", b"Connection: close\r\n" if times == 1 else b"") * times)
        slow.sendall(request % (b"slow", b"Connection: close\r\n"))
        received, start = 0, time.monotonic()
        while chunk := slow.recv(4096):  # 10 times as long as the deadline, but above the least speed
            received += len(chunk)
            time.sleep(0.02)
        assert received > 400_000 and time.monotonic() - start > 1.5
        with pytest.raises(ConnectionResetError):
            while silent.recv(65536):
                pass
    assert ended.count("/silent") < 200


def few_bytes(port):
    """A connection whose kernel takes few bytes before they are read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", port))
    return connection


def test_one_address_has_a_fourth_of_the_connections_unless_it_is_a_trusted_proxy(app):
    for proxies, left in (("", 5), ("127.0.0.1", 12)):
        with served(app, max_connections=20, proxies=proxies) as port, ExitStack() as stack:
            held = [stack.enter_context(connect(port)) for _ in range(12)]
            time.sleep(0.5)
            for connection in held:
                connection.setblocking(False)
            closed = [connection for connection in held if is_reset(connection)]
            assert closed == held[: 12 - left], "the oldest ones that wait are replaced"
            with connect(port) as another:
                another.sendall(WHOLE)
                assert b"200" in response(another)


def is_reset(connection: socket.socket) -> bool:
    try:
        return is_closed(connection)
    except BlockingIOError:
        return False


def test_refusals_and_probes_have_shares_too(app):
    api_key(app)
    app.state.request_shares.connections = 4
    with served(app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        for caller, path in (("address 127.0.0.1", "/v1/me"), ("probes 127.0.0.1", "/healthz")):
            free = client.get(path)
            with share_of(app, caller):
                check_problem(client.get(path), "rate_limited")
            assert client.get(path).status_code == free.status_code != 429


def share_of(app, caller: str):
    """The share of a caller whose last request has ended for the client, and ends for the service in a moment."""
    for _ in range(500):
        with suppress(Problem), ExitStack() as stack:
            stack.enter_context(app.state.request_shares.take(caller))
            return stack.pop_all()
        time.sleep(0.01)
    raise AssertionError("the share stays taken")


def test_libraries_that_happen_to_be_installed_do_not_replace_the_bounded_connection(app, monkeypatch):
    """uvicorn would take a faster parser without bounds, and hand connections over to a library for WebSockets."""
    monkeypatch.setitem(sys.modules, "uvicorn.protocols.http.auto", SimpleNamespace(AutoHTTPProtocol=object))
    spec = importlib.util.spec_from_file_location("guard", connection_guard.__file__)
    spec.loader.exec_module(guard := importlib.util.module_from_spec(spec))
    assert issubclass(guard.GuardedProtocol, H11Protocol)
    with served(app, ws=object) as port, connect(port) as upgrading:
        upgrading.sendall(WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
        assert response(upgrading) == b"HTTP/1.1 200 OK"


def api_key(app) -> None:
    with app.state.database.session() as session:
        api_keys.create(session, owner="ann", name="ann", scopes=["read"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as on Linux")
def test_half_sent_requests_beyond_the_descriptors_do_not_stop_the_service(settings):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 256))

    port = free_port()
    environment = os.environ | {"ADNERF_DATA_DIR": str(settings.data_dir)}
    command = [sys.executable, "-m", "api", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, preexec_fn=few)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                assert httpx.get(f"{url}/healthz", timeout=5).status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.2)
        with ExitStack() as stack:
            for _ in range(300):
                connection = stack.enter_context(connect(port))
                connection.sendall(HALF)
            for path in ("/healthz", "/v1/subjects", "/readyz"):
                assert httpx.get(f"{url}{path}", timeout=20).status_code == 200
    finally:
        process.terminate()
        process.wait(30)
