"""The service's resources, as they come over the wire: docs/api.md says what each field means.

Fields that a later version of the service adds are kept (`extra="allow"`) and words that it adds to a state are taken as
they are, so that an older client goes on working. Times are UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")

Preset = Literal["draft", "standard", "high", "paper"]
JobKind = Literal["preprocess", "train", "render"] | str
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"] | str
SubjectState = Literal["pending", "preprocessing", "training", "ready", "failed", "cancelled"] | str
VideoState = Literal["pending", "rendering", "ready", "failed", "cancelled"] | str


class Model(BaseModel):
    """Base of all: a value that does not change; read it again to see what has become of it."""

    model_config = ConfigDict(extra="allow", frozen=True)


class JobError(Model):
    """Why a job failed, and what to do about it."""

    code: str
    message: str
    remedy: str


class Job(Model):
    """One piece of work. `progress` is 0 to 1; `eta_s` seconds left; `queue_position` 1 is the next to run."""

    id: str
    kind: JobKind
    state: JobState
    stage: str | None = None
    progress: float = 0.0
    eta_s: float | None = None
    queue_position: int | None = None
    attempt: int = 0
    max_attempts: int = 0
    error: JobError | None = None
    subject_id: str
    video_id: str | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether no more will come of it, unless it is retried."""
        return self.state in ("succeeded", "failed", "cancelled")


class Footage(Model):
    """What was found in a reference video. What was not yet known when it was refused is None."""

    duration_s: float | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    frames_with_face: int | None = None
    face_px: float | None = None
    head_yaw_deg: tuple[float, float] | None = None
    sharpness: float | None = None
    warnings: list[str] = []


class Quality(Model):
    """Figures on the held-out part of the footage, which training never saw."""

    psnr: float | None = None
    ssim: float | None = None
    mouth_psnr: float | None = None
    lmd_px: float | None = None
    lip_sync: float | None = None
    held_out_frames: int | None = None


class ViewLimits(Model):
    """How far a subject can be turned, degrees: (least, most)."""

    yaw_deg: tuple[float, float]
    pitch_deg: tuple[float, float]
    roll_deg: tuple[float, float]


class Subject(Model):
    """A person of whom videos can be made. `jobs` are the oldest first."""

    id: str
    name: str
    state: SubjectState
    preset: str
    created_at: datetime
    updated_at: datetime
    footage: Footage | None = None
    quality: Quality | None = None
    view_limits: ViewLimits | None = None
    jobs: list[Job] = []


class View(Model):
    """A change added to the head's pose: degrees (yaw to the person's left, pitch up, roll clockwise), zoom, shift."""

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    zoom: float = 1.0
    x: float = 0.0
    y: float = 0.0


class Background(Model):
    """What stands behind the person; `color` is "#rrggbb" and goes with kind `color`."""

    kind: Literal["original", "color", "image", "transparent"] | str = "original"
    color: str | None = None


class Options(Model):
    """How a video is made. What is not given, the service chooses."""

    size: int | None = None
    pose: Literal["track", "still"] | str | None = None
    view: View | None = None
    background: Background | None = None
    format: Literal["mp4", "webm"] | str | None = None
    seed: int | None = None
    label: bool | str | None = None


class Video(Model):
    """A subject saying something. `view` is what was used of `options.view`, within the subject's limits."""

    id: str
    subject_id: str
    state: VideoState
    options: Options
    view: View | None = None
    duration_s: float | None = None
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    size_bytes: int | None = None
    created_at: datetime
    job: Job


class Consent(Model):
    """The record of who agreed to be shown; `digest` is its SHA-256, which content credentials name."""

    by: str | None = None
    text: str
    given_at: datetime
    footage_sha256: str | None = None
    digest: str
    withdrawn_at: datetime | None = None
    purged_at: datetime | None = None


class Upload(Model):
    """A file on its way to the service. It is used once, for the subject or video `used_by`."""

    id: str
    name: str = ""
    state: Literal["receiving", "complete", "used"] | str
    size_bytes: int
    received_bytes: int
    used_by: str | None = None
    created_at: datetime
    expires_at: datetime


class Credentials(Model):
    """What the signed content credentials (C2PA) of a file say: `valid` is that they hold, `ours` that the service signed."""

    present: bool
    valid: bool
    ours: bool
    issuer: str | None = None
    generator: str | None = None
    signed_at: datetime | None = None
    video_id: str | None = None


class Mark(Model):
    """What the invisible mark in the pictures says; `false_alarm` bounds the probability that it says so by chance."""

    found: bool
    score: float | None = None
    false_alarm: float | None = None
    video_id: str | None = None


class Verification(Model):
    """Whether a file was made by the service, by two ways that do not depend on each other. None until it is known."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed"] | str
    made_here: bool | None = None
    made_at: datetime | None = None
    credentials: Credentials | None = None
    mark: Mark | None = None
    error: JobError | None = None
    created_at: datetime
    finished_at: datetime | None = None


class Webhook(Model):
    """An address that is told of events. `secret`, by which deliveries are verified, is there once: when it is made."""

    id: str
    url: str
    events: list[str]
    description: str = ""
    enabled: bool = True
    disabled_because: str | None = None
    failing_since: datetime | None = None
    created_at: datetime
    updated_at: datetime
    secret: str | None = None


class Delivery(Model):
    """One event, told to one webhook."""

    id: str
    webhook_id: str
    event: str
    state: Literal["pending", "delivered", "failed"] | str
    attempts: int = 0
    next_attempt_at: datetime | None = None
    last_attempt_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None
    response: str | None = None
    payload: dict[str, Any]
    created_at: datetime
    delivered_at: datetime | None = None


class Page(Model, Generic[T]):
    """A part of a list, newest first."""

    items: list[T]
    next_cursor: str | None = None
