"""Owners: who the caller is, and what each may have."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from sqlalchemy.orm import Session

from api.auth import AdminDep, CallerDep
from api.deps import ReadSession, SettingsDep, WriteSession
from api.openapi.responses import problems
from api.requests.json_body import JsonBody
from api.schemas import resources
from storage.database import models
from storage.settings import Settings
from storage.tables import quotas
from storage.tables.api_keys import OWNER

router = APIRouter(prefix="/v1", tags=["owners"])

OwnerName = Annotated[str, Path(pattern=f"^{OWNER}$")]


@router.get("/me", summary="Who am I?")
def get_me(caller: CallerDep, settings: SettingsDep, session: ReadSession) -> resources.Me:
    """Whose things the key sees, what it may do, and how its owner stands."""
    key = None if caller.key_id is None else session.get_one(models.Key, caller.key_id)
    return resources.Me(
        owner=caller.owner,
        scopes=sorted(caller.scopes),
        key=None if key is None else resources.Key.model_validate(key),
        quotas=_standing(session, settings, caller.owner),
    )


@router.get("/owners/{owner}", summary="How does an owner stand?", responses=problems("validation_failed"))
def get_owner(owner: OwnerName, caller: AdminDep, settings: SettingsDep, session: ReadSession) -> resources.Owner:
    """The quotas of an owner. Any name can be asked for: whoever has done nothing has the quotas of the settings."""
    return resources.Owner(name=owner, quotas=_standing(session, settings, owner))


@router.patch(
    "/owners/{owner}",
    summary="Give an owner other quotas",
    responses=problems("validation_failed", "body_too_large", "unsupported_media_type", "upload_stalled"),
)
def patch_owner(
    caller: AdminDep,
    owner: OwnerName,
    patch: JsonBody[resources.QuotaPatch],
    settings: SettingsDep,
    session: WriteSession,
) -> resources.Owner:
    """Sets the quotas that are named, null: back to that of the settings. What is there already stays, if it is more."""
    quotas.set_overrides(session, owner, patch.model_dump(exclude_unset=True))
    return resources.Owner(name=owner, quotas=_standing(session, settings, owner))


def _standing(session: Session, settings: Settings, owner: str) -> resources.Quotas:
    found = quotas.usage(session, settings, owner)
    return resources.Quotas(**{name: quota._asdict() for name, quota in found.items()})
