"""Request and response bodies of verifications: was a file made by this service?"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from api.schemas.base import Input, Output
from api.schemas.resources import JobError
from storage.database.models import VerificationState


class VerifyForm(Input):
    """The text fields of POST /v1/verify, sent with the file `file` or with an upload that replaces it."""

    upload_id: str | None = Field(None, max_length=100, description="id of a complete upload that replaces `file`")


class CredentialsProblem(Output):
    """One failed check of the content credentials."""

    code: str = Field(description="validation status code of C2PA", examples=["assertion.bmffHash.mismatch"])
    detail: str


class CredentialsFound(Output):
    """The signed content credentials (C2PA) of a file, and whether they are valid."""

    present: bool = Field(description="in the file itself, or stored by this service for exactly these bytes")
    valid: bool = Field(description="the signature is right and the file is unchanged since, whoever signed it")
    ours: bool = Field(description="valid, and signed with a certificate of this service")
    issuer: str | None = Field(description="subject of the certificate, as the certificate states")
    generator: str | None = Field(description="software that made the file, as the credentials state")
    signed_at: datetime | None = Field(description="as the file states; reliable only with a time stamping authority")
    source_type: str | None = Field(
        None,
        description="kind of source, as the credentials state: trainedAlgorithmicMedia (all of it is generated), "
        "compositeWithTrainedAlgorithmicMedia (footage with a generated part), or another term of the IPTC",
    )
    footage_sha256: str | None = Field(
        None, description="SHA-256 of the footage that the video shows; only if `ours`, and null for a portrait"
    )
    video_id: str | None = Field(description="id of the video; only if `ours`")
    problems: list[CredentialsProblem]


class MarkFound(Output):
    """The result of the search for the invisible watermark."""

    found: bool = Field(description="the watermark of this service is in the frames")
    score: float | None = Field(description="strength of the detection, in standard deviations of unmarked videos")
    false_alarm: float | None = Field(description="upper bound of the probability of this score in an unmarked video")
    video_id: str | None = Field(description="id of the video; only for its owner")


class MadeVideo(Output):
    """The video of this service that the file is."""

    id: str
    subject_id: str
    created_at: datetime
    links: dict[str, str]


class VerificationLinks(Output):
    """Links of a verification."""

    self: str


class Verification(Output):
    """Whether this service made a file, by two independent checks. All results are null while the state is pending."""

    id: str = Field(examples=["ver_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    state: VerificationState
    made_here: bool | None = Field(description="the credentials are ours, or the watermark was found")
    made_at: datetime | None = Field(description="time at which the video was made, if known")
    credentials: CredentialsFound | None
    mark: MarkFound | None
    video: MadeVideo | None = Field(description="only for its owner, while the video exists")
    error: JobError | None = Field(description="why the file could not be inspected")
    created_at: datetime
    finished_at: datetime | None
    links: VerificationLinks
