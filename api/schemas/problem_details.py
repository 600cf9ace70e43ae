"""Problem details (RFC 9457) as pydantic models."""

from __future__ import annotations

from pydantic import Field

from api.problems.table import PROBLEMS
from api.schemas.base import Output
from api.schemas.health import Part
from storage.tables.quotas import QuotaName


class ProblemEntry(Output):
    """One invalid value."""

    detail: str
    pointer: str | None = Field(None, description="JSON pointer into the body; a form counts as one JSON object")
    parameter: str | None = Field(None, description="name of the query or path parameter")


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
