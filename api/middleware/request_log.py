"""Request ids, the access log, and metrics by route."""

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
"""Request ids of clients that may go into logs; others are replaced."""

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600)
"""Upper bounds of the latency histogram, seconds: from polling to the upload of a long video."""

UNMATCHED = "unmatched"
"""Route label of requests to unknown paths, which must not become labels: clients can invent any number."""
POLLED = ("/healthz", "/readyz", "/metrics")
"""Routes that supervisors poll; they are logged only when they fail."""


CLIENT_CLOSED_REQUEST = 499
"""Status of requests whose client disconnected before the response; nginx uses the same number."""


class RequestMetrics:
    """Latency and number of requests by method, route and status; the number of label values is bounded."""

    def __init__(self, registry: CollectorRegistry):
        self.seconds = Histogram(
            "adnerf_http_request_seconds",
            "Seconds until the response starts, including the time in which the request's body arrived.",
            ("method", "route", "status"),
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.in_progress = Gauge("adnerf_http_requests_in_progress", "Requests in progress.", registry=registry)


class RequestLogMiddleware:
    """ASGI middleware that sets the request id, and logs and measures each response."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent_id = Headers(scope=scope).get(HEADER, "")
        request_id = sent_id if SAFE.fullmatch(sent_id) else secrets.token_hex(8)
        started_at, status = time.perf_counter(), None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
                self._record(scope, status, time.perf_counter() - started_at)
            await send(message)

        with logs.log_context(request_id=request_id), self.metrics.in_progress.track_inprogress():
            try:
                await self.app(scope, receive, send_with_id)
            except Exception:
                log.exception("unexpected exception")
                if status is not None:
                    raise  # the response has started: only a broken connection shows that it is incomplete
                await Problem("internal_error").response()(scope, receive, send_with_id)
            finally:
                if status is None:
                    self._record(scope, CLIENT_CLOSED_REQUEST, time.perf_counter() - started_at)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.seconds.labels(method, route, str(status)).observe(seconds)
        level = logging.DEBUG if route in POLLED and status < 500 else logging.INFO
        named = scope.get("path_params", {}).items()
        # Of the parameters, ids alone: a token is a secret, and other names may be those of logging's own fields.
        ids = {name: value for name, value in named if name.endswith("_id") and SAFE.fullmatch(str(value))}
        state = scope.get("state", {})  # set by api/middleware/access.py
        caller = state.get("caller")
        if caller is not None and caller.key_id is not None:
            ids["key_id"] = caller.key_id
        elif "client_address" in state:
            ids["client"] = state["client_address"]
        log.log(level, "%s %s %d", method, route, status, extra={"status": status, "seconds": round(seconds, 4), **ids})
