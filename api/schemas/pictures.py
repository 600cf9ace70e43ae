"""Preview frames, links by which everybody can watch a video, and links to files."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from adnerf_core.config import RenderOptions
from api.schemas.base import Input, Output
from storage.database.models import PreviewFrameState


class PreviewFrameForm(Input):
    """A request for a frame as a video will show it. In a form, the file `background` is beside this field; JSON has no files."""

    options: RenderOptions = Field(RenderOptions(), description="JSON: the options of the video")


class PreviewPending(Output):
    """A frame that is not rendered yet."""

    state: PreviewFrameState


class ShareForm(Input):
    """A link that is to be made."""

    expires_in_s: int = Field(
        7 * 86_400, ge=60, le=366 * 86_400, description="seconds for which the link is valid; default: a week"
    )


class Share(Output):
    """A link by which everybody can watch one video."""

    id: str = Field(examples=["shr_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    video_id: str
    url: str = Field(description="path of a page on this service, which other pages may embed")
    only_here: bool = Field(
        description="whether the link can be opened on the service's own machine only: the service has no keys yet"
    )
    created_at: datetime
    expires_at: datetime


class Link(Output):
    """A link to one file, for players and downloads that cannot send a key."""

    url: str = Field(description="path and query below the address of the service; append `&name=` to name a download")
    expires_at: datetime
