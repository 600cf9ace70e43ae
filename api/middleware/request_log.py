"""What is seen of every request: its id, a line in the log, and figures by route."""

from __future__ import annotations

import logging
import re
import secrets
import time

from prometheus_client import CollectorRegistry, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems.problems import METHODS, Problem
from worker import logs

log = logging.getLogger(__name__)

HEADER = "X-Request-Id"
SAFE = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""An id from outside that may go into logs; another one is replaced."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600)
"""Bounds of the latency's buckets: from polling to the upload of a long video."""

UNMATCHED = "unmatched"
"""The route of requests to paths that there are not; their paths are whatever somebody tries, and stay out."""
WATCHED = ("/healthz", "/readyz", "/metrics")
"""Routes that are asked all the time, and of which the log is silent while all is well."""


GONE = 499
"""The status of requests whose sender was gone before the answer, as nginx has it."""


class RequestMetrics:
    """Latency and number of requests by method, route and status. Few values each, whatever is asked for."""

    def __init__(self, registry: CollectorRegistry):
        self.seconds = Histogram(
            "adnerf_http_request_seconds",
            "Time until the answer begins, with the time that the request's body took to arrive.",
            ("method", "route", "status"),
            buckets=SECONDS,
            registry=registry,
        )
        self.in_progress = Gauge("adnerf_http_requests_in_progress", "Requests being answered.", registry=registry)


class RequestLogMiddleware:
    """ASGI middleware: takes or makes the id of a request, and tells of the answer."""

    def __init__(self, app: ASGIApp, figures: RequestMetrics):
        self.app, self.figures = app, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wanted = Headers(scope=scope).get(HEADER, "")
        request_id = wanted if SAFE.fullmatch(wanted) else secrets.token_hex(8)
        begun, status = time.perf_counter(), None

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
                self._tell(scope, status, time.perf_counter() - begun)
            await send(message)

        with logs.log_context(request_id=request_id), self.figures.in_progress.track_inprogress():
            try:
                await self.app(scope, receive, answer)
            except Exception:
                log.exception("unforeseen")
                if status is not None:
                    raise  # the answer has begun: only a broken connection can tell that it is not whole
                await Problem("internal_error").response()(scope, receive, answer)
            finally:
                if status is None:
                    self._tell(scope, GONE, time.perf_counter() - begun)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.figures.seconds.labels(method, route, str(status)).observe(seconds)
        level = logging.DEBUG if route in WATCHED and status < 500 else logging.INFO
        ids = {name: value for name, value in scope.get("path_params", {}).items() if SAFE.fullmatch(str(value))}
        caller = scope.get("state", {}).get("caller")  # api/middleware/access.py has put it there
        if caller is not None and caller.key_id is not None:
            ids["key_id"] = caller.key_id
        log.log(level, "%s %s %d", method, route, status, extra={"status": status, "seconds": round(seconds, 4), **ids})
