"""ASGI middleware for the headers of the tus protocol."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.requests.tus import PATH, VERSION


class TusMiddleware:
    """ASGI middleware for the paths of uploads.

    It adds the header Tus-Resumable to every response. For clients that can only send POST, it takes the method from
    X-HTTP-Method-Override.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{PATH}/"):
            await self.app(scope, receive, send)
            return
        method = Headers(scope=scope).get("x-http-method-override", "")
        if scope["method"] == "POST" and method in ("PATCH", "DELETE"):
            scope = {**scope, "method": method}

        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Tus-Resumable"] = VERSION
            await send(message)

        await self.app(scope, receive, send_with_version)
