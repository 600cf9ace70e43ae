"""The gate: who asks, how often, and whether they may; before anything of a request's body is read.

A service without keys is its machine's own: every request must come from a loopback address, unforwarded, and by a
loopback name. The last keeps out web pages elsewhere, which a browser on this machine shows: one whose name was rebound to
127.0.0.1 sends that name as `Host`, any other one sends its own as `Origin`. Once a key was made, what lies below /v1
needs one, from everywhere, and so does /metrics; the page and the documentation, which tell nothing of anybody, do not.
"""

from __future__ import annotations

import logging
from threading import Lock
from typing import NamedTuple
from urllib.parse import urlsplit

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import CHALLENGE, LOCAL_CALLER, READS, Caller, caller_of
from api.middleware.rate_limit import RateLimiter
from api.problems.problems import Problem, database_away
from storage.database.engine import Database
from storage.errors import StorageError, Unauthorized
from storage.tables import api_keys

log = logging.getLogger(__name__)

OPEN = ("/healthz", "/readyz")
"""Asked all the time by supervisors, which have no key; they are answered always."""
METRICS = "/metrics"
GUARDED = "/v1"

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""What proxies add. A request that has one was made by somebody behind the address that it comes from."""


class AccessDecision(NamedTuple):
    """What the gate has found: who asks, or why not; and what the answer's header says of it."""

    caller: Caller | None
    problem: Problem | None
    headers: dict[str, str]


class AccessMiddleware:
    """ASGI middleware: sets `request.state.caller`, or answers itself."""

    def __init__(self, app: ASGIApp, database: Database, rates: RateLimiter):
        self.app, self.database, self.rates = app, database, rates
        self.keyless = True
        self._noting = Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        caller, problem, headers = await run_in_threadpool(self._admit, HTTPConnection(scope), scope["method"])

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        if problem is not None:
            await problem.response()(scope, receive, answer)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self.app(scope, receive, answer)

    def _admit(self, asking: HTTPConnection, method: str) -> AccessDecision:
        """Looks at everything but the body. Refused requests are counted too."""
        caller, problem = None, None
        try:
            caller = self._identify(asking)
            if caller is not None:
                _check_scope(caller, asking.scope["path"], method)
            elif _guarded(asking.scope["path"]) and method != "OPTIONS":
                raise Unauthorized("There is no key in the request.")
        except Unauthorized as error:
            problem = Problem(error.code, error.message, remedy=error.remedy, headers=CHALLENGE)
        except Problem as error:
            problem = error
        except (OperationalError, PoolTimeout) as error:
            return AccessDecision(None, database_away(error), {})
        if caller is not None and caller.key_id is not None:
            pace = self.rates.hit("key", caller.key_id)
        else:
            pace = self.rates.hit("address", asking.client.host if asking.client else "unknown")
        if pace is not None and not pace.admitted:
            problem = Problem("rate_limited", f"{pace.limit} requests in {pace.window_s} seconds are allowed.")
        return AccessDecision(caller, problem, pace.headers() if pace else {})

    def _identify(self, asking: HTTPConnection) -> Caller | None:
        """Who asks; None: somebody without a key. Raises Unauthorized, and the problem `keys_needed`."""
        scheme, _, token = asking.headers.get("authorization", "").partition(" ")
        with self.database.session(write=False) as session:
            self.keyless = self.keyless and not api_keys.any_exist(session)  # one key, and it is so for ever
            if self.keyless:
                _check_local(asking)
                return LOCAL_CALLER
            if scheme.lower() != "bearer":
                return None
            token = token.strip()
            key = api_keys.find(session, token)
        if api_keys.is_stale(key):
            self._note_use(key.id)
        return caller_of(key, token)

    def _note_use(self, key_id: str) -> None:
        if not self._noting.acquire(blocking=False):
            return  # one thread at most waits for those who write; the next request notes it
        try:
            with self.database.session() as session:
                api_keys.touch(session, key_id)
        except (OperationalError, StorageError) as error:  # a full disk shall not keep anybody from reading
            log.warning("the use of key %s was not noted: %s", key_id, error)
        finally:
            self._noting.release()


def _guarded(path: str) -> bool:
    return path in (METRICS, GUARDED) or path.startswith(GUARDED + "/")


def _check_scope(caller: Caller, path: str, method: str) -> None:
    if path == METRICS:
        caller.check("metrics")
    elif _guarded(path) and method != "OPTIONS":
        caller.check("read" if method in READS else "write")


def _check_local(asking: HTTPConnection) -> None:
    """Raises the problem `keys_needed` where a service without keys is asked by anybody but its own machine."""
    headers = asking.headers
    origin = headers.get("origin")
    if asking.client is None or not api_keys.is_loopback(asking.client.host):
        why = "The request comes from another machine"
    elif any(name in headers for name in FORWARDED):
        why = "The request was forwarded by a proxy"
    elif not api_keys.is_loopback(_name(f"//{headers.get('host', '')}")):
        why = "The request names another host than this machine"
    elif origin is not None and not api_keys.is_loopback(_name(origin)):
        why = "The request was made by a web page from elsewhere"
    else:
        return
    raise Problem("keys_needed", f"{why}, and this service has no keys yet.")


def _name(url: str) -> str:
    """The host of a URL, without its port; empty where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
