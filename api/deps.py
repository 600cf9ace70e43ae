"""What routes depend on: settings, the store, who is well, and one transaction a request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, Query, Request
from sqlalchemy.orm import Session

from api.monitoring.readiness import Readiness
from api.responses.job_events import JobEventHub
from storage.database.engine import Database
from storage.objects.base import ObjectStore
from storage.settings import Settings

WRITERS = 10
"""Requests that write at once; the others wait without a thread.

Whoever has a lock of the database needs a thread again before the transaction can end. So those who wait for that lock must
leave some of the threads (there are 40) and of the database's connections (15) to others.
"""


def _settings(request: Request) -> Settings:
    return request.app.state.settings


def _database(request: Request) -> Database:
    return request.app.state.database


def _store(request: Request) -> ObjectStore:
    return request.app.state.store


def _readiness(request: Request) -> Readiness:
    return request.app.state.readiness


def _watch(request: Request) -> JobEventHub:
    return request.app.state.watch


SettingsDep = Annotated[Settings, Depends(_settings)]
DatabaseDep = Annotated[Database, Depends(_database)]
StoreDep = Annotated[ObjectStore, Depends(_store)]
ReadinessDep = Annotated[Readiness, Depends(_readiness)]
WatchDep = Annotated[JobEventHub, Depends(_watch)]


def _reading(database: DatabaseDep) -> Iterator[Session]:
    with database.session(write=False) as session:
        yield session


async def _writer_slot(request: Request) -> AsyncIterator[None]:
    async with request.app.state.writers:
        yield


def _writing(
    database: DatabaseDep, slot: Annotated[None, Depends(_writer_slot, scope="function")]
) -> Iterator[Session]:
    with database.session() as session:
        yield session


# scope="function": the transaction ends before the answer leaves. With the default scope a client could hear "done"
# of something that is not durable yet.
ReadSession = Annotated[Session, Depends(_reading, scope="function")]
WriteSession = Annotated[Session, Depends(_writing, scope="function")]

Limit = Annotated[int, Query(ge=1, le=100, description="items a page, at most")]
Cursor = Annotated[
    str | None, Query(pattern=r"^[a-z]{3}_[0-9a-f]{1,64}$", description="`next_cursor` of the page before")
]
