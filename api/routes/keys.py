"""Routes of API keys, for administrators: what `adnerf keys` does, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Response

from api.auth import AdminDep
from api.deps import Cursor, Limit, ReadSession, WriteSession
from api.openapi.responses import JSON_CODES, problems
from api.problems.problems import validation_problem
from api.requests.idempotency import SECRET, IdempotencyDep
from api.requests.json_body import JsonBody
from api.schemas import base
from api.schemas import owners as schemas
from storage.database import models, queries
from storage.tables import api_keys

router = APIRouter(prefix="/v1/keys", tags=["keys"])


@router.post(
    "",
    status_code=201,
    response_model=schemas.NewKey,
    summary="Make a key",
    responses=problems(*JSON_CODES),
)
def create_key(
    caller: AdminDep, idempotency: IdempotencyDep, form: JsonBody[schemas.KeyForm], session: WriteSession
) -> Response:
    """The new key with its token, which is shown only once. After the first key was created, every request needs one."""
    row, token = api_keys.create(
        session, owner=form.owner, name=form.name, scopes=form.scopes, expires_at=_future(form.expires_at)
    )
    headers = {"Location": f"/v1/keys/{row.id}", **SECRET}
    return idempotency.respond(session, _with_token(row, token), headers=headers)


@router.get("", summary="List keys, newest first", responses=problems("validation_failed"))
def list_keys(
    caller: AdminDep,
    session: ReadSession,
    owner: schemas.OwnerName | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> base.Page[schemas.Key]:
    """A page of keys: those of one owner, or of all owners."""
    page = queries.page(session, models.Key, limit=limit, cursor=cursor, owner=owner)
    return base.Page(items=[schemas.Key.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/{key_id}", summary="Read a key", responses=problems("not_found"))
def get_key(key_id: str, caller: AdminDep, session: ReadSession) -> schemas.Key:
    """The key, without its secret."""
    return schemas.Key.model_validate(queries.get(session, models.Key, key_id))


@router.post(
    "/{key_id}/rotate",
    response_model=schemas.NewKey,
    summary="Give a key a new secret",
    responses=problems("not_found", "key_revoked", *JSON_CODES),
)
def rotate_key(
    caller: AdminDep,
    key_id: str,
    idempotency: IdempotencyDep,
    rotation: JsonBody[schemas.KeyRotation],
    session: WriteSession,
) -> Response:
    """The key with its new token, which is shown only once. The old token stays valid for `grace_s` seconds."""
    row, token = api_keys.rotate(session, key_id, grace_s=rotation.grace_s, expires_at=_future(rotation.expires_at))
    return idempotency.respond(session, _with_token(row, token), headers=SECRET)


@router.post(
    "/{key_id}/revoke",
    response_model=schemas.Key,
    summary="Revoke a key",
    responses=problems("not_found", "key_revoked"),
)
def revoke_key(key_id: str, caller: AdminDep, idempotency: IdempotencyDep, session: WriteSession) -> Response:
    """Makes the key invalid for good; it stays in the list."""
    return idempotency.respond(session, schemas.Key.model_validate(api_keys.revoke(session, key_id)))


def _with_token(row: models.Key, token: str) -> schemas.NewKey:
    return schemas.NewKey(**schemas.Key.model_validate(row).model_dump(), token=token)


def _future(time: datetime | None) -> datetime | None:
    """Returns `time`. Raises Problem `validation_failed` if it has passed."""
    if time is not None and time <= datetime.now(UTC):
        raise validation_problem("must be in the future", "expires_at")
    return time
