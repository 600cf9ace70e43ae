"""The state of the service as pydantic models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.base import Output
from storage.database.models import JobKind


class Part(Output):
    """State of one component of the service."""

    ok: bool
    detail: str = Field(description="kind of the component, or what is wrong with it")


class Health(Output):
    """Result of the liveness check."""

    status: str


class Ready(Output):
    """Whether the service can take requests, and whether workers are there to process them."""

    status: Literal["ready", "degraded"] = Field(description="`degraded`: jobs wait, for a worker or the queue")
    parts: dict[str, Part] = Field(description="`database`, `store`, `queue`, `workers`")
    free_bytes: int = Field(description="free space for uploads, bytes")
    workers: int = Field(description="number of live worker processes on all machines")
    serves: list[JobKind] = Field(description="kinds of jobs that the live workers take; others wait for a worker")
    queued: int = Field(description="number of queued jobs")
    running: int = Field(description="number of running jobs")
