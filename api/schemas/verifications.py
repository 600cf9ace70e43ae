"""What goes over the wire about verifications: was a video made here?"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from api.schemas.resources import Input, JobError, Output
from storage.database.models import VerificationState


class VerifyForm(Input):
    """The text fields of POST /v1/verify; the file `file` comes beside them, or an upload in its place."""

    upload_id: str | None = Field(None, max_length=100, description="a complete upload in the place of `file`")


class CredentialsProblem(Output):
    """One thing that does not hold."""

    code: str = Field(description="C2PA's own code", examples=["assertion.bmffHash.mismatch"])
    detail: str


class CredentialsFound(Output):
    """What the signed content credentials (C2PA) of a file say, and whether they hold."""

    present: bool = Field(description="in the file, or kept here for just these bytes")
    valid: bool = Field(description="the signature fits, and the file is as it was signed, by whomever")
    ours: bool = Field(description="valid, and signed with a certificate of this service")
    issuer: str | None = Field(description="whose the certificate is, as it says itself")
    generator: str | None = Field(description="what made the file, as it says itself")
    signed_at: datetime | None = Field(description="as the file says; certain only with a time stamping authority")
    video_id: str | None = Field(description="which video it says to be; only where it is ours")
    problems: list[CredentialsProblem]


class MarkFound(Output):
    """What the invisible mark in the pictures says."""

    found: bool = Field(description="the mark of this service is in the pictures")
    score: float | None = Field(description="how clearly, in standard deviations of unmarked videos")
    false_alarm: float | None = Field(
        description="a bound on the probability of this in a video that was not made here"
    )
    video_id: str | None = Field(description="which video it is; only for its owner")


class MadeVideo(Output):
    """The video that the file was found to be."""

    id: str
    subject_id: str
    created_at: datetime
    links: dict[str, str]


class VerificationLinks(Output):
    self: str


class Verification(Output):
    """Whether a file was made here, by two ways that do not depend on each other. All but the state is null until then."""

    id: str = Field(examples=["ver_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    state: VerificationState
    made_here: bool | None = Field(description="the credentials are ours, or the mark was found")
    made_at: datetime | None = Field(description="when, where that is known")
    credentials: CredentialsFound | None
    mark: MarkFound | None
    video: MadeVideo | None = Field(description="only for its owner, while it is there")
    error: JobError | None = Field(description="why the file could not be looked at")
    created_at: datetime
    finished_at: datetime | None
    links: VerificationLinks
