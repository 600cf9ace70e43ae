"""Authentication, authorisation and rate limits, before any of a request's body is read.

While no API key exists (open mode), the service accepts only requests of its own machine (local_caller.py). Once a key exists,
everything below /v1 and /metrics requires one; the page and the documentation, which reveal nothing about anybody, do not.
While the database is away, keys that have read /metrics before can go on reading it: it says what is away.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from random import uniform
from threading import Lock
from typing import NamedTuple

from anyio import sleep
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import LOCAL_CALLER, READS, Caller, caller_of
from api.middleware.answers_in_pieces import AnswersInPieces
from api.middleware.client_address import ClientAddresses, counted
from api.middleware.known_scrapers import KnownScrapers
from api.middleware.local_caller import OpenMode
from api.middleware.pace import Pacer
from api.middleware.rate_limit import RateLimiter
from api.middleware.request_shares import RequestShares
from api.problems.problems import Problem, database_away, from_storage
from api.services import signed_links
from storage.database.engine import Database
from storage.errors import StorageError, Unauthorized
from storage.settings import Settings
from storage.tables import api_keys

log = logging.getLogger(__name__)

PUBLIC = ("/healthz", "/readyz")
"""Paths that supervisors poll without a key; they count towards no rate, and have a share of an address's connections of their own."""
PROBES_PER_S, PROBE_WAIT_S = 20.0, 0.9
"""Requests of one address for them that are answered at once, after a burst, and how long further ones wait at most: less than supervisors do,
who may have the address of strangers. All of a machine ask a few times a second; who asks without end would take the processor from others."""
METRICS = "/metrics"
GUARDED = "/v1"
REFUSAL_S = 0.5, 1.5
"""Least and greatest number of seconds before a request beyond the rate is refused. To refuse costs about as much as to answer: without the
pause, a client that asks again at once would take the processor from the others, whatever its rate; with pauses of one length, its
requests would come all at once, again and again."""


class AccessDecision(NamedTuple):
    """The caller, or the problem that the request is refused with; headers to add to the response, and seconds to wait before."""

    caller: Caller | None
    problem: Problem | None
    headers: dict[str, str]
    wait_s: float = 0.0


