"""ASGI middleware that answers HEAD wherever GET is possible (RFC 9110, section 9.3.2)."""

from __future__ import annotations

from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FROM_ROUTER = ("route", "endpoint", "path_params")
"""Entries that the router adds to the scope, and that the access log needs."""


class HeadMiddleware:
    """Handles HEAD as a GET without its body, unless a route handles HEAD itself.

    Routes of large files and of event streams do so, because their bodies are expensive or endless.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        get = {**scope, "method": "GET"}
        own_route = _route(scope)
        handles_head = own_route is not None and type(own_route) is not Route  # a plain Route takes HEAD with each GET
        if handles_head or _route(get) is None:
            await self.app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope.update({name: get[name] for name in FROM_ROUTER if name in get})
            elif message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app(get, receive, send_without_body)


def _route(scope: Scope) -> BaseRoute | None:
    return next((route for route in scope["app"].router.routes if route.matches(scope)[0] == Match.FULL), None)
