"""Headers by which every answer tells browsers what it is not: no script, no part of another page, no other type.

A route that needs more says so itself (the page, a report); what it says stands. Which transport the client uses is known
to the proxy in front, which therefore adds Strict-Transport-Security where it is due.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware.request_log import HEADER as REQUEST_ID
from api.requests.idempotency import HEADER as IDEMPOTENCY_KEY
from api.requests.idempotency import REPLAYED
from storage.settings import Settings

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(self), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""What an answer gets where it does not say otherwise. The microphone: in the page, speech can be recorded."""

CORS_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")
TUS = ("Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Checksum", "Upload-Defer-Length")
CORS_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    IDEMPOTENCY_KEY,
    "If-None-Match",
    "Last-Event-ID",
    "Range",
    REQUEST_ID,
    *TUS,
)
CORS_RESPONSE_HEADERS = (
    "Content-Disposition",
    "Content-Range",
    "ETag",
    REPLAYED,
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Upload-Expires",
    REQUEST_ID,
    *TUS,
)


class SecurityHeaders:
    """ASGI middleware that adds HEADERS where they are not there."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, answer if scope["type"] == "http" else send)


def middleware(settings: Settings) -> list[Middleware]:
    """The middleware that adds headers to every response; CORS is included if the settings name origins of other sites."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=[origin.strip() for origin in settings.cors_origins.split(",")],
        allow_methods=CORS_METHODS,
        allow_headers=CORS_REQUEST_HEADERS,
        expose_headers=CORS_RESPONSE_HEADERS,
    )
    return [Middleware(SecurityHeaders), *([cors] if settings.cors_origins else [])]