class AccessMiddleware:
    """ASGI middleware that sets `request.state.caller`, or refuses the request."""

    def __init__(
        self,
        app: ASGIApp,
        database: Database,
        rates: RateLimiter,
        settings: Settings,
        open_mode_rules: OpenMode,
        addresses: ClientAddresses,
        shares: RequestShares,
    ):
        self.app, self.database, self.rates, self.shares = app, database, rates, shares
        self.answers = AnswersInPieces()
        self.settings, self.open_mode_rules, self.addresses = settings, open_mode_rules, addresses
        self.open_mode = True
        self._touching = Lock()
        self._scrapers = KnownScrapers()
        self._probes = Pacer(PROBES_PER_S, PROBE_WAIT_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        address = scope.setdefault("state", {})["client_address"] = self.addresses.of(HTTPConnection(scope))
        if scope["path"] in PUBLIC:
            wait_s = self._probes.wait_s(counted(address))
            app = _later(self.app, wait_s) if wait_s else self.app
            await self._run(app, f"probes {counted(address)}", scope, receive, send)
            return
        caller, problem, headers, wait_s = await run_in_threadpool(self._decide, HTTPConnection(scope), scope["method"])

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        scope["state"]["caller"] = caller
        name = f"owner {caller.owner}" if caller is not None else f"address {counted(address)}"
        app = self.app if problem is None else problem.response()
        if wait_s:
            app = _later(app, wait_s)
        await self._run(app, name, scope, receive, send_with_headers)

    async def _run(self, app: ASGIApp, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs `app`, the rest of the application or a refusal, within the share of the caller `name`."""
        with ExitStack() as share:
            try:
                share.enter_context(self.shares.take(name))
            except Problem as busy:
                app = _later(busy.response(), uniform(*REFUSAL_S))
            await app(scope, receive, self.answers.sender(name, scope, receive, send))

    def _decide(self, connection: HTTPConnection, method: str) -> AccessDecision:
        """Decides without reading the body. Refused requests count towards the rate limit as well."""
        caller, problem = None, None
        address = counted(connection.scope["state"]["client_address"])
        try:
            guarded = _needs_key(connection.scope["path"]) and method != "OPTIONS"
            token = _bearer_token(connection)
            if connection.scope["path"] == METRICS and token is not None:
                caller = self._scrapers.identify(token, lambda: self._identify(connection, token, guarded=guarded))
            else:
                caller = self._identify(connection, token, guarded=guarded)
            if caller is not None:
                _check_scope(caller, connection.scope["path"], method)
            elif guarded:
                raise Unauthorized("The request has no API key.")
        except Unauthorized as error:
            problem = from_storage(error)
        except Problem as error:
            problem = error
        except (OperationalError, PoolTimeout) as error:
            return AccessDecision(None, database_away(error), {})
        if caller is not None and caller.key_id is not None:
            status = self.rates.hit("key", caller.key_id)
        else:
            # Counted apart: whoever uses up the API's requests of a shared address must not take the page from the others.
            kind = "" if _needs_key(connection.scope["path"]) else "page "
            status = self.rates.hit("address", kind + address)
        if status is None:
            return AccessDecision(caller, problem, {})
        if not status.admitted:
            problem = Problem("rate_limited", f"{status.limit} requests in {status.window_s} seconds are allowed.")
            return AccessDecision(caller, problem, status.headers(), uniform(*REFUSAL_S))
        return AccessDecision(caller, problem, status.headers(), status.wait_s)

    def _identify(self, connection: HTTPConnection, token: str | None, *, guarded: bool) -> Caller | None:
        """Returns the caller; None for a request without a key. Raises Unauthorized, and the Problem `keys_needed`."""
        link = _signed_link(connection) if token is None else None
        with self.database.session(write=False) as session:
            open_mode = self.open_mode = self.open_mode and not api_keys.any_exist(session)  # the first key ends it
            linked = signed_links.holder(session, self.settings, *link) if link is not None else None
            key = api_keys.find(session, token) if token is not None and not open_mode else None
        if open_mode:
            if link is None:
                self.open_mode_rules.check(connection, token or "", guarded=guarded)
            return LOCAL_CALLER
        if linked is not None:
            return caller_of(linked)
        if key is None:
            return None
        if api_keys.is_stale(key):
            self._record_use(key.id)
        return caller_of(key, token)

    def _record_use(self, key_id: str) -> None:
        if not self._touching.acquire(blocking=False):
            return  # at most one thread waits for other writers; the next request records the use
        try:
            with self.database.session() as session:
                api_keys.touch(session, key_id)
        except (OperationalError, StorageError) as error:  # a full disk must not prevent reading
            log.warning("the use of key %s was not recorded: %s", key_id, error)
        finally:
            self._touching.release()


def _later(app: ASGIApp, seconds: float) -> ASGIApp:
    """Returns `app`, which begins after a pause."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await sleep(seconds)
        await app(scope, receive, send)

    return run


def _bearer_token(connection: HTTPConnection) -> str | None:
    """Returns the token of the request; None if it has none."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _signed_link(connection: HTTPConnection) -> tuple[str, str] | None:
    """Returns the path that is signed and what makes the request's address a signed link; None if it is none."""
    path = signed_links.signed_path(connection.scope["path"]) if connection.scope["method"] in READS else None
    access = connection.query_params.get("access")
    return None if path is None or access is None else (path, access)


def _needs_key(path: str) -> bool:
    return path in (METRICS, GUARDED) or path.startswith(GUARDED + "/")


def _check_scope(caller: Caller, path: str, method: str) -> None:
    if path == METRICS:
        caller.check("metrics")
    elif _needs_key(path) and method != "OPTIONS":
        caller.check("read" if method in READS else "write")
