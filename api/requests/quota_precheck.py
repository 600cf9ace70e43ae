"""Checks quotas before a large body is read."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Depends, Request

from api.auth import CallerDep
from api.deps import DatabaseDep, SettingsDep
from storage.tables import quotas
from storage.tables.quotas import QuotaName


def require_quota(*names: QuotaName) -> Callable[..., None]:
    """Returns a dependency that raises QuotaExceeded if the caller cannot have one more of each of these quotas (any more seconds).

    It only saves the client a useless upload: the decisive check is in the transaction that creates the row (`quotas.check`).
    Requests with an Idempotency-Key pass, because a repeated request may itself have used up the quota, and then its stored
    response is replayed (api/requests/idempotency.py).
    """

    def check(request: Request, caller: CallerDep, settings: SettingsDep, database: DatabaseDep) -> None:
        if "idempotency-key" in request.headers:
            return
        more = {name: 0 if name == "daily_seconds" else 1 for name in names}
        with database.session(write=False) as session:
            quotas.check_ahead(session, settings, caller.owner, **more)

    return Depends(check)
