"""Request and response bodies of the HTTP API, as pydantic models. Requests with unknown fields are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
)

from adnerf_core.config import MAX_IDLE_S, MIN_IDLE_S, PresetName, RenderOptions, ViewChange, ViewLimits
from api.problems.table import PROBLEMS
from api.schemas.numbers import PLAIN
from api.schemas.one_line import PATTERN, TEXT_PATTERN, visible_line, visible_text
from storage.database.models import JobKind, JobState, SubjectState, VideoState
from storage.tables.api_keys import END_OF_TIME, OWNER, Scope
from storage.tables.quotas import QuotaName

T = TypeVar("T")
"""Type of the items of a page."""

Text = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=10_000,
    ),
    AfterValidator(visible_text),
    Field(json_schema_extra={"pattern": TEXT_PATTERN}),
]
Name = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=200,
    ),
    AfterValidator(visible_line),
    Field(json_schema_extra={"pattern": PATTERN}),
]
OwnerName = Annotated[str, StringConstraints(pattern=f"^{OWNER}$")]


def _in_the_calendar(time: datetime) -> datetime:
    if not 1970 <= time.year < END_OF_TIME.year:
        raise ValueError(f"Must lie between the years 1970 and {END_OF_TIME.year - 1}")
    return time


Time = Annotated[AwareDatetime, AfterValidator(_in_the_calendar)]
"""A time that a client chooses, with its time zone."""


class Input(BaseModel):
    """Base of request bodies."""

    model_config = ConfigDict(extra="forbid")


class Output(BaseModel):
    """Base of response bodies. Times are RFC 3339 in UTC; ids are opaque; links are paths on this service."""

    model_config = ConfigDict(from_attributes=True)


class SubjectForm(Input):
    """The text fields of POST /v1/subjects, sent with the file `video`."""

    name: Name | None = Field(None, description="display name; default: the name of the file")
    preset: PresetName = Field("standard", description="training length and level of detail")
    consent: Text = Field(description="who agreed to be shown, and to what; stored with the subject")
    consent_by: Name | None = Field(None, description="name of the person who agreed, if the text does not contain it")
    upload_id: str | None = Field(
        None, max_length=100, description="id of a complete upload that replaces the file `video`"
    )


class Withdrawal(Input):
    """Options of a withdrawal of consent."""

    purge: bool = Field(False, description="also delete footage, models and videos; the record itself stays")


class SubjectPatch(Input):
    """The fields of a subject that can be changed."""

    name: Name


class VideoForm(Input):
    """The text fields of POST /v1/videos, sent with the file `audio`, if the video has speech, and optionally `background`."""

    subject_id: str = Field(max_length=100, description="id of a subject that is ready")
    upload_id: str | None = Field(
        None, max_length=100, description="id of a complete upload that replaces the file `audio`"
    )
    duration_s: Annotated[float | None, PLAIN] = Field(
        None,
        ge=MIN_IDLE_S,
        le=MAX_IDLE_S,
        description="in place of the speech: length of a video in which the person is silent, seconds. It loops: its first and last "
        "frame are alike",
        examples=[10],
    )
    options: RenderOptions = Field(
        RenderOptions(),
        description="JSON: see RenderOptions",
        examples=[{"frame": "full", "size": 1280}, {"frame": "portrait", "view": {"yaw_deg": 10}, "motion": 0.5}],
    )


class Footage(Output):
    """Measurements of a reference video by preprocessing. Values that were unknown when it was refused are null."""

    duration_s: float | None = None
    fps: float | None = None
    width: int | None = Field(None, description="px, after rotation")
    height: int | None = Field(None, description="px, after rotation")
    frames: int | None = Field(None, description="at 25 frames a second")
    frames_with_face: int | None = None
    face_px: float | None = Field(None, description="height of the face in the source, px")
    head_yaw_deg: tuple[float, float] | None = Field(None, description="[smallest, largest] yaw of the head, degrees")
    sharpness: float | None = None
    warnings: list[str] = []


class Quality(Output):
    """Metrics on the held-out part of the footage, which is not used in training."""

    psnr: float | None = Field(None, description="of the whole portrait, dB")
    ssim: float | None = None
    mouth_psnr: float | None = Field(None, description="of the box around the mouth, dB")
    lmd_px: float | None = Field(
        None, description="mean distance between rendered and true lip landmarks, px at 512 px frame size"
    )
    lip_sync: float | None = Field(None, description="correlation between rendered and true mouth opening, -1 to 1")
    held_out_frames: int | None = None
    full_psnr: float | None = Field(None, description="of the full frame, in the square around head and shoulders, dB")
    full_ssim: float | None = None
    full_lpips: float | None = Field(None, description="null unless the operator has fetched LPIPS")
    region_psnr: float | None = Field(None, description="of the rendered part of the full frame, dB")
    region_lpips: float | None = None
    seam: float | None = Field(
        None, description="gradient in the soft edge of the rendered part, over the footage's; 1 is no seam"
    )


class JobError(Output):
    """Why a job failed, and the remedy."""

    code: str = Field(description="stable identifier such as no_face_found; docs/api.md lists all codes")
    message: str
    remedy: str


class JobLinks(Output):
    """Links of a job."""

    self: str
    subject: str
    video: str | None
    cancel: str
    retry: str


class Job(Output):
    """A unit of work in the queue: preprocessing, training or rendering."""

    id: str = Field(examples=["job_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    kind: JobKind
    state: JobState
    stage: str | None = Field(description="current stage of a running job", examples=["head"])
    progress: float = Field(ge=0, le=1)
    eta_s: float | None = Field(
        description="estimated seconds to the end: of a running job from its measured speed, of a queued one from the durations of "
        "earlier jobs, with the time that it waits; null where there is nothing to estimate from"
    )
    queue_position: int | None = Field(
        description="position among the queued jobs of the workers that serve it: 1 is the next to run; null: not queued"
    )
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
    """Layout of the view sheet, an image of the subject at several view angles within `view_limits`."""

    columns: int
    rows: int
    yaw_deg: list[float] = Field(description="yaw of each column, left to right, degrees")
    pitch_deg: list[float] = Field(description="pitch of each row, top to bottom, degrees")
    tile_px: int = Field(description="edge of one image, px")
    masks: bool = Field(
        False,
        description="whether as many rows follow below, with the opacity of the person in each image, white on black",
    )


class FullFrame(Output):
    """Size of the footage in a subject's videos, px: the footage's own, with a longest edge of at most 1920."""

    width: int = Field(examples=[1280])
    height: int = Field(examples=[720])


class Consent(Output):
    """The record of consent. It is valid until it is withdrawn; a withdrawal is final."""

    by: str | None = Field(description="name of the person who agreed, if it was sent separately")
    text: str = Field(description="who agreed to be shown, and to what, as the client sent it")
    owner: str = Field(description="owner of the subject, who is responsible for the text")
    given_at: datetime = Field(description="time at which the service received the text and the footage")
    footage_sha256: str | None = Field(
        description="SHA-256 of the reference video; null for a subject of an earlier version"
    )
    digest: str = Field(
        description="SHA-256 of the record, which the content credentials contain (docs/authenticity.md)"
    )
    withdrawn_at: datetime | None
    purged_at: datetime | None = Field(description="time at which footage, models and videos were deleted on request")


class SubjectLinks(Output):
    """Links of a subject."""

    self: str
    footage: str | None = Field(description="the reference video as it was sent; null after consent was withdrawn")
    preview: str | None = Field(description="preview image; null until there is one")
    report: str | None = Field(description="HTML report on the quality of the subject; null until training has ended")
    views: str | None = Field(description="view sheet; null until training has ended")
    jobs: str
    videos: str


class Subject(Output):
    """A person from a reference video, trained so that videos can be rendered."""

    id: str = Field(examples=["sub_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    name: str
    state: SubjectState
    preset: str
    created_at: datetime
    updated_at: datetime
    footage: Footage | None
    quality: Quality | None
    view_limits: ViewLimits | None = Field(
        description="limits of the angles of a video's `view`; null until the subject is ready"
    )
    full_frame: FullFrame | None = Field(
        description="size of videos with frame `full`; null until the subject is ready, and for a subject of an earlier version, "
        "which has portraits only"
    )
    views: Views | None = Field(description="layout of links.views; null until the subject is ready")
    eta_s: float | None = Field(
        description="estimated seconds until the subject is ready, through all its jobs; null if it is not being made, or unknown"
    )
    consent: Consent
    jobs: list[Job]
    links: SubjectLinks


class VideoLinks(Output):
    """Links of a video."""

    self: str
    subject: str
    file: str | None = Field(description="the MP4 or WebM; null until the video is ready")


class Video(Output):
    """A video of a subject speaking given audio, or silent."""

    id: str = Field(examples=["vid_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    subject_id: str
    state: VideoState
    options: RenderOptions
    view: ViewChange | None = Field(description="options.view after clamping to the subject's limits")
    idle_s: float | None = Field(description="the requested length of a video without speech; null: the person speaks")
    duration_s: float | None
    frame: Literal["full", "portrait"] | None = Field(
        description="what was rendered; null until the video is ready, and for a video of an earlier version, which is a portrait"
    )
    frames: int | None
    width: int | None
    height: int | None
    size_bytes: int | None
    created_at: datetime
    job: Job
    links: VideoLinks


class UploadLinks(Output):
    """Links of an upload."""

    self: str
    used_by: str | None = Field(description="link to the subject, video or verification that used it")


class Upload(Output):
    """A resumable upload by the tus protocol."""

    id: str = Field(examples=["upl_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    name: str = Field(description="file name that the client sent; may be empty")
    state: Literal["receiving", "complete", "used"]
    size_bytes: int
    received_bytes: int
    used_by: str | None = Field(
        description="id of the subject, video or verification that used it; an upload can be used once"
    )
    created_at: datetime
    expires_at: datetime = Field(description="time at which it is deleted unless more data arrives")
    links: UploadLinks


class Page(Output, Generic[T]):
    """A page of a list, newest first."""

    items: list[T]
    next_cursor: str | None = Field(description="value of `cursor` for the next page; null: this is the last page")


class ProblemEntry(Output):
    """One invalid value."""

    detail: str
    pointer: str | None = Field(None, description="JSON pointer into the body; a form counts as one JSON object")
    parameter: str | None = Field(None, description="name of the query or path parameter")


class Part(Output):
    """State of one component of the service."""

    ok: bool
    detail: str = Field(description="kind of the component, or what is wrong with it")


class ExceededQuota(Output):
    """The quota that a request would exceed."""

    name: QuotaName
    limit: float


class ProblemDetails(Output):
    """RFC 9457 problem details."""

    type: str = Field(description="URI reference of a description of the code")
    title: str
    status: int
    detail: str = Field(description="what is wrong, followed by the remedy")
    code: str = Field(json_schema_extra={"enum": list(PROBLEMS)})
    remedy: str = Field(description="the remedy alone, which is also the end of `detail`")
    errors: list[ProblemEntry] | None = None
    parts: dict[str, Part] | None = Field(None, description="only of /readyz: the state of each component")
    quota: ExceededQuota | None = Field(None, description="only of `quota_exceeded`: the exhausted quota")


class Health(Output):
    """Result of the liveness check."""

    status: str


class Ready(Output):
    """Whether the service can take requests, and whether workers are there to process them."""

    status: Literal["ready", "degraded"] = Field(description="`degraded`: a queue has no worker; its jobs wait")
    parts: dict[str, Part] = Field(description="`database`, `store`, `queue`, `workers`")
    free_bytes: int = Field(description="free space for uploads, bytes")
    workers: int = Field(description="number of live worker processes on all machines")
    queued: int = Field(description="number of queued jobs")
    running: int = Field(description="number of running jobs")


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
    queued_jobs: Quota = Field(description="number of queued jobs")
    verifications: Quota = Field(description="number of pending verifications")
    daily_seconds: Quota = Field(description="seconds of video rendered since midnight UTC")
    stored_bytes: Quota = Field(description="bytes of uploaded and generated files")


class QuotaPatch(Input):
    """Quotas that override the settings; null removes an override."""

    subjects: int | None = Field(None, ge=0, le=1 << 53)
    queued_jobs: int | None = Field(None, ge=0, le=1 << 53)
    verifications: int | None = Field(None, ge=0, le=1 << 53)
    daily_seconds: float | None = Field(None, ge=0, le=10**12)
    stored_bytes: int | None = Field(None, ge=0, le=1 << 53)


class Owner(Output):
    """A tenant: the owner of subjects, videos and keys."""

    name: str
    quotas: Quotas


class Samples(Output):
    """Whether the service can make samples to try it with."""

    available: bool


class Limits(Output):
    """Largest files that the service takes, bytes."""

    video_bytes: int
    audio_bytes: int
    image_bytes: int


class Me(Output):
    """The caller of the request."""

    owner: str = Field(description="owner whose resources the key can access; `local` on a service without keys")
    scopes: list[Scope]
    key: Key | None = Field(description="null on a service without keys")
    quotas: Quotas
    limits: Limits
