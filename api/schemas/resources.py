"""Subjects, videos, jobs, voices and uploads as pydantic models. Requests with unknown fields are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from adnerf_core.config import (
    MAX_AUDIO_TRACK,
    FaceChoice,
    PresetName,
    RenderOptions,
    ViewChange,
    ViewLimits,
)
from api.schemas.base import Input, Name, Output, Text
from api.schemas.numbers import PLAIN
from storage.database.models import JobKind, JobPriority, JobState, SubjectState, VideoState


class SubjectForm(Input):
    """The text fields of POST /v1/subjects, sent with the files `video` and `consent_clip`."""

    name: Name | None = Field(None, description="display name; default: the name of the file")
    preset: PresetName = Field("standard", description="training length and level of detail")
    audio_track: Annotated[int | None, PLAIN] = Field(
        None,
        ge=1,
        le=MAX_AUDIO_TRACK,
        description="sound track of the video, from 1 on; default: the one that holds speech",
    )
    consent: Text = Field(description="who agreed to be shown, and to what; stored with the subject")
    consent_by: Name | None = Field(None, description="name of the person who agreed, if the text does not contain it")
    may_improve_others: bool = Field(
        False,
        description="whether the person also agreed that the lips of other people on this service are learnt from the footage",
    )
    upload_id: str | None = Field(
        None, max_length=100, description="id of a complete upload that replaces the file `video`"
    )
    sample: Literal["person"] | None = Field(
        None, description="`person` takes the footage of the sample person (GET /v1/samples) in place of `video`"
    )
    consent_upload_id: str | None = Field(
        None, max_length=100, description="id of a complete upload that replaces the file `consent_clip`"
    )
    face: FaceChoice | None = Field(
        None,
        description="JSON: which face is the person, if the footage shows several: the middle of the face (`x`, `y`, 0..1 from the upper "
        "left) and the `second` at which it is there; default: the face that speaks",
        examples=[{"x": 0.3, "y": 0.4, "second": 2}],
    )


class Withdrawal(Input):
    """Options of a withdrawal of consent."""

    purge: bool = Field(False, description="also delete footage, models and videos; the record itself stays")


class SubjectImportForm(Input):
    """The text fields of POST /v1/subjects/import, sent with the file `bundle`."""

    name: Name | None = Field(None, description="display name; default: the one in the bundle")
    upload_id: str | None = Field(
        None, max_length=100, description="id of a complete upload that replaces the file `bundle`"
    )


class SubjectPatch(Input):
    """The fields of a subject that can be changed; omitted fields stay as they are."""

    name: Name = Field(default=None)
    may_improve_others: bool = Field(
        default=None, description="see POST; false also ends the use of what was learnt with this subject"
    )


class LeftOut(Output):
    """What is left out of the footage for one reason."""

    reason: Literal["transition", "other_shot", "no_face", "edge", "turned", "hidden"] = Field(
        description="a cut, dissolve, fade, flash or freeze; no face, another person or framing; the face is not seen, not whole in the "
        "picture, turned away, or something is before it"
    )
    seconds: float = Field(description="all together")
    spans: list[tuple[float, float]] = Field(description="[start, end] of the longest stretches, seconds")


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
    sharpness: float | None = Field(None, description="of the face; below 4 it is blurred")
    usable_s: float | None = Field(None, description="how much of the footage is used, seconds")
    takes: list[tuple[float, float]] | None = Field(
        None, description="[start, end] of the stretches without a cut that are used, seconds"
    )
    left_out: list[LeftOut] | None = Field(None, description="what is left out of the footage, and why")
    faces: int | None = Field(None, description="how many faces are seen at the same time")
    camera_shift: float | None = Field(None, description="motion of the background, in widths of the picture")
    lag_ms: float | None = Field(None, description="how late the sound was, which was corrected, ms")
    speech_share: float | None = Field(None, description="share of speech in the sound of what is used, 0..1")
    warnings: list[str] = Field([])


class Quality(Output):
    """Metrics on the held-out part of the footage, which is not used in training."""

    psnr: float | None = Field(None, description="of the whole portrait, dB")
    ssim: float | None = None
    mouth_psnr: float | None = Field(None, description="of the box around the mouth, dB")
    lmd_px: float | None = Field(
        None, description="mean distance between rendered and true lip landmarks, px at 512 px frame size"
    )
    lip_sync: float | None = Field(None, description="correlation between rendered and true mouth opening, -1 to 1")
    sync_offset_ms: float | None = Field(
        None,
        description="how much later the rendered lips are than the sound, as a judge tells that learnt from the footage",
    )
    sync_confidence: float | None = Field(None, description="of sync_offset_ms; below 1.2 it may be chance")
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
    priority: JobPriority = Field(description="`low` is claimed when no job of normal priority waits")
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
    clip_sha256: str | None = Field(description="SHA-256 of the clip in which it was spoken; null: there was none")
    digest: str = Field(
        description="SHA-256 of the record, which the content credentials contain (docs/authenticity.md)"
    )
    may_improve_others: bool = Field(
        description="whether other people's lips may be learnt from the footage, which PATCH changes; not a part of the digest"
    )
    may_improve_others_at: datetime | None = Field(
        description="time of the last such change; null: none since `given_at`"
    )
    withdrawn_at: datetime | None
    purged_at: datetime | None = Field(description="time at which footage, models and videos were deleted on request")


class SubjectLinks(Output):
    """Links of a subject."""

    self: str
    footage: str | None = Field(description="the reference video as it was sent; null after consent was withdrawn")
    consent_clip: str | None = Field(description="the clip in which consent was spoken; null if there is none")
    preview: str | None = Field(description="preview image; null until there is one")
    thumbnail: str | None = Field(description="a JPEG of the footage; null until it has been checked")
    report: str | None = Field(description="HTML report on the quality of the subject; null until training has ended")
    views: str | None = Field(description="view sheet; null until training has ended")
    jobs: str
    videos: str


class Origin(Output):
    """Where a subject comes from that was made from a bundle."""

    subject_id: str = Field(description="its id there")
    consent_given_at: datetime
    consent_digest: str = Field(description="SHA-256 of the record of consent there")
    exported_at: datetime
    key: str = Field(description="public key of the service that exported it, Base64")


class Subject(Output):
    """A person from a reference video, trained so that videos can be rendered."""

    id: str = Field(examples=["sub_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    name: str
    state: SubjectState
    preset: str
    created_at: datetime
    updated_at: datetime
    trashed_until: datetime | None = Field(
        description="time at which it is deleted for good; null: it is not in the trash"
    )
    imported_from: Origin | None = Field(description="its origin; null: it was made here, from footage")
    face: FaceChoice | None = Field(description="the face that was chosen when the subject was made")
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


class VideoWarning(Output):
    """Something that could not be done."""

    code: str = Field(description="stable identifier; docs/api.md lists all codes", examples=["captions_unavailable"])
    message: str


class VideoLinks(Output):
    """Links of a video."""

    self: str
    subject: str
    file: str | None = Field(description="the MP4 or WebM; null until the video is ready")
    stream: str | None = Field(
        description="an HLS playlist: an MP4 while it is rendered, and for some minutes more; null before and after"
    )
    audio: str | None = Field(description="the speech of a `script`, a WAV; null until it has been read")
    captions: str | None = Field(description="the caption file of options.captions.file; null until the video is ready")
    thumbnail: str | None = Field(description="a JPEG; null until the video is ready")
    preview_clip: str | None = Field(description="a short MP4 without sound; null until the video is ready")


class Video(Output):
    """A video of a subject speaking given audio, or silent."""

    id: str = Field(examples=["vid_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    subject_id: str
    state: VideoState
    title: str | None
    metadata: dict[str, str] = Field(description="the client's own texts, by name")
    script: str | None = Field(description="the text that `voice` reads; null: the speech was sent, or there is none")
    voice: str | None
    speed: float | None
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
    warnings: list[VideoWarning] = Field(
        description="what could not be done of what was asked, although the video is ready"
    )
    created_at: datetime
    trashed_until: datetime | None = Field(
        description="time at which it is deleted for good; null: it is not in the trash"
    )
    job: Job
    links: VideoLinks


class VoiceLinks(Output):
    """Links of a voice."""

    sample: str | None = Field(description="a WAV to hear; null until a worker has made it")


class Voice(Output):
    """A voice that can read scripts."""

    id: str = Field(examples=["hibari-heart"])
    name: str
    language: str = Field(description="a tag of BCP 47; `und`: not known", examples=["en-US"])
    engine: str = Field(examples=["hibari"])
    licence: str = Field(description="of the voice and the program that reads it", examples=["Apache-2.0"])
    default: bool = Field(description="whether it reads scripts for which no voice is named")
    links: VoiceLinks


class Voices(Output):
    """All voices, the default first."""

    items: list[Voice]


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


class Samples(Output):
    """Whether the service can make samples to try it with."""

    available: bool
