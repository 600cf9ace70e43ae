"""Security headers of every response: no scripts, no framing, no content sniffing.

A route that needs more sets the header itself (the page, a report, a shared video), and its value stays. Strict-Transport-Security is left to
the proxy in front, which knows whether the client uses TLS.
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
    "Permissions-Policy": "camera=(self), display-capture=(), geolocation=(), microphone=(self), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Defaults for responses that do not set the header. Camera and microphone are allowed because the page can record
footage and speech."""

CORS_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")
TUS_HEADERS = (
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Metadata",
    "Upload-Checksum",
    "Upload-Defer-Length",
)
CORS_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    IDEMPOTENCY_KEY,
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "Range",
    REQUEST_ID,
    *TUS_HEADERS,
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
    *TUS_HEADERS,
)


class SecurityHeaders:
    """ASGI middleware that adds the HEADERS that a response does not set."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                may_be_framed = "frame-ancestors *" in headers.get("Content-Security-Policy", "")
                for name, value in HEADERS.items():
                    if not (may_be_framed and name == "X-Frame-Options"):
                        headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


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
