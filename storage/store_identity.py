"""Whether an object store and a database belong together.

An object that no row names may be removed only if the rows are those of the store. Therefore the database has a random id, and
the object KEY of the store repeats it. Both also hold a generation, which every cleanup raises, first in the database and then
in the store. So an empty or a different database has another id, and an older copy of the right database a lower generation.
"""

from __future__ import annotations

import io
import json
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from storage.database import migrations
from storage.database.engine import Database
from storage.database.models import Identity, Subject
from storage.errors import ObjectDamaged, ObjectMissing, StoreMismatch
from storage.objects.base import ANY_AGE_S, ObjectStore
from storage.tables.identity import read as read_identity

KEY = "service/database-id"
"""The object with the id and the generation of the database. It is the only object that is written again under its key."""
IDS_PER_QUERY = 500
"""Ids that are looked up at once, within the databases' parameter limits."""


class Marker(NamedTuple):
    """The content of the object KEY, as JSON."""

    database_id: str
    generation: int


def confirm(database: Database, store: ObjectStore) -> None:
    """Checks that the rows of `database` are those of `store`, and raises the generation of both.

    A store without a marker gets one if it has no subjects, or if the database has the rows of most of them: it is new, or an
    installation that an earlier version made.

    Raises:
        StoreMismatch: The database is another one, is older than the store, or has tables of another version.
        StoreAway: The store does not answer.
    """
    if not migrations.is_current(database):
        remedy = "Run the same version everywhere, and update the tables: adnerf migrate."
        raise StoreMismatch("The tables of the database are of another version than this program.", remedy)
    marker = read_marker(store)  # before the row: between the two, another worker may raise the generation
    with database.session() as session:
        identity = read_identity(session)
        if marker is None:
            _check_adoptable(session, store)
        elif marker.database_id != identity.id:
            raise StoreMismatch("The object store belongs to another database.")
        elif marker.generation > identity.generation:
            raise StoreMismatch("The database is older than the object store, such as one restored from a backup.")
        new = _raise_generation(session, identity.generation)
    _write_marker(store, new)


def adopt(database: Database, store: ObjectStore) -> None:
    """Records that `store` belongs to `database` in its present state, whatever the store's marker says."""
    marker = None
    with suppress(StoreMismatch):
        marker = read_marker(store)
    with database.session() as session:
        identity = read_identity(session)
        new = _raise_generation(session, max(identity.generation, marker.generation if marker else 0))
    _write_marker(store, new)


def mark_copy(database: Database, store: ObjectStore) -> None:
    """Writes the marker of the copied `store` as `database`, the copy that belongs to it, has it.

    The generation stays: the copy, put beside the live store, remains recognizable as older after the next cleanup.
    """
    with database.session() as session:
        identity = read_identity(session)
        marker = Marker(identity.id, identity.generation)
    _write_marker(store, marker)


def read_marker(store: ObjectStore) -> Marker | None:
    """Returns the marker of the store; None if it has none. Raises StoreMismatch if it is not readable."""
    try:
        with store.open(KEY) as file:
            values = json.load(file)
        return Marker(str(values["database_id"]), int(values["generation"]))
    except ObjectMissing:
        return None
    except (ValueError, KeyError, TypeError, ObjectDamaged) as error:
        raise StoreMismatch(f"The object {KEY} of the store cannot be understood.") from error


def _raise_generation(session: Session, at_least: int) -> Marker:
    """Raises the generation, to a value above `at_least`, and returns the marker for it."""
    newest = case((Identity.generation > at_least, Identity.generation), else_=at_least)
    statement = update(Identity).values(generation=newest + 1).returning(Identity.id, Identity.generation)
    return Marker(*session.execute(statement, execution_options={"synchronize_session": False}).one())


def _write_marker(store: ObjectStore, marker: Marker) -> None:
    store.put(KEY, io.BytesIO(json.dumps(marker._asdict()).encode()))


def _check_adoptable(session: Session, store: ObjectStore) -> None:
    """Raises StoreMismatch if the store has subjects, and the database does not know at least half of them."""
    keys = store.keys(older_than_s=ANY_AGE_S, prefix="subjects/")
    subject_ids = sorted({key.split("/")[1] for key in keys})
    known = 0
    for start in range(0, len(subject_ids), IDS_PER_QUERY):
        ids = subject_ids[start : start + IDS_PER_QUERY]
        known += session.scalars(select(func.count()).select_from(Subject).where(Subject.id.in_(ids))).one()
    if 2 * known < len(subject_ids):
        raise StoreMismatch(f"The database knows {known} of the {len(subject_ids)} subjects in the object store.")
