"""What the bodies of all requests and responses have in common: their base classes, texts, times and pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from api.schemas.one_line import PATTERN, TEXT_PATTERN, visible_line, visible_text
from storage.tables.api_keys import END_OF_TIME

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


def _in_the_calendar(time: datetime) -> datetime:
    if not 1970 <= time.year < END_OF_TIME.year:
        raise ValueError(f"Must lie between the years 1970 and {END_OF_TIME.year - 1}")
    return time


def _nearest_of_the_calendar(time: datetime) -> datetime:
    return min(max(time, datetime(1970, 1, 1, tzinfo=UTC)), END_OF_TIME)


Time = Annotated[AwareDatetime, AfterValidator(_in_the_calendar)]
"""A time that a client chooses, with its time zone."""
AnyTime = Annotated[AwareDatetime, AfterValidator(_nearest_of_the_calendar)]
"""A time that something is compared with: close to the ends of the calendar it cannot be converted to UTC, and nothing is made then."""


class Input(BaseModel):
    """Base of request bodies."""

    model_config = ConfigDict(extra="forbid")


class Output(BaseModel):
    """Base of response bodies. Times are RFC 3339 in UTC; ids are opaque; links are paths on this service."""

    model_config = ConfigDict(from_attributes=True)


class Page(Output, Generic[T]):
    """A page of a list, newest first."""

    items: list[T]
    next_cursor: str | None = Field(description="value of `cursor` for the next page; null: this is the last page")
