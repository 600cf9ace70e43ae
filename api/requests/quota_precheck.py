"""Checks quotas before a large body is read."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from api.auth import CallerDep
from api.deps import DatabaseDep, SettingsDep
from api.requests.idempotency import HEADER, key_of
from storage.tables import idempotency, quotas
from storage.tables.quotas import QuotaName


def require_quota(*names: QuotaName) -> Callable[..., None]:
    """Returns a dependency that raises QuotaExceeded if the caller cannot have one more of each of these quotas (any more seconds).

    It only saves the client a useless upload: the decisive check is in the transaction that creates the row (`quotas.check`).
    A repeated request passes if a response is stored under its Idempotency-Key, because it may itself have used up the quota; that
    response is replayed (api/requests/idempotency.py).
    """

    def check(request: Request, caller: CallerDep, settings: SettingsDep, database: DatabaseDep) -> None:
        more = {name: 0 if name == "daily_seconds" else 1 for name in names}
        with database.session(write=False) as session:
            if not is_repeated(request, session, caller.owner):
                quotas.check_ahead(session, settings, caller.owner, **more)

    return Depends(check)


def is_repeated(request: Request, session: Session, owner: str) -> bool:
    """Returns whether a response is stored under the request's Idempotency-Key, so that it will be replayed."""
    key = request.headers.get(HEADER)
    return key is not None and idempotency.find(session, key_of(request, owner, key)) is not None
