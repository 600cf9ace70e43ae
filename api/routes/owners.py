"""Routes of owners: the caller, and the quotas of each owner."""

from __future__ import annotations

from typing import Annotated, get_args

from fastapi import APIRouter, Path
from sqlalchemy.orm import Session

from adnerf_core.config import PresetName
from api.auth import AdminDep, CallerDep
from api.deps import ReadSession, SettingsDep, WriteSession
from api.openapi.responses import JSON_CODES, problems
from api.requests.if_match import IfMatchDep
from api.requests.json_body import JsonBody
from api.schemas import owners as schemas
from storage.database import models
from storage.settings import Settings
from storage.tables import quotas, workers
from storage.tables.api_keys import OWNER
from storage.tables.estimates import Estimates

router = APIRouter(prefix="/v1", tags=["owners"])

OwnerName = Annotated[str, Path(pattern=f"^{OWNER}$")]


@router.get("/me", summary="Who am I?")
def get_me(caller: CallerDep, settings: SettingsDep, session: ReadSession) -> schemas.Me:
    """The owner and the scopes of the key, the quotas of the owner with how much of each is used, and what files it takes."""
    key = None if caller.key_id is None else session.get_one(models.Key, caller.key_id)
    return schemas.Me(
        owner=caller.owner,
        scopes=sorted(caller.scopes),
        key=None if key is None else schemas.Key.model_validate(key),
        quotas=_quotas(session, settings, caller.owner),
        limits=schemas.Limits(
            video_bytes=settings.max_video_bytes,
            audio_bytes=settings.max_audio_bytes,
            image_bytes=settings.max_image_bytes,
            consent_clip=settings.consent_clip,
            consent_clip_bytes=settings.max_consent_clip_bytes,
        ),
        presets=_presets(session, settings),
    )


@router.get("/owners/{owner}", summary="Read an owner's quotas", responses=problems("validation_failed"))
def get_owner(owner: OwnerName, caller: AdminDep, settings: SettingsDep, session: ReadSession) -> schemas.Owner:
    """The quotas of an owner, and how much of each is used. Any name is valid: an unknown owner has the default quotas."""
    return _owner(session, settings, owner)


@router.patch(
    "/owners/{owner}",
    summary="Change an owner's quotas",
    responses=problems("precondition_failed", *JSON_CODES),
)
def patch_owner(
    caller: AdminDep,
    owner: OwnerName,
    patch: JsonBody[schemas.QuotaPatch],
    settings: SettingsDep,
    session: WriteSession,
    if_match: IfMatchDep,
) -> schemas.Owner:
    """Sets the given quotas; null restores the default. Nothing is removed if the owner already has more."""
    quotas.lock_owner(session, owner)
    if_match.check(lambda: _owner(session, settings, owner))
    quotas.set_overrides(session, owner, patch.model_dump(exclude_unset=True))
    return _owner(session, settings, owner)


def _presets(session: Session, settings: Settings) -> list[schemas.TrainablePreset]:
    """The presets that live workers can train; all while there is no worker."""
    alive = workers.alive(session, within_s=settings.worker_silence_s)
    too_slow = {"paper"} if alive and not any("memory_bytes" in each.device for each in alive) else set()
    estimates = Estimates(session)
    names = [name for name in get_args(PresetName) if name not in too_slow]
    return [schemas.TrainablePreset(name=name, ready_s=estimates.from_footage(name)) for name in names]


def _owner(session: Session, settings: Settings, owner: str) -> schemas.Owner:
    return schemas.Owner(name=owner, quotas=_quotas(session, settings, owner))


def _quotas(session: Session, settings: Settings, owner: str) -> schemas.Quotas:
    usage = quotas.usage(session, settings, owner)
    return schemas.Quotas(**{name: quota._asdict() for name, quota in usage.items()})
