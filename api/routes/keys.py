"""API keys, for administrators: what `adnerf keys` does, over HTTP."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.auth import AdminDep
from api.deps import Cursor, Limit, Reading, Writing
from api.openapi import responses
from api.openapi.responses import problems
from api.problems.problems import validation_problem
from api.requests.idempotency import IdempotentRoute
from api.requests.multipart import receive_json
from api.schemas import resources
from storage.database import models, queries
from storage.tables import api_keys

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=IdempotentRoute)

BODY_CODES = ("body_too_large", "unsupported_media_type", "upload_stalled", "validation_failed")
SECRET = {"Cache-Control": "no-store"}


async def _form(request: Request) -> resources.KeyForm:
    return await receive_json(request, resources.KeyForm)


async def _rotation(request: Request) -> resources.KeyRotation:
    return await receive_json(request, resources.KeyRotation)


@router.post(
    "",
    status_code=201,
    summary="Make a key",
    responses=problems(*BODY_CODES),
    openapi_extra=responses.json_body(resources.KeyForm),
)
def create_key(
    caller: AdminDep, form: Annotated[resources.KeyForm, Depends(_form)], response: Response, session: Writing
) -> resources.NewKey:
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
    owner: resources.OwnerName | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> resources.Page[resources.Key]:
    """A page of keys: of one owner, or of all."""
    page = queries.page(session, models.Key, limit=limit, cursor=cursor, owner=owner)
    return resources.Page(items=[resources.Key.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/{key_id}", summary="Read a key", responses=problems("not_found"))
def get_key(key_id: str, caller: AdminDep, session: Reading) -> resources.Key:
    """The key, without its secret."""
    return resources.Key.model_validate(queries.get(session, models.Key, key_id))


@router.post(
    "/{key_id}/rotate",
    summary="Give a key a new secret",
    responses=problems("not_found", "key_revoked", *BODY_CODES),
    openapi_extra=responses.json_body(resources.KeyRotation),
)
def rotate_key(
    caller: AdminDep,
    key_id: str,
    rotation: Annotated[resources.KeyRotation, Depends(_rotation)],
    response: Response,
    session: Writing,
) -> resources.NewKey:
    """The key with its new token, which is shown this once; the one before works on for `grace_s`."""
    row, token = api_keys.rotate(session, key_id, grace_s=rotation.grace_s, expires_at=_future(rotation.expires_at))
    response.headers.update(SECRET)
    return _with_token(row, token)


@router.post("/{key_id}/revoke", summary="Revoke a key", responses=problems("not_found", "key_revoked"))
def revoke_key(key_id: str, caller: AdminDep, session: Writing) -> resources.Key:
    """The key, which works no longer; it stays in the list."""
    return resources.Key.model_validate(api_keys.revoke(session, key_id))


def _with_token(row: models.Key, token: str) -> resources.NewKey:
    return resources.NewKey(**resources.Key.model_validate(row).model_dump(), token=token)


def _future(moment: datetime | None) -> datetime | None:
    if moment is not None and moment <= datetime.now(timezone.utc):
        raise validation_problem("must lie in the future", "expires_at")
    return moment
