"""ETags: every JSON response to a GET has one, and a client that already has it gets 304 Not Modified (RFC 9110, section 13).

This makes polling cheap on the wire, and no route can forget it. The response is still computed: what is saved is sending it,
and parsing it on the client's side.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.requests.if_match import etag_of
from api.responses.byte_ranges import not_modified

PATH_PREFIX = "/v1/"
"""Paths with ETags: resources, but not the state of the service."""
CACHE_CONTROL = "private, no-cache"
"""Default Cache-Control: only the client itself may store the response, and must revalidate it each time."""
BODY_HEADERS = ("content-length", "content-type")
"""Headers that a 304 response must not have."""


class ETagMiddleware:
    """ASGI middleware. Streamed responses, responses with an ETag and responses that must not be stored stay unchanged."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(PATH_PREFIX):
            await self.app(scope, receive, send)
            return
        held: Message | None = None

        async def send_tagged(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _can_be_tagged(message):
                held = message  # until the body arrives, of which the tag is a digest
                return
            if held is not None:
                start, held = held, None
                if not message.get("more_body"):
                    message = _tag(Request(scope), start, message)
                await send(start)
            await send(message)

        await self.app(scope, receive, send_tagged)


def _can_be_tagged(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    json = headers.get("content-type", "").startswith("application/json")
    return (
        start["status"] == 200 and json and "etag" not in headers and "no-store" not in headers.get("cache-control", "")
    )


def _tag(request: Request, start: Message, body: Message) -> Message:
    """Adds the ETag to the response; returns the body to send, which is empty if the client has this version."""
    headers = MutableHeaders(scope=start)
    headers["ETag"] = etag = etag_of(body["body"])
    headers.setdefault("Cache-Control", CACHE_CONTROL)
    if not not_modified(request, etag):
        return body
    start["status"] = 304
    for name in BODY_HEADERS:
        del headers[name]
    return {**body, "body": b""}
