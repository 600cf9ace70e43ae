"""Answers whose clients read slowly or not at all: the rest waits here, counted by caller, and not in the connection's buffer."""

from __future__ import annotations

from collections import Counter

from starlette.types import Message, Receive, Scope, Send

from api.problems.problems import Problem

PIECE_BYTES = 64 << 10
"""Bytes that are handed to a connection at a time; it takes more only when its client has read most of them."""
HELD_BYTES = 64 << 20
"""Bytes of the answers of one caller that may wait at the same time: a hundred of the largest pages."""
RETRY_S = 5
"""Retry-After of a request whose answer would be one too many."""


class AnswersInPieces:
    """Sends the bodies of answers that are no streams in pieces, and bounds what each caller leaves unread. Only the event loop uses it."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    def sender(self, caller: str, scope: Scope, receive: Receive, send: Send) -> Send:
        """Returns what an application sends the answer to one request of `caller` with."""
        start: Message | None = None
        refused = False

        async def send_in_pieces(message: Message) -> None:
            nonlocal start, refused
            if refused:
                return
            if message["type"] == "http.response.start":
                start = message  # until its body is known to find room
                return
            # A stream makes its next piece only when this one is sent, so it holds little.
            size = 0 if message.get("more_body") else len(message.get("body", b""))
            if start is not None and size > PIECE_BYTES and self._held[caller] + size > HELD_BYTES:
                refused = True
                detail = f"Answers of {HELD_BYTES >> 20} MiB wait to be read by you, the most that are kept."
                busy = Problem("rate_limited", detail, headers={"Retry-After": str(RETRY_S)})
                await busy.response()(scope, receive, send)
                return
            if start is not None:
                begin, start = start, None
                await send(begin)
            await self._send_body(caller, message, size, send)

        return send_in_pieces

    async def _send_body(self, caller: str, message: Message, size: int, send: Send) -> None:
        if size <= PIECE_BYTES:
            await send(message)
            return
        self._held[caller] += size
        try:
            body = memoryview(message["body"])
            for first in range(0, size, PIECE_BYTES):
                last = first + PIECE_BYTES >= size
                more = message.get("more_body", False) if last else True
                await send({**message, "body": bytes(body[first : first + PIECE_BYTES]), "more_body": more})
        finally:
            self._held[caller] -= size
            if not self._held[caller]:
                del self._held[caller]
