"""Deletions of folders and objects of the object store that were requested, and the only writer of their table.

A request is written in the transaction that deletes the rows, and carried out right after its commit; an API
process does so in threads of its own, so that no request waits for the store. The cleanup carries it
out again for REPEAT_S: the process may have been killed, the store may have been away, or a worker that had not noticed yet
may have stored one more object. What is deleted here does not go to the trash; what of it is there already, the cleanup deletes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage import trash
from storage.database import queries
from storage.database.engine import Database, after_commit
from storage.database.models import Deletion
from storage.errors import NotDeleted
from storage.objects.base import ObjectStore

log = logging.getLogger(__name__)

KEYS_PER_STATEMENT = 500
"""Keys that one statement names, within the databases' parameter limits."""
REPEAT_S = 3600.0
"""Time for which a deletion is repeated: far longer than a worker needs to notice it, even if its network was away."""


def request(session: Session, store: ObjectStore, prefix: str) -> None:
    """Deletes all objects whose key begins with `prefix`, which ends in a slash, once the transaction is committed."""
    time = queries.server_now(session)
    queries.upsert(session, Deletion, {"prefix": prefix, "created_at": time}, update={"created_at": time})
    after_commit(session, lambda: _delete(store, [prefix]), remote=True)


def request_objects(session: Session, store: ObjectStore, keys: Sequence[str]) -> None:
    """Deletes the objects `keys`, which nobody writes again, once the transaction is committed."""
    time = queries.server_now(session)
    for key in keys:
        queries.insert_ignoring_conflicts(session, Deletion, prefix=key, created_at=time)
    after_commit(session, lambda: store.delete(*keys), remote=True)


def carry_out(database: Database, store: ObjectStore) -> None:
    """Carries out all requested deletions again, and forgets those of objects, and those that are older than REPEAT_S, unless they fail.

    Raises StoreAway.
    """
    with database.session(write=False) as session:
        oldest = queries.server_now(session) - timedelta(seconds=REPEAT_S)
        prefixes = session.scalars(select(Deletion.prefix)).all()
    if not prefixes:
        return
    failed = _try_to_delete(store, prefixes)
    try:
        trash.delete_prefixes(store, prefixes)
    except NotDeleted as error:
        log.error("something in the trash cannot be deleted: %s", error.details)
    done = [prefix for prefix in prefixes if not _is_folder(prefix) and prefix not in failed]
    for start in range(0, len(done), KEYS_PER_STATEMENT):
        with database.session() as session:
            keys = done[start : start + KEYS_PER_STATEMENT]
            queries.execute_update(session, delete(Deletion).where(Deletion.prefix.in_(keys)))
    with database.session() as session:
        past = session.scalars(select(Deletion.prefix).where(Deletion.created_at <= oldest)).all()
        for prefix in past:
            if prefix not in failed:
                session.execute(delete(Deletion).where(Deletion.prefix == prefix, Deletion.created_at <= oldest))


def _try_to_delete(store: ObjectStore, prefixes: Sequence[str]) -> set[str]:
    """Deletes, and returns what could not be deleted. Raises StoreAway."""
    failed = set()
    try:
        _delete(store, prefixes)
    except NotDeleted:
        for prefix in prefixes:  # one by one: the others must not stay because of it
            try:
                _delete(store, [prefix])
            except NotDeleted as error:
                log.error("%s cannot be deleted, and stays requested: %s", prefix, error.details)
                failed.add(prefix)
    return failed


def _delete(store: ObjectStore, prefixes: Sequence[str]) -> None:
    store.delete(*[prefix for prefix in prefixes if not _is_folder(prefix)])
    for folder in filter(_is_folder, prefixes):
        store.delete_prefix(folder)


def _is_folder(prefix: str) -> bool:
    return prefix.endswith("/")
