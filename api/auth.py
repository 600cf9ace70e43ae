"""The caller of a request: its owner and its scopes.

api/middleware/access.py authenticates the caller before the request is routed. Every route that reads or changes data takes a
`CallerDep` and acts for the caller's owner; routes about keys and quotas take an `AdminDep`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from api.problems.problems import Problem
from storage.database.models import LOCAL, Key
from storage.tables.api_keys import SCOPES, Scope

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="adnerf"'}
READS = ("GET", "HEAD")

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


def _caller(request: Request, _credentials: Annotated[object, Security(_scheme)]) -> Caller:
    return request.state.caller


def _admin(caller: CallerDep) -> Caller:
    caller.check("admin")
    return caller


CallerDep = Annotated[Caller, Depends(_caller)]
AdminDep = Annotated[Caller, Depends(_admin)]
