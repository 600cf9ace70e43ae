"""What routes depend on: settings, the store, who is well, and one transaction a request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Query, Request
from sqlalchemy.orm import Session

from api.readiness import Readiness
from storage.db import Database
from storage.objects import ObjectStore
from storage.settings import Settings


def _settings(request: Request) -> Settings:
    return request.app.state.settings


def _database(request: Request) -> Database:
    return request.app.state.database


def _store(request: Request) -> ObjectStore:
    return request.app.state.store


def _readiness(request: Request) -> Readiness:
    return request.app.state.readiness


SettingsDep = Annotated[Settings, Depends(_settings)]
DatabaseDep = Annotated[Database, Depends(_database)]
StoreDep = Annotated[ObjectStore, Depends(_store)]
ReadinessDep = Annotated[Readiness, Depends(_readiness)]


def _reading(database: DatabaseDep) -> Iterator[Session]:
    with database.session(write=False) as session:
        yield session


def _writing(database: DatabaseDep) -> Iterator[Session]:
    with database.session() as session:
        yield session


# scope="function": the transaction ends before the answer leaves. With the default scope a client could hear "done"
# of something that is not durable yet.
Reading = Annotated[Session, Depends(_reading, scope="function")]
Writing = Annotated[Session, Depends(_writing, scope="function")]

Limit = Annotated[int, Query(ge=1, le=100, description="items a page, at most")]
Cursor = Annotated[
    str | None, Query(pattern=r"^[a-z]{3}_[0-9a-f]{1,64}$", description="`next_cursor` of the page before")
]
