"""The caller of a request: its owner and its scopes.

api/middleware/access.py authenticates the caller before the request is routed. Every route that reads or changes data takes a
`CallerDep` and acts for the caller's owner; routes about keys and quotas take an `AdminDep`.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api.problems.problems import Problem, from_storage
from storage.database.engine import Database
from storage.database.models import LOCAL, Key
from storage.errors import Unauthorized
from storage.tables import api_keys
from storage.tables.api_keys import SCOPES, Scope

READS = ("GET", "HEAD")
CHECK_KEYS_S = 15.0
"""Seconds between two checks of the API key of a request that lasts: it ends at the next bytes after one that finds the key revoked."""

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

    def check(self, scope: Scope) -> None:
        """Raises Problem `forbidden` if the key lacks this scope."""
        if scope not in self.scopes:
            scopes = ", ".join(sorted(self.scopes))
            raise Problem("forbidden", f"This request needs the scope `{scope}`; the key has: {scopes}.")


LOCAL_CALLER = Caller(LOCAL, frozenset(SCOPES))
"""The caller of local requests while the service has no keys: it may do everything."""


def caller_of(key: Key, token: str | None = None) -> Caller:
    """Returns the caller that a valid key stands for; `token` is the secret text of the key, None if a signed link names the key."""
    return Caller(key.owner, frozenset(key.scopes), key.id, token)


class KeyCheck:
    """Checks the key of a request again and again, while its body arrives or its answer is sent: at a kilobyte a second both take days."""

    def __init__(self, request: Request):
        self._request, self._checked_at = request, time.monotonic()

    async def again(self) -> None:
        """Raises Problem `unauthorized` if the key is not valid any more; asks every CHECK_KEYS_S, and goes on while the database is away."""
        caller: Caller | None = getattr(self._request.state, "caller", None)  # none for links that everybody may open
        if caller is None or time.monotonic() - self._checked_at < CHECK_KEYS_S:
            return
        self._checked_at = time.monotonic()
        try:
            with suppress(OperationalError, PoolTimeout):
                await to_thread.run_sync(_require_valid, self._request.app.state.database, caller)
        except Unauthorized as error:
            # FastAPI takes other exceptions, while it reads a body, for a body that is wrong.
            raise from_storage(error) from error


def _require_valid(database: Database, caller: Caller) -> None:
    with database.session(write=False) as session:
        if caller.token is not None:
            api_keys.find(session, caller.token)
            return
        key = None if caller.key_id is None else session.get(Key, caller.key_id)
        valid = not api_keys.any_exist(session) if caller.key_id is None else key is not None and api_keys.is_valid(key)
    if not valid:
        raise Unauthorized("The request was accepted before, and is not any more.")


def _caller(request: Request, _credentials: Annotated[object, Security(_scheme)]) -> Caller:
    return request.state.caller


def _admin(caller: CallerDep) -> Caller:
    caller.check("admin")
    return caller


CallerDep = Annotated[Caller, Depends(_caller)]
AdminDep = Annotated[Caller, Depends(_admin)]
