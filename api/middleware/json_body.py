"""ASGI middleware that guards the JSON bodies which FastAPI reads for its routes."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.requests.json_body import parse_json, read_json


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
            body = await read_json(Request(scope, receive))
            parse_json(body)
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, receive_json if scope["type"] == "http" else receive, send)
