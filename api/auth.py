"""Who asks. Every route that shows or changes something takes a `CallerDep`, and asks on behalf of its owner.

`api/middleware/access.py` finds out who it is before a route is even looked for; a route that belongs to keys and quotas takes an
`AdminDep` instead.
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

# For /docs and /openapi.json: the gate has looked at the key.
_scheme = HTTPBearer(
    auto_error=False, description="A key that `adnerf keys create` has made; none before there is one."
)


@dataclass(frozen=True)
class Caller:
    """Whose things a request may see and change, and what it may do with them."""

    owner: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    """None on a service without keys."""
    token: str | None = field(default=None, repr=False)
    """What the key was shown as: an answer that goes on for long asks again whether it is still good (api/responses/job_events.py)."""

    def check(self, scope: Scope) -> None:
        """Raises the problem `forbidden` where the key lacks this scope."""
        if scope not in self.scopes:
            has = ", ".join(sorted(self.scopes))
            raise Problem("forbidden", f"This needs a key with the scope `{scope}`; the key has: {has}.")


LOCAL_CALLER = Caller(LOCAL, frozenset(SCOPES))
"""Whoever asks from this machine while there are no keys."""


def caller_of(key: Key, token: str) -> Caller:
    """The caller that shows this key."""
    return Caller(key.owner, frozenset(key.scopes), key.id, token)


def _caller(request: Request, _credentials: Annotated[object, Security(_scheme)]) -> Caller:
    return request.state.caller


def _admin(caller: CallerDep) -> Caller:
    caller.check("admin")
    return caller


CallerDep = Annotated[Caller, Depends(_caller)]
AdminDep = Annotated[Caller, Depends(_admin)]
