"""Learns the priors of lips that are ordered, and drops those from which somebody has withdrawn.

It runs in a background thread of every worker that trains, beside the current job, on the processor: a minute of work. Of the datasets it
reads sound and measurements alone, no picture.
"""

from __future__ import annotations

import logging
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path

from adnerf_core.errors import NotReady
from adnerf_core.files.run_dir import file_sha256
from adnerf_core.progress import Cancelled
from storage.database.models import LipPrior
from storage.errors import ObjectDamaged, ObjectMissing, StoreFull
from storage.tables import lip_priors
from worker import unreleased
from worker.jobs.attempt import AWAY
from worker.jobs.pipeline import Pipeline, client_error

log = logging.getLogger(__name__)

MEMBERS = ("dataset.json", "features.npy", "track.npz")
"""What is read of a dataset: some 20 MB of its hundreds."""
RENEW_S = 10.0
"""Seconds between two renewals of the lease, a twelfth of it."""


class PriorLearner:
    """Learns priors; several may run side by side, in many processes.

    Args:
        pipeline: of the worker, whose database, store and core are used.
        stopping: when it is set, the work is put back.
    """

    def __init__(self, pipeline: Pipeline, stopping: threading.Event):
        self.pipeline, self.stopping = pipeline, stopping
        self._learning: LipPrior | None = None
        pipeline.on_exit.append(self._leave_note)

    def learn_pending(self) -> None:
        """Drops what must not be used any more, and learns what is ordered."""
        with self.pipeline.database.session(write=False) as session:
            if not lip_priors.due(session):
                return
        with self.pipeline.database.session() as session:
            for version in lip_priors.enforce(session, self.pipeline.store):
                log.info("the prior of lips %d is dropped: a person may not be learnt from any more", version)
        while not self.stopping.is_set() and self.pipeline.workspace.has_room() and self.learn_next():
            pass

    def learn_next(self) -> bool:
        """Learns the oldest ordered prior.

        Returns:
            False if there is none.

        Raises:
            StoreAway, StoreFull, OperationalError, InterfaceError: not the prior's fault. It is put back.
        """
        database = self.pipeline.database
        with database.session() as session:
            row = lip_priors.claim(session)
        if row is None:
            return False
        log.info("a prior of lips, %d, is being learnt: attempt %d", row.version, row.attempt)
        self._learning = row
        try:
            self._learn(row)
        except (Cancelled, *AWAY) as error:
            with suppress(*AWAY):
                with database.session() as session:
                    lip_priors.release(session, row)
                self._note(row).unlink(missing_ok=True)  # it would release the next attempt
            if not isinstance(error, Cancelled):
                raise
        except Exception as error:
            told = client_error(error)
            if told["code"] == StoreFull.code and not self.pipeline.workspace.has_room():
                with database.session() as session:
                    lip_priors.release(session, row)  # others have filled the disk
                raise
            if isinstance(error, NotReady):  # too few people, as the operator has to know
                told |= {"message": error.message, "remedy": error.remedy}
            log.warning("the prior of lips %d: %s: %s", row.version, told["code"], told["message"])
            with database.session() as session:
                lip_priors.fail(session, row, told)
        finally:
            self._learning = None
        return True

    def _leave_note(self) -> None:
        """Lets the sweep of another process put the prior back: this one ends for a reason that is not the prior's."""
        if (row := self._learning) is not None:
            unreleased.leave(self._note(row))

    def _note(self, row: LipPrior) -> Path:
        return unreleased.note(self.pipeline.settings, f"prior_{row.version}", row.attempt)

    def _learn(self, row: LipPrior) -> None:
        pipeline, keep = self.pipeline, _Lease(self, row)
        with pipeline.database.session(write=False) as session:
            sources = lip_priors.sources(session)
        with pipeline.workspace.temporary() as folder:
            folder.mkdir()
            datasets = {}
            for number, (subject_id, key) in enumerate(sources.items()):
                keep("fetch", number, len(sources))
                try:
                    datasets[subject_id] = self._fetch(key, folder / subject_id)
                except (ObjectMissing, ObjectDamaged) as error:  # such as deleted meanwhile
                    log.warning("the prior of lips %d is learnt without %s: %s", row.version, subject_id, error)
            out = folder / "prior.safetensors"
            found = pipeline.core.learn_prior(datasets, out, keep)
            people = dict.fromkeys(sources) | found["people"]
            figures = {when: found[when] for when in ("before", "after")}
            with pipeline.database.session() as session:
                bad = not found["better"] or lip_priors.falls_behind(session, people)
                if bad:
                    lip_priors.reject(session, row, people, figures)
            if bad:
                log.info("the prior of lips %d is not adopted: %s", row.version, figures)
                return
            key = f"{lip_priors.PREFIX}{row.version}-{row.attempt}-{file_sha256(out)[:12]}.safetensors"
            with out.open("rb") as file:
                stored = pipeline.store.put(key, file)
        with pipeline.database.session() as session:
            adopted = lip_priors.adopt(session, row, people, figures, stored)
        if adopted:
            log.info("the prior of lips %d is in use: %s", row.version, figures)
        else:
            pipeline.store.delete(stored.key)

    def _fetch(self, key: str, folder: Path) -> Path:
        """Unpacks MEMBERS of a stored dataset. Raises ObjectMissing, ObjectDamaged."""
        try:
            with self.pipeline.store.open(key) as packed, zipfile.ZipFile(packed) as archive:
                for name in MEMBERS:
                    archive.extract(name, folder)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ObjectDamaged("A stored dataset is damaged.", details=key) from error
        return folder


class _Lease:
    """A Progress that renews the lease of a prior."""

    def __init__(self, learner: PriorLearner, row: LipPrior):
        self.learner, self.row = learner, row
        self._renewed_at = time.monotonic()

    def __call__(self, stage: str, done: float, total: float) -> None:
        """Raises Cancelled: the worker stops, or the prior was dropped or taken over."""
        if self.learner.stopping.is_set():
            raise Cancelled
        if time.monotonic() - self._renewed_at < RENEW_S:
            return
        with self.learner.pipeline.database.session() as session:
            if not lip_priors.renew(session, self.row):
                raise Cancelled
        self._renewed_at = time.monotonic()
