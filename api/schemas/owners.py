"""Keys, owners and their quotas, as request and response bodies."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from adnerf_core.config import PresetName
from api.schemas.base import Input, Name, Output, Time
from storage.tables.api_keys import OWNER, Scope

OwnerName = Annotated[str, StringConstraints(pattern=f"^{OWNER}$")]


class KeyForm(Input):
    """Properties of a new API key."""

    owner: OwnerName = Field(description="owner whose resources the key can access")
    name: Name = Field(description="display name, such as the machine that uses the key")
    scopes: list[Scope] = Field(["read", "write"], min_length=1, description="permissions")
    expires_at: Time | None = Field(None, description="expiry, before the year 9000; null: never")


class KeyRotation(Input):
    """Options of a rotation: the key gets a new secret."""

    grace_s: float = Field(
        86_400.0, ge=0, le=30 * 86_400.0, description="seconds for which the previous secret stays valid"
    )
    expires_at: Time | None = Field(None, description="new expiry of the key, before the year 9000; null: unchanged")


class Key(Output):
    """An API key without its secret; the service stores only a hash of it."""

    id: str = Field(examples=["key_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    owner: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    last_used_at: datetime | None = Field(description="accurate to a minute; null: never used")
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKey(Key):
    """A key with its token, which is shown only once."""

    token: str = Field(description="value for `Authorization: Bearer`; it cannot be retrieved later")


class Quota(Output):
    """A limit and its current use."""

    limit: float
    used: float


class Quotas(Output):
    """The quotas of an owner."""

    subjects: Quota = Field(description="number of subjects")
    videos: Quota = Field(description="number of videos, in any state")
    queued_jobs: Quota = Field(description="number of queued jobs")
    verifications: Quota = Field(description="number of pending verifications")
    daily_seconds: Quota = Field(description="seconds of video rendered since midnight UTC")
    stored_bytes: Quota = Field(description="bytes of uploaded and generated files")


class QuotaPatch(Input):
    """Quotas that override the settings; null removes an override."""

    subjects: int | None = Field(None, ge=0, le=1 << 53)
    videos: int | None = Field(None, ge=0, le=1 << 53)
    queued_jobs: int | None = Field(None, ge=0, le=1 << 53)
    verifications: int | None = Field(None, ge=0, le=1 << 53)
    daily_seconds: float | None = Field(None, ge=0, le=10**12)
    stored_bytes: int | None = Field(None, ge=0, le=1 << 53)


class Owner(Output):
    """A tenant: the owner of subjects, videos and keys."""

    name: str
    quotas: Quotas


class Limits(Output):
    """What the service takes: the largest files, bytes, and whether new subjects take or need a clip of the spoken consent."""

    video_bytes: int
    audio_bytes: int
    image_bytes: int
    consent_clip: Literal["off", "optional", "required"]
    consent_clip_bytes: int


class TrainablePreset(Output):
    """A preset that the workers of this service can train."""

    name: PresetName
    ready_s: float | None = Field(
        description="seconds from an upload until its subject is ready, from how long earlier ones took; null: unknown"
    )


class Me(Output):
    """The caller of the request."""

    owner: str = Field(description="owner whose resources the key can access; `local` on a service without keys")
    scopes: list[Scope]
    key: Key | None = Field(description="null on a service without keys")
    quotas: Quotas
    limits: Limits
    presets: list[TrainablePreset] = Field(description="`paper` is missing while all workers lack a GPU")
