"""Whether there is room for more, looked at before a large file is sent."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Depends, Request

from api.auth import CallerDep
from api.deps import DatabaseDep, SettingsDep
from storage.tables import quotas
from storage.tables.quotas import QuotaName


def require_quota(*names: QuotaName) -> Callable[..., None]:
    """A dependency that raises QuotaExceeded where the caller cannot have one more of each of these quotas.

    A request that may be an earlier one sent again is let through: it may have used up the quota itself, and then its answer
    is replayed (api/requests/idempotency.py). What counts is what the transaction finds that makes the thing.
    """

    def look(request: Request, caller: CallerDep, settings: SettingsDep, database: DatabaseDep) -> None:
        if "idempotency-key" in request.headers:
            return
        with database.session(write=False) as session:
            quotas.check_ahead(session, settings, caller.owner, **dict.fromkeys(names, 1))

    return Depends(look)
