"""Tags: every JSON answer to a GET has an ETag, and who has it already is answered 304 (RFC 9110, section 13).

So that polling costs next to nothing on the wire, and no route can forget it. The answer is made all the same: what is
spared is the sending, and the reading on the other side.
"""

from __future__ import annotations

from hashlib import sha256

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.responses.byte_ranges import not_modified

BELOW = ("/v1/", "/openapi.json")
"""Where this holds: for resources, not for how the service is at the moment."""
CACHE = "private, no-cache"
"""What a cache may do with an answer that says nothing of it: keep it for the one who asked, and ask again each time."""
OF_A_BODY = ("content-length", "content-type")


class ETagMiddleware:
    """ASGI middleware. Answers that come in pieces, that have a tag already or that may not be kept are left as they are."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(BELOW):
            await self.app(scope, receive, send)
            return
        held: Message | None = None

        async def answer(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _can_be_tagged(message):
                held = message  # until the body is there of which the tag is made
                return
            if held is not None:
                begun, held = held, None
                if not message.get("more_body"):
                    message = _tag(Request(scope), begun, message)
                await send(begun)
            await send(message)

        await self.app(scope, receive, answer)


def _can_be_tagged(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    json = headers.get("content-type", "").startswith("application/json")
    return (
        start["status"] == 200 and json and "etag" not in headers and "no-store" not in headers.get("cache-control", "")
    )


def _tag(asked: Request, start: Message, body: Message) -> Message:
    """Tags the answer that begins with `start`; returns its body, which is empty where the asker has it."""
    headers = MutableHeaders(scope=start)
    headers["ETag"] = etag = f'"{sha256(body["body"]).hexdigest()[:32]}"'
    headers.setdefault("Cache-Control", CACHE)
    if not not_modified(asked, etag):
        return body
    start["status"] = 304
    for name in OF_A_BODY:
        del headers[name]
    return {**body, "body": b""}
