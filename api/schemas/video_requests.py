"""Request bodies that make videos: the text fields of a form, which are also the members of a JSON body, and batches of these."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from adnerf_core.config import MAX_IDLE_S, MIN_IDLE_S, RenderOptions
from adnerf_core.speech.script import MAX_PAUSES_S, MAX_SCRIPT, pauses_s, says_something
from api.schemas.base import Input, Name, Output, Text
from api.schemas.numbers import PLAIN
from api.schemas.one_line import TEXT_CONTROLS, plain_text
from api.schemas.problem_details import ProblemDetails
from api.schemas.resources import Video
from storage.database.models import JobPriority

MAX_METADATA = 16
"""Entries of `metadata`: enough to find one's own records again, and too few to be a database."""
MAX_BATCH = 100
"""Videos of one batch: as many as a page of a list shows."""

MIN_SPEED, MAX_SPEED = 0.5, 2.0
"""Bounds of the speed of a voice: beyond them the engines become hard to understand."""

MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
MetadataValue = Annotated[
    str,
    StringConstraints(max_length=500),
    AfterValidator(plain_text),
    Field(json_schema_extra={"pattern": f"^[^{TEXT_CONTROLS}]*$"}),
]
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Field(max_length=MAX_METADATA, json_schema_extra={"additionalProperties": False}),
]


def _can_be_read(script: str) -> str:
    if (seconds := pauses_s(script)) > MAX_PAUSES_S:
        raise ValueError(f"The pauses of the script last {seconds:.0f} s together; the limit is {MAX_PAUSES_S:.0f} s")
    if not says_something(script):
        raise ValueError("The script says nothing: it needs at least one letter or digit")
    return script


class VideoForm(Input):
    """A request for a video. In a form, `audio` and `background` are files beside these fields; JSON has no files."""

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
    script: Annotated[Text, AfterValidator(_can_be_read)] | None = Field(
        None,
        max_length=MAX_SCRIPT,
        description="in place of the speech: a text that `voice` reads. `[pause 1.5s]` is a pause, an empty line ends a paragraph",
        examples=["Hello, I am Ann.\n\nNice to meet you."],
    )
    voice: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="id of a voice of GET /v1/voices, for `script`; default: the first one",
        examples=["hibari-heart"],
    )
    speed: Annotated[float | None, PLAIN] = Field(
        None, ge=MIN_SPEED, le=MAX_SPEED, description="pace of the voice, for `script`; default: 1"
    )
    title: Name | None = Field(None, description="display name")
    metadata: Metadata | None = Field(
        None,
        description=f"JSON: up to {MAX_METADATA} texts of your own, by name; the video and its webhooks repeat them",
        examples=[{"order": "1234"}],
    )
    priority: JobPriority = Field(
        "normal", description="`low`: the video is rendered when no job of normal priority waits"
    )
    options: RenderOptions = Field(
        RenderOptions(),
        description="JSON: see RenderOptions",
        examples=[{"frame": "full", "size": 1280}, {"frame": "portrait", "view": {"yaw_deg": 10}, "motion": 0.5}],
    )


class VideoPatch(Input):
    """The fields of a video that can be changed; omitted fields stay as they are."""

    title: Name | None = Field(None, description="display name; null: none")
    metadata: Metadata | None = Field(None, description="replaces all texts of your own; null: none")


class VideoBatch(Input):
    """Several requests for videos, each as the JSON body of POST /v1/videos."""

    videos: list[Any] = Field(min_length=1, max_length=MAX_BATCH)


class BatchItem(Output):
    """What became of one request of a batch: the new video, or why there is none."""

    status: int = Field(description="status that the request alone would have been answered with")
    video: Video | None
    problem: ProblemDetails | None


class BatchResult(Output):
    """What became of each request of a batch, in their order."""

    items: list[BatchItem]


def wrong_source(form: VideoForm, *, audio: bool) -> tuple[str, str] | None:
    """Checks what a video is made from: exactly one of `audio`, `upload_id`, `duration_s` and `script`.

    Args:
        form: the request.
        audio: whether there is a file `audio`.

    Returns:
        What is wrong, and the field; None if nothing is.
    """
    given = [name for name in ("upload_id", "duration_s", "script") if getattr(form, name) is not None]
    if audio:
        given.insert(0, "audio")
    if not given:
        return (
            "Send the speech, as the file `audio`, as `upload_id` or as `script`, or send `duration_s` for a video without speech",
            "audio",
        )
    if given == ["audio", "upload_id"]:
        return "Send either `audio` or `upload_id`", "upload_id"
    if len(given) > 1 and "duration_s" in given:
        return "Send either speech or `duration_s`: the video is as long as its speech", "duration_s"
    if len(given) > 1:
        return "Send either `script` or recorded speech", "script"
    for name in ("voice", "speed"):
        if form.script is None and getattr(form, name) is not None:
            return f"Only allowed with `script`: `{name}` is that of the voice which reads it", name
    return None
