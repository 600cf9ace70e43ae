"""The resources of the service as pydantic models; docs/api.md explains each field.

An older client works with a newer service: unknown fields are kept (`extra="allow"`), and states, kinds and the like
accept unknown values. Times are in UTC.
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
    """The base class of all resources. An instance is frozen; get the resource again to see its new state."""

    model_config = ConfigDict(extra="allow", frozen=True)


class JobError(Model):
    """The reason why a job failed, and the remedy."""

    code: str
    message: str
    remedy: str


class Job(Model):
    """A job. `progress` is 0 to 1, `eta_s` the estimated seconds left, `queue_position` 1 the next job to run."""

    id: str
    kind: JobKind
    state: JobState
    stage: str | None = None
    progress: float = 0.0
    eta_s: float | None = None
    queue_position: int | None = None
    priority: Literal["normal", "low"] | str = "normal"
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
        """True if the job succeeded, failed or was cancelled."""
        return self.state in ("succeeded", "failed", "cancelled")


class LeftOut(Model):
    """What is left out of the footage for one reason: seconds together, and the longest stretches as (start, end), s."""

    reason: str
    seconds: float
    spans: list[tuple[float, float]] = []


class Footage(Model):
    """Measurements of a reference video. A field is None if it was not measured, for example in a refused video."""

    duration_s: float | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    frames_with_face: int | None = None
    face_px: float | None = None
    head_yaw_deg: tuple[float, float] | None = None
    sharpness: float | None = None
    usable_s: float | None = None
    takes: list[tuple[float, float]] | None = None
    left_out: list[LeftOut] | None = None
    faces: int | None = None
    camera_shift: float | None = None
    lag_ms: float | None = None
    speech_share: float | None = None
    warnings: list[str] = []


class Quality(Model):
    """Measurements on the held-out part of the footage, which training does not use."""

    psnr: float | None = None
    ssim: float | None = None
    mouth_psnr: float | None = None
    lmd_px: float | None = None
    lip_sync: float | None = None
    sync_offset_ms: float | None = None
    sync_confidence: float | None = None
    held_out_frames: int | None = None
    full_psnr: float | None = None
    full_ssim: float | None = None
    full_lpips: float | None = None
    region_psnr: float | None = None
    region_lpips: float | None = None
    seam: float | None = None


class ViewLimits(Model):
    """The range of head rotations of a subject: (minimum, maximum) in degrees."""

    yaw_deg: tuple[float, float]
    pitch_deg: tuple[float, float]
    roll_deg: tuple[float, float]


class FullFrame(Model):
    """The size of the footage in videos, px."""

    width: int
    height: int


class Origin(Model):
    """Where a subject comes from that was made from a bundle; `key` is the public key of that service (Base64)."""

    subject_id: str
    consent_given_at: datetime
    consent_digest: str
    exported_at: datetime
    key: str


class Subject(Model):
    """A person of whom videos are made. `jobs` starts with the oldest.

    `full_frame` is None until the subject is ready, and for a subject of an earlier version, which has portraits only. `face` is the
    face that was chosen (x, y, second). `imported_from` is None for a subject that was made from footage.
    """

    id: str
    name: str
    state: SubjectState
    preset: str
    created_at: datetime
    trashed_until: datetime | None = None
    updated_at: datetime
    imported_from: Origin | None = None
    face: dict[str, float] | None = None
    footage: Footage | None = None
    quality: Quality | None = None
    view_limits: ViewLimits | None = None
    full_frame: FullFrame | None = None
    jobs: list[Job] = []


class View(Model):
    """A change that is added to the head's pose.

    Yaw (to the person's left), pitch (up) and roll (clockwise) are in degrees. `x` (right) and `y` (down) are shifts as
    fractions of the picture.
    """

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    zoom: float = 1.0
    x: float = 0.0
    y: float = 0.0


class Background(Model):
    """The background of a video; `color` is "#rrggbb" and belongs to the kind `color`."""

    kind: Literal["original", "color", "image", "transparent"] | str = "original"
    color: str | None = None


class BurntCaptions(Model):
    """Captions that are drawn into the picture; `color` is "#rrggbb", `box` a dark box behind the letters."""

    size: Literal["small", "medium", "large"] | str = "medium"
    position: Literal["bottom", "middle", "top"] | str = "bottom"
    color: str = "#ffffff"
    box: bool = True


class Captions(Model):
    """The captions of a video: a file of the kind `file`, and those in the picture."""

    file: Literal["srt", "vtt"] | str | None = None
    burn: BurntCaptions | None = None


class Options(Model):
    """The options of a video. The service chooses the value of each that is None.

    `frame` full is the footage's own frame; a portrait is a square, which `view`, `background` and `motion` need. `size` is the longest
    edge in px. `motion` scales the motion of the head (0 to 1.5). `aspect` is the shape of the video: the frame is cut (`fit` cover), or
    stands between `sides` (contain), which are "blur" or a colour.
    """

    frame: Literal["full", "portrait"] | str | None = None
    size: int | None = None
    pose: Literal["track", "still"] | str | None = None
    motion: float | None = None
    view: View | None = None
    background: Background | None = None
    format: Literal["mp4", "webm"] | str | None = None
    seed: int | None = None
    label: bool | str | None = None
    aspect: Literal["source", "16:9", "9:16", "1:1", "4:5"] | str | None = None
    fit: Literal["cover", "contain"] | str | None = None
    sides: str | None = None
    captions: Captions | None = None


class VideoWarning(Model):
    """Something that was asked for and could not be done, although the video is ready."""

    code: str
    message: str


class Voice(Model):
    """A voice that can read scripts. `default`: it reads scripts for which no voice is named."""

    id: str
    name: str
    language: str
    engine: str
    licence: str
    default: bool = False


class Voices(Model):
    """All voices, the default first."""

    items: list[Voice]


class Video(Model):
    """A video of a subject. `view` is `options.view` clamped to the subject's limits, and `frame` what was rendered.

    `idle_s` is the requested length of a video without speech; None if the subject speaks. `script` is the text that `voice` reads at
    `speed`; None if the speech was sent. `metadata` are the client's own texts.
    """

    id: str
    subject_id: str
    state: VideoState
    title: str | None = None
    metadata: dict[str, str] = {}
    script: str | None = None
    voice: str | None = None
    speed: float | None = None
    options: Options
    view: View | None = None
    idle_s: float | None = None
    duration_s: float | None = None
    frame: Literal["full", "portrait"] | str | None = None
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    size_bytes: int | None = None
    warnings: list[VideoWarning] = []
    created_at: datetime
    trashed_until: datetime | None = None
    job: Job


class Share(Model):
    """A link by which everybody can watch one video. `url` is a path on the service."""

    id: str
    video_id: str
    url: str
    only_here: bool = False
    created_at: datetime
    expires_at: datetime


class BatchItem(Model):
    """What became of one request of a batch: the new video, or the problem (its fields are those of problem details)."""

    status: int
    video: Video | None = None
    problem: dict[str, Any] | None = None


class BatchResult(Model):
    """What became of each request of a batch, in their order."""

    items: list[BatchItem]


class Consent(Model):
    """The record of a person's consent. `digest` is its SHA-256, which the content credentials of videos contain.

    `clip_sha256` is that of the clip in which it was spoken, if there is one (Subjects.consent_clip). With `may_improve_others`, other
    people's lips may be learnt from the footage; it was changed last at `may_improve_others_at` (Subjects.set_may_improve_others).
    """

    by: str | None = None
    text: str
    given_at: datetime
    footage_sha256: str | None = None
    clip_sha256: str | None = None
    digest: str
    may_improve_others: bool = False
    may_improve_others_at: datetime | None = None
    withdrawn_at: datetime | None = None
    purged_at: datetime | None = None


class Upload(Model):
    """A resumable upload of a file. It can be used once; `used_by` is the id of the resource made from it."""

    id: str
    name: str = ""
    state: Literal["receiving", "complete", "used"] | str
    size_bytes: int
    received_bytes: int
    used_by: str | None = None
    created_at: datetime
    expires_at: datetime


class Credentials(Model):
    """The signed content credentials (C2PA) of a file. `valid`: the signature is intact; `ours`: this service signed.

    `source_type` is a term of the IPTC: trainedAlgorithmicMedia if all is generated, compositeWithTrainedAlgorithmicMedia if the file
    shows footage (whose SHA-256 is `footage_sha256`) with a generated part.
    """

    present: bool
    valid: bool
    ours: bool
    issuer: str | None = None
    generator: str | None = None
    signed_at: datetime | None = None
    source_type: str | None = None
    footage_sha256: str | None = None
    video_id: str | None = None


class Mark(Model):
    """The invisible mark of a video. `false_alarm` is an upper bound of the probability of a detection by chance."""

    found: bool
    score: float | None = None
    false_alarm: float | None = None
    video_id: str | None = None


class Verification(Model):
    """The answer to the question whether the service made a file.

    The content credentials and the invisible mark are checked independently. Both, and `made_here`, are None until the
    check is finished.
    """

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
    """An address that receives events. `secret` verifies deliveries; only the responses to create and rotate hold it."""

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
    """The delivery of one event to one webhook."""

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
    """One page of a list, newest first."""

    items: list[T]
    next_cursor: str | None = None
