"""ASGI middleware for the headers of the tus protocol."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.requests.tus import PATH, VERSION


class TusMiddleware:
    """ASGI middleware: every answer below `PATH` names the version, and methods may come in X-HTTP-Method-Override."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{PATH}/"):
            await self.app(scope, receive, send)
            return
        wanted = Headers(scope=scope).get("x-http-method-override", "")
        if scope["method"] == "POST" and wanted in ("PATCH", "DELETE"):
            scope = {**scope, "method": wanted}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Tus-Resumable"] = VERSION
            await send(message)

        await self.app(scope, receive, answer)
