"""If-Match: a change or a deletion is refused if the resource is not what the client has seen (RFC 9110, section 13.1.1).

What a client names is the ETag of a GET, so the middleware makes one, for the same caller, and compares. Then the request goes on. Two
requests of the same moment can both pass: the header protects from versions that the client has not seen, not from a race.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems.problems import Problem

METHODS = ("PATCH", "DELETE")
OF_THE_CHANGE = (b"if-match", b"if-none-match", b"range", b"content-length", b"content-type", b"transfer-encoding")
"""Headers of the request that its GET does not have: conditions, and those of a body."""
OK = 200


class IfMatchMiddleware:
    """ASGI middleware. It stands before the one that makes ETags, and after the check of the key."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        condition = Headers(scope=scope).get("if-match") if scope["type"] == "http" else None
        if condition is None or scope["method"] not in METHODS or await self._matches(scope, condition):
            await self.app(scope, receive, send)
            return
        await Problem("precondition_failed").response()(scope, receive, send)

    async def _matches(self, scope: Scope, condition: str) -> bool:
        """Whether the resource has one of the ETags. True if there is none: the request then fails by itself, or has no condition."""
        headers = [(name, value) for name, value in scope["headers"] if name not in OF_THE_CHANGE]
        get = {**scope, "method": "GET", "headers": headers}
        starts: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                starts.append(message)

        await self.app(get, receive, send)
        if not starts or starts[0]["status"] != OK or condition.strip() == "*":
            return True
        etag = Headers(raw=starts[0]["headers"]).get("etag")
        return etag in [each.strip() for each in condition.split(",")]
