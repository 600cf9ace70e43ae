"""ASGI middleware that guards the JSON bodies which FastAPI reads for its routes."""

from __future__ import annotations

from hashlib import sha256

from python_multipart.multipart import parse_options_header
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems.problems import Problem
from api.requests.json_body import JSON_BYTES, parse_json
from api.requests.multipart import body_chunks


class JsonBodyMiddleware:
    """Limits the size and the waiting time of JSON bodies, and records their digest.

    FastAPI asks for a body only once a route was found that declares one as a parameter. At that moment this middleware
    reads the body: it checks the Content-Type, stops after `JSON_BYTES` bytes or a stall, stores the SHA-256 as
    `request.state.body_digest` (for api/requests/idempotency.py), and checks that the body is JSON. The problems that it raises
    pass through FastAPI to the application's exception handlers. Routes that read their own bodies (forms, tus) are unaffected.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = False

        async def receive_json() -> Message:
            nonlocal read
            # scope["route"] is set by the router, so it is known here and not before.
            if read or getattr(scope.get("route"), "body_field", None) is None:
                return await receive()
            read = True
            body = await _read_json(Request(scope, receive))
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, receive_json if scope["type"] == "http" else receive, send)


async def _read_json(request: Request) -> bytes:
    """The whole body.

    Raises Problem `unsupported_media_type`, `body_too_large`, `upload_stalled` or `validation_failed`.
    """
    media_type, _ = parse_options_header(request.headers.get("content-type"))
    if media_type != b"application/json":
        raise Problem(
            "unsupported_media_type", "This request takes JSON.", remedy="Send Content-Type: application/json."
        )
    body = bytearray()
    too_large = Problem("body_too_large", f"A JSON body may have {JSON_BYTES} bytes.")
    async for chunk in body_chunks(request, JSON_BYTES, too_large):
        body += chunk
    request.state.body_digest = sha256(body).hexdigest()
    parse_json(bytes(body))
    return bytes(body)
