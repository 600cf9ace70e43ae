"""Moves objects that no row needs to the trash, and removes parts of unfinished writes and expired uploads.

That no row names an object does not prove that nobody needs it: the rows may be those of another database, or of an older one.
Four rules keep a mistake from becoming a loss:

* Nothing is removed unless the database and the store belong together (storage/store_identity.py).
* Only objects in places that this version knows are judged (storage/object_places.py), and only after a grace period, because
  an object is written before the row that names it.
* If more than a share of the objects would go at once, none goes: an operator decides (`adnerf store clean`).
* What goes is kept in the trash for some days (storage/trash.py).

What has had its time is not deleted either by a machine whose clock is wrong.

What a user deletes is deleted at once, by storage/tables/deletions.py; only what interrupted deletions have left is deleted here.
"""

from __future__ import annotations

import logging
import time
from itertools import islice

from sqlalchemy import exists, select

from storage import object_places, store_identity, trash
from storage.database import queries
from storage.database.engine import Database
from storage.database.models import Subject, now
from storage.errors import ClockWrong, StorageError, StoreMismatch
from storage.objects.base import ObjectStore
from storage.tables import deletions, lip_priors, streams, uploads

log = logging.getLogger(__name__)

GRACE_S = 3600.0
"""Age from which an object without a row is removed. Rows follow their objects within seconds, so an hour is very safe."""
UNFINISHED_S = 86_400.0
"""Time after which an unfinished object that does not grow is deleted. A request that stores something is given up within minutes, so its
process is gone; the bytes of a day cost little."""
LISTED_PER_BATCH = 10_000
"""Objects that one call of `run_batch` lists, which bounds its duration; the next call continues behind them."""
KEYS_PER_QUERY = 500
"""Keys that are looked up in the database at once: enough to need few queries, within the databases' parameter limits."""
MAX_SHARE, MAX_FREE = 0.2, 100
"""Objects that may go at once: this share of those listed, or this number if that is more. Failed attempts leave a few objects
per job, far less than a fifth of a store; and a small store would be blocked by every leftover without a free number."""
TRASH_S = 7 * 86_400.0
"""Time for which objects stay in the trash, unless the settings name another one (`Settings.trash_s`)."""
CLOCK_S = 300.0
"""Seconds by which this machine's clock may differ from the database server's: little beside the hour of GRACE_S, the shortest time that
decides whether something is deleted, and more than the clocks of machines differ that set them by NTP."""
LOG_AGAIN_S = 3600.0
"""Time after which the reason for a pause is logged again: often enough to be seen, and not once per cleanup."""


def check_clock(database: Database) -> None:
    """Raises ClockWrong if this machine's clock differs from the database server's by more than CLOCK_S."""
    with database.session(write=False) as session:
        difference = (now() - queries.server_now(session)).total_seconds()
    if abs(difference) > CLOCK_S:
        direction = "ahead of" if difference > 0 else "behind"
        raise ClockWrong(f"This machine's clock is {abs(difference):.0f} s {direction} that of the database server.")


class ObjectCleaner:
    """Removes unneeded objects batch by batch. Each call continues the listing after the end of the call before.

    Attributes:
        paused: Whether the last call removed nothing because of a StoreMismatch or ClockWrong.
    """

    def __init__(self, database: Database, store: ObjectStore, grace_s: float = GRACE_S, trash_s: float = TRASH_S):
        self.database, self.store, self.grace_s, self.trash_s = database, store, grace_s, trash_s
        self.paused = False
        self._after = ""
        self._logged_at = -LOG_AGAIN_S

    def run_batch(self) -> list[str]:
        """Removes what was deleted or has expired (uploads, streams, priors), then the unneeded among the next LISTED_PER_BATCH objects.

        If the store may not be cleaned, the reason is logged, and nothing is deleted or moved.

        Returns:
            The former keys of the objects that were moved to the trash.

        Raises:
            StoreAway: the object store does not answer.
        """
        try:
            check_clock(self.database)
            store_identity.confirm(self.database, self.store)
            self.paused = False
            self._expire_uploads()
            with self.database.session() as session:
                streams.expire(session, self.store)
                lip_priors.expire(session, self.store, kept_s=self.trash_s)
            deletions.carry_out(self.database, self.store)
            removed = self._clean_batch(limited=True)
            trash.delete_expired(self.store, older_than_s=self.trash_s)
        except (StoreMismatch, ClockWrong) as error:
            self.paused = True
            self._log_pause(error)
            return []
        return removed

    def run_all(self) -> list[str]:
        """Cleans the whole store without the limit on the number of objects; an operator has decided so.

        Returns:
            The former keys of the objects that were moved to the trash.

        Raises:
            StoreMismatch: the database and the store do not belong together.
            ClockWrong: this machine's clock is wrong.
            StoreAway: the object store does not answer.
        """
        check_clock(self.database)
        store_identity.confirm(self.database, self.store)
        self._after, removed = "", []
        while True:
            removed += self._clean_batch(limited=False)
            if not self._after:
                return removed

    def _expire_uploads(self) -> None:
        """Deletes expired uploads: their rows say when, so nothing is inferred from what is missing."""
        with self.database.session() as session:
            expired = uploads.expire(session, self.store)
        if expired:
            log.info("%d uploads have expired: %s", len(expired), ", ".join(expired[:5]))

    def _clean_batch(self, *, limited: bool) -> list[str]:
        """Moves the unneeded objects of the next batch to the trash. Raises StoreMismatch if `limited` and they are too many."""
        if not self._after:
            self.store.delete_unfinished(older_than_s=UNFINISHED_S)
        listed = list(islice(self.store.keys(older_than_s=self.grace_s, after=self._after), LISTED_PER_BATCH))
        self._after = listed[-1] if len(listed) == LISTED_PER_BATCH else ""
        keys = [key for key in listed if key.startswith(object_places.PREFIXES)]
        unneeded: list[str] = []
        for start in range(0, len(keys), KEYS_PER_QUERY):
            with self.database.session(write=False) as session:  # After the listing, so it sees rows written since.
                unneeded += object_places.unneeded(session, keys[start : start + KEYS_PER_QUERY])
        if limited:
            self._check_plausible(unneeded, len(keys))
        if unneeded:
            log.info("%d objects that no row needs go to the trash: %s", len(unneeded), ", ".join(unneeded[:5]))
            trash.move(self.store, unneeded)
        return unneeded

    def _check_plausible(self, unneeded: list[str], listed: int) -> None:
        """Raises StoreMismatch if `unneeded`, of `listed` objects, are so many that the rows are more likely to be wrong.

        Parts of uploads do not count: requests that were broken off leave them, as many as a client likes to send.
        """
        unneeded = [key for key in unneeded if not key.startswith(uploads.PREFIX)]
        remedy = (
            f"If the database is complete, move them to the trash, where they stay for {self.trash_s / 86_400:g} days: "
            "adnerf store clean. Otherwise restore the database from its backup."
        )
        if len(unneeded) > max(MAX_FREE, MAX_SHARE * listed):
            raise StoreMismatch(f"No row needs {len(unneeded)} of {listed} objects, more than is plausible.", remedy)
        with self.database.session(write=False) as session:
            of_subjects = any(key.startswith("subjects/") for key in unneeded)
            if of_subjects and not session.scalars(select(exists().select_from(Subject))).one():
                raise StoreMismatch(f"The database has no subjects, but the object store has {listed} objects.", remedy)

    def _log_pause(self, error: StorageError) -> None:
        if time.monotonic() - self._logged_at >= LOG_AGAIN_S:
            self._logged_at = time.monotonic()
            log.error("nothing is removed from the object store: %s", error)
