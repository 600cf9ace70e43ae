"""What goes over the wire: the contract's resources as pydantic models. Input refuses unknown fields."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
)

from adnerf_core.config import PresetName, RenderOptions, ViewChange, ViewLimits
from api.problems.table import PROBLEMS
from storage.database.models import JobKind, JobState, SubjectState, VideoState
from storage.tables.api_keys import OWNER, Scope
from storage.tables.quotas import QuotaName

T = TypeVar("T")

Text = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=10_000,
        pattern=r"^[^\x00]*[^\s\x00][^\x00]*$",  # no NUL, which PostgreSQL cannot store, and not only spaces
    ),
]
Name = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",  # no control characters, not only spaces
    ),
]
OwnerName = Annotated[str, StringConstraints(pattern=f"^{OWNER}$")]


class Input(BaseModel):
    """Base of what clients send."""

    model_config = ConfigDict(extra="forbid")


class Output(BaseModel):
    """Base of what clients get. Times are RFC 3339 in UTC, ids opaque, links paths on this service."""

    model_config = ConfigDict(from_attributes=True)


class SubjectForm(Input):
    """The text fields of POST /v1/subjects; the file `video` comes beside them."""

    name: Name | None = Field(None, description="what to call the subject; default: the name of the file")
    preset: PresetName = Field("standard", description="how long to train, and how fine")
    consent: Text = Field(description="who agreed to be shown, and to what; kept with the subject")
    consent_by: Name | None = Field(None, description="the name of who agreed, where the text does not say it")
    upload_id: str | None = Field(None, max_length=100, description="a complete upload, instead of the file `video`")


class Withdrawal(Input):
    """How consent is withdrawn."""

    purge: bool = Field(False, description="also remove footage, models and videos; the record itself stays")


class SubjectPatch(Input):
    """What may change about a subject."""

    name: Name


class VideoForm(Input):
    """The text fields of POST /v1/videos; the files `audio` and, if wanted, `background` come beside them."""

    subject_id: str = Field(max_length=100, description="a subject that is ready")
    upload_id: str | None = Field(None, max_length=100, description="a complete upload, instead of the file `audio`")
    options: RenderOptions = Field(RenderOptions(), description="JSON: see RenderOptions")


class Footage(Output):
    """What preprocessing found in a reference video. Values not yet known when it was refused are null."""

    duration_s: float | None = None
    fps: float | None = None
    width: int | None = Field(None, description="px, as shown (after rotation)")
    height: int | None = Field(None, description="px, as shown (after rotation)")
    frames: int | None = Field(None, description="at 25 frames a second")
    frames_with_face: int | None = None
    face_px: float | None = Field(None, description="height of the face in the source, px")
    head_yaw_deg: tuple[float, float] | None = Field(None, description="[least, most], degrees")
    sharpness: float | None = None
    warnings: list[str] = []


class Quality(Output):
    """Figures on the held-out part of the footage, which training never saw."""

    psnr: float | None = Field(None, description="whole picture, dB")
    ssim: float | None = None
    mouth_psnr: float | None = Field(None, description="box around the mouth, dB")
    lmd_px: float | None = Field(None, description="mean distance of the lip landmarks, px at 512")
    lip_sync: float | None = Field(None, description="correlation of rendered and true mouth opening, -1 to 1")
    held_out_frames: int | None = None


class JobError(Output):
    """Why a job failed, and what to do about it."""

    code: str = Field(description="a stable word such as no_face_found; all of them stand in docs/api.md")
    message: str
    remedy: str


class JobLinks(Output):
    self: str
    subject: str
    video: str | None
    cancel: str
    retry: str


class Job(Output):
    """One piece of work."""

    id: str = Field(examples=["job_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    kind: JobKind
    state: JobState
    stage: str | None = Field(description="what it is at, while it runs", examples=["head"])
    progress: float = Field(ge=0, le=1)
    eta_s: float | None = Field(description="seconds left, as measured so far; null until it can be told")
    queue_position: int | None = Field(description="place in the queue: 1 is the next to run; null: not queued")
    attempt: int
    max_attempts: int
    error: JobError | None
    subject_id: str
    video_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: JobLinks


class Views(Output):
    """How the sheet of pictures of a subject turned is laid out; its angles are those of `view`, within `view_limits`."""

    columns: int
    rows: int
    yaw_deg: list[float] = Field(description="of each column, from left to right")
    pitch_deg: list[float] = Field(description="of each row, from top to bottom")
    tile_px: int = Field(description="edge of one picture")


class Consent(Output):
    """The record of who agreed to be shown. It is in force until it is withdrawn, once and for ever."""

    by: str | None = Field(description="who agreed, where that was sent apart from the text")
    text: str = Field(description="who agreed to be shown, and to what, as it was sent")
    owner: str = Field(description="on whose behalf the subject was made, and who answers for the text")
    given_at: datetime = Field(description="when the text was taken in, together with the footage")
    footage_sha256: str | None = Field(description="of the reference video; null for a subject of an earlier version")
    digest: str = Field(description="SHA-256 of the record: what content credentials name (docs/authenticity.md)")
    withdrawn_at: datetime | None
    purged_at: datetime | None = Field(description="when footage, models and videos were removed on request")


class SubjectLinks(Output):
    self: str
    preview: str | None = Field(description="null until there is a picture")
    report: str | None = Field(description="a page for people: how good the subject is; null until training has ended")
    views: str | None = Field(description="a sheet of pictures of the subject turned; null until training has ended")
    jobs: str
    videos: str


class Subject(Output):
    """A person of whom videos can be made."""

    id: str = Field(examples=["sub_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    name: str
    state: SubjectState
    preset: str
    created_at: datetime
    updated_at: datetime
    footage: Footage | None
    quality: Quality | None
    view_limits: ViewLimits | None = Field(description="how far a video's `view` can turn it; null until it is ready")
    views: Views | None = Field(description="what links.views shows; null until it is ready")
    consent: Consent
    jobs: list[Job]
    links: SubjectLinks


class VideoLinks(Output):
    self: str
    subject: str
    file: str | None = Field(description="the MP4 or WebM; null until the video is ready")


class Video(Output):
    """A subject saying something."""

    id: str = Field(examples=["vid_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    subject_id: str
    state: VideoState
    options: RenderOptions
    view: ViewChange | None = Field(description="what was used of options.view, within the subject's limits")
    duration_s: float | None
    frames: int | None
    width: int | None
    height: int | None
    size_bytes: int | None
    created_at: datetime
    job: Job
    links: VideoLinks


class UploadLinks(Output):
    self: str
    used_by: str | None = Field(description="the subject or video that was made of it")


class Upload(Output):
    """A file that arrives in pieces, by tus."""

    id: str = Field(examples=["upl_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    name: str = Field(description="what the sender calls it; perhaps empty")
    state: Literal["receiving", "complete", "used"]
    size_bytes: int
    received_bytes: int
    used_by: str | None = Field(description="id of the subject or video that was made of it: an upload is used once")
    created_at: datetime
    expires_at: datetime = Field(description="when it is removed if nothing more of it comes")
    links: UploadLinks


class Page(Output, Generic[T]):
    """A part of a list, newest first."""

    items: list[T]
    next_cursor: str | None = Field(description="goes into `cursor` to get the next part; null: this is the last")


class ProblemEntry(Output):
    """One wrong value."""

    detail: str
    pointer: str | None = Field(None, description="JSON pointer into the body; a form counts as one object")
    parameter: str | None = Field(None, description="name of the query or path parameter")


class Part(Output):
    """How one part of the service is."""

    ok: bool
    detail: str = Field(description="what it is, or what is wrong with it")


class ExceededQuota(Output):
    """A quota that would not do."""

    name: QuotaName
    limit: float


class ProblemDetails(Output):
    """RFC 9457 problem details."""

    type: str = Field(description="URI reference that leads to a description of the code")
    title: str
    status: int
    detail: str = Field(description="what is wrong, and what to do about it")
    code: str = Field(json_schema_extra={"enum": list(PROBLEMS)})
    remedy: str = Field(description="the end of `detail` by itself: what to do about it")
    errors: list[ProblemEntry] | None = None
    parts: dict[str, Part] | None = Field(None, description="of /readyz: how each part of the service is")
    quota: ExceededQuota | None = Field(None, description="of `quota_exceeded`: what is used up")


class Health(Output):
    status: str


class Ready(Output):
    """Whether requests can be served, and whether somebody works on them."""

    status: Literal["ready", "degraded"] = Field(description="`degraded`: a queue has no worker, its jobs wait")
    parts: dict[str, Part] = Field(description="`database`, `store`, `queue`, `workers`")
    free_bytes: int = Field(description="space left where uploads go")
    workers: int = Field(description="worker processes alive, on all machines")
    queued: int = Field(description="jobs that wait")
    running: int = Field(description="jobs that a worker has")


class KeyForm(Input):
    """What a new key shall be."""

    owner: OwnerName = Field(description="whose things it sees and changes")
    name: Name = Field(description="what to call it, such as the machine that it is for")
    scopes: list[Scope] = Field(["read", "write"], min_length=1, description="what it may do")
    expires_at: AwareDatetime | None = Field(None, description="when it stops working; null: never")


class KeyRotation(Input):
    """How a key gets a new secret."""

    grace_s: float = Field(86_400.0, ge=0, le=30 * 86_400.0, description="how long the secret before works on")
    expires_at: AwareDatetime | None = Field(None, description="when the key stops working; null: as before")


class Key(Output):
    """An API key, without its secret, of which only a hash is kept."""

    id: str = Field(examples=["key_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    owner: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    last_used_at: datetime | None = Field(description="to within a minute; null: never")
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKey(Key):
    """A key with its token, which is shown this once."""

    token: str = Field(description="goes into `Authorization: Bearer`; it cannot be had again")


class Quota(Output):
    """How much is allowed, and how much of it is used."""

    limit: float
    used: float


class Quotas(Output):
    """What an owner may have and have done."""

    subjects: Quota = Field(description="subjects there are")
    queued_jobs: Quota = Field(description="jobs that wait")
    verifications: Quota = Field(description="files to be verified that were not looked at yet")
    daily_seconds: Quota = Field(description="seconds of video rendered since midnight UTC")
    stored_bytes: Quota = Field(description="bytes of what was sent and made")


class QuotaPatch(Input):
    """Quotas that shall differ from those of the settings; null: no longer."""

    subjects: int | None = Field(None, ge=0, le=1 << 53)
    queued_jobs: int | None = Field(None, ge=0, le=1 << 53)
    verifications: int | None = Field(None, ge=0, le=1 << 53)
    daily_seconds: float | None = Field(None, ge=0, le=10**12)
    stored_bytes: int | None = Field(None, ge=0, le=1 << 53)


class Owner(Output):
    """Somebody who has subjects and videos."""

    name: str
    quotas: Quotas


class Me(Output):
    """Who asks."""

    owner: str = Field(description="whose things the key sees; `local` on a service without keys")
    scopes: list[Scope]
    key: Key | None = Field(description="null on a service without keys")
    quotas: Quotas
