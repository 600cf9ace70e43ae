"""Large answers that their clients do not read: the rest waits, counted by caller."""

from __future__ import annotations

import asyncio
import socket

import pytest
from starlette.responses import JSONResponse

from api.middleware import answers_in_pieces
from api.middleware.answers_in_pieces import PIECE_BYTES, AnswersInPieces
from tests.api.test_connection_guard import served

SCOPE = {"type": "http", "method": "GET", "path": "/v1/videos", "headers": []}


@pytest.mark.parametrize("bodies", [[b"a" * (5 * PIECE_BYTES)], [b"a" * PIECE_BYTES, b"b"], [b"{}"], [b""]])
def test_an_answer_arrives_whole_in_pieces(bodies):
    sent = []

    async def collect(message):
        sent.append(message)

    async def answer():
        send = AnswersInPieces().sender("owner ann", SCOPE, None, collect)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number, body in enumerate(bodies, 1):
            await send({"type": "http.response.body", "body": body, "more_body": number < len(bodies)})

    asyncio.run(answer())
    start, *pieces = sent
    assert start["type"] == "http.response.start"
    assert b"".join(each["body"] for each in pieces) == b"".join(bodies)
    assert max(len(each["body"]) for each in pieces) <= PIECE_BYTES
    assert [each["more_body"] for each in pieces] == [True] * (len(pieces) - 1) + [False]


def test_what_one_caller_leaves_unread_is_bounded(monkeypatch):
    """Real connections: one client reads nothing; its next large answer is refused, small ones and those of others are not."""
    monkeypatch.setattr(answers_in_pieces, "HELD_BYTES", 40 << 20)
    answers = AnswersInPieces()
    large = JSONResponse({"text": "x" * (30 << 20)})  # more than the kernel's buffers hold

    async def app(scope, receive, send):
        if scope["type"] == "http":
            response = large if scope["path"] != "/small" else JSONResponse({})
            caller = dict(scope["headers"])[b"caller"].decode()
            await response(scope, receive, answers.sender(caller, scope, receive, send))

    def ask(port, path, caller):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nCaller: {caller}\r\n\r\n".encode())
        return connection, connection.recv(12)

    with served(app) as port:
        connections, heads = zip(
            *(ask(port, *request) for request in (("/", "ann"), ("/", "ann"), ("/small", "ann"), ("/", "bob"))),
            strict=True,
        )
        assert [head[9:] for head in heads] == [b"200", b"429", b"200", b"200"]
        for connection in connections:
            connection.close()
        again, head = ask(port, "/", "ann")  # what was left unread is not counted any more
        again.close()
        assert head[9:] == b"200"
