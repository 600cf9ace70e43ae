"""API keys, for administrators: what `adnerf keys` does, over HTTP."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api import documents, schemas
from api.auth import AdminDep
from api.deps import Cursor, Limit, Reading, Writing
from api.documents import problems
from api.errors import invalid
from api.forms import receive_json
from api.idempotency import PostOnce
from storage.database import models, queries
from storage.tables import api_keys

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=PostOnce)

BODY_CODES = ("body_too_large", "unsupported_media_type", "upload_stalled", "validation_failed")
SECRET = {"Cache-Control": "no-store"}


async def _form(request: Request) -> schemas.KeyForm:
    return await receive_json(request, schemas.KeyForm)


async def _rotation(request: Request) -> schemas.KeyRotation:
    return await receive_json(request, schemas.KeyRotation)


@router.post(
    "",
    status_code=201,
    summary="Make a key",
    responses=problems(*BODY_CODES),
    openapi_extra=documents.json_body(schemas.KeyForm),
)
def create_key(
    caller: AdminDep, form: Annotated[schemas.KeyForm, Depends(_form)], response: Response, session: Writing
) -> schemas.NewKey:
    """The new key, with its token, which is shown this once. From the first key on, every request needs one."""
    row, token = api_keys.create(
        session, owner=form.owner, name=form.name, scopes=form.scopes, expires_at=_future(form.expires_at)
    )
    response.headers.update({"Location": f"/v1/keys/{row.id}", **SECRET})
    return _with_token(row, token)


@router.get("", summary="List keys, newest first", responses=problems("validation_failed"))
def list_keys(
    caller: AdminDep,
    session: Reading,
    owner: schemas.OwnerName | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> schemas.Page[schemas.Key]:
    """A page of keys: of one owner, or of all."""
    page = queries.page(session, models.Key, limit=limit, cursor=cursor, owner=owner)
    return schemas.Page(items=[schemas.Key.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/{key_id}", summary="Read a key", responses=problems("not_found"))
def get_key(key_id: str, caller: AdminDep, session: Reading) -> schemas.Key:
    """The key, without its secret."""
    return schemas.Key.model_validate(queries.get(session, models.Key, key_id))


@router.post(
    "/{key_id}/rotate",
    summary="Give a key a new secret",
    responses=problems("not_found", "key_revoked", *BODY_CODES),
    openapi_extra=documents.json_body(schemas.KeyRotation),
)
def rotate_key(
    caller: AdminDep,
    key_id: str,
    rotation: Annotated[schemas.KeyRotation, Depends(_rotation)],
    response: Response,
    session: Writing,
) -> schemas.NewKey:
    """The key with its new token, which is shown this once; the one before works on for `grace_s`."""
    row, token = api_keys.rotate(session, key_id, grace_s=rotation.grace_s, expires_at=_future(rotation.expires_at))
    response.headers.update(SECRET)
    return _with_token(row, token)


@router.post("/{key_id}/revoke", summary="Revoke a key", responses=problems("not_found", "key_revoked"))
def revoke_key(key_id: str, caller: AdminDep, session: Writing) -> schemas.Key:
    """The key, which works no longer; it stays in the list."""
    return schemas.Key.model_validate(api_keys.revoke(session, key_id))


def _with_token(row: models.Key, token: str) -> schemas.NewKey:
    return schemas.NewKey(**schemas.Key.model_validate(row).model_dump(), token=token)


def _future(moment: datetime | None) -> datetime | None:
    if moment is not None and moment <= datetime.now(timezone.utc):
        raise invalid("must lie in the future", "expires_at")
    return moment
