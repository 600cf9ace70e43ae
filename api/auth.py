"""The caller of a request: its owner and its scopes.

api/middleware/access.py authenticates the caller before the request is routed. Every route that reads or changes data takes a
`CallerDep` and acts for the caller's owner; routes about keys and quotas take an `AdminDep`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from anyio import create_task_group, sleep, to_thread
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from api.problems.problems import Problem, from_storage
from storage.database.engine import Database
from storage.database.models import LOCAL, Key
from storage.errors import StorageError, Unauthorized
from storage.tables import api_keys
from storage.tables.api_keys import SCOPES, Scope

log = logging.getLogger(__name__)

READS = ("GET", "HEAD")
CHECK_S = 15.0
"""Seconds between two checks of whether a request that lasts is still allowed."""
T = TypeVar("T")
"""Type of what a request asks for."""

# Only documents the scheme in /openapi.json; api/middleware/access.py checks the key.
_scheme = HTTPBearer(
    auto_error=False, description="A key from `adnerf keys create`. Until the first key is created, none is needed."
)


@dataclass(frozen=True)
class Caller:
    """Who makes a request: the owner whose rows it may see, and the scopes that say what it may do."""

    owner: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    """None if the service has no keys."""
    token: str | None = field(default=None, repr=False)
    """The key itself: event streams check repeatedly that it is still valid (api/responses/job_events.py)."""
    linked_secret: str | None = field(default=None, repr=False)
    """Digest of the key's secret, if a signed link names the key: another secret ends the link."""

    def check(self, scope: Scope) -> None:
        """Raises Problem `forbidden` if the key lacks this scope."""
        if scope not in self.scopes:
            scopes = ", ".join(sorted(self.scopes))
            raise Problem("forbidden", f"This request needs the scope `{scope}`; the key has: {scopes}.")


LOCAL_CALLER = Caller(LOCAL, frozenset(SCOPES))
"""The caller of local requests while the service has no keys: it may do everything."""


def caller_of(key: Key, token: str | None = None) -> Caller:
    """Returns the caller that a valid key stands for; `token` is the secret text of the key, None if a signed link names the key."""
    return Caller(key.owner, frozenset(key.scopes), key.id, token, key.secret_sha256 if token is None else None)


class AccessCheck:
    """Checks again and again, while the body of a request arrives or its answer is sent, that it is still allowed.

    At a kilobyte a second both take days. Checked are the key, and what the route has granted (`grant`), such as a link that may be closed.
    """

    def __init__(self, request: Request):
        self._database: Database = request.app.state.database
        self._caller: Caller | None = getattr(request.state, "caller", None)  # none for links that everybody may open
        self._granted: Callable[[Session], object] | None = getattr(request.state, "granted", None)
        self._checked_at = time.monotonic()

    async def again(self) -> None:
        """Raises Problem if the request is not allowed any more; asks every CHECK_S, and goes on while the database is away."""
        if time.monotonic() - self._checked_at < CHECK_S:
            return
        self._checked_at = time.monotonic()
        try:
            with suppress(OperationalError, PoolTimeout):
                await to_thread.run_sync(self._require)
        except StorageError as error:
            # FastAPI takes other exceptions, while it reads a body, for a body that is wrong.
            raise from_storage(error) from error

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Checks while the block runs, which sends the answer, also while the client takes nothing of it. Raises OSError, so that the
        connection breaks: the status has been sent."""
        refusal: Problem | None = None
        try:
            async with create_task_group() as group:

                async def watch() -> None:
                    nonlocal refusal
                    while refusal is None:
                        await sleep(CHECK_S)
                        try:
                            await self.again()
                        except Problem as problem:
                            refusal = problem
                            group.cancel_scope.cancel()
                        except Exception:
                            log.exception("cannot check whether an answer is still allowed")

                group.start_soon(watch)
                yield
                group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:  # that of the block, for those who handle it
            raise errors.exceptions[0] from None
        if refusal is not None:
            raise OSError(refusal.detail)

    def _require(self) -> None:
        with self._database.session(write=False) as session:
            if self._caller is not None:
                require_valid(session, self._caller)
            if self._granted is not None:
                self._granted(session)


def grant(request: Request, find: Callable[[Session], T]) -> Callable[[Session], T]:
    """Returns `find`, which returns what a request asks for and raises a StorageError if it may not have it; AccessCheck calls it again."""
    request.state.granted = find
    return find


def require_valid(session: Session, caller: Caller) -> None:
    """Raises Unauthorized if a caller of an earlier request would not be accepted any more."""
    if caller.token is not None:
        api_keys.find(session, caller.token)
        return
    key = None if caller.key_id is None else session.get(Key, caller.key_id)
    if caller.key_id is None:
        valid = not api_keys.any_exist(session)
    else:
        valid = key is not None and api_keys.is_valid(key) and key.secret_sha256 == caller.linked_secret
    if not valid:
        raise Unauthorized("The request was accepted before, and is not any more.")


def _caller(request: Request, _credentials: Annotated[object, Security(_scheme)]) -> Caller:
    return request.state.caller


def _admin(caller: CallerDep) -> Caller:
    caller.check("admin")
    return caller


CallerDep = Annotated[Caller, Depends(_caller)]
AdminDep = Annotated[Caller, Depends(_admin)]
