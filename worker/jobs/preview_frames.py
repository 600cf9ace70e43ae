"""Renders preview frames: single frames that show what a video will look like, each for a request that waits for it.

It runs in a background thread of every worker that renders, beside the current job, and loads the subject for itself.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress

from adnerf_core.config import RenderOptions
from adnerf_core.files.run_dir import RunDir
from storage.database import queries
from storage.database.models import PreviewFrame, Subject
from storage.errors import NotFound, StoreAway
from storage.tables import preview_frames
from worker.jobs.attempt import AWAY
from worker.jobs.model_cache import ModelCache
from worker.jobs.pipeline import Pipeline, client_error
from worker.owner_turns import OwnerTurns

log = logging.getLogger(__name__)

IDLE_S = 120.0
"""Seconds without a request after which the subject is released: the memory of a second one is needed for jobs."""


class PreviewRenderer:
    """Answers requests for preview frames; several may run side by side, in many processes.

    Args:
        pipeline: of the worker, whose database, store, core and scratch folder are used.
        stopping: when it is set, no further frame is begun.
    """

    def __init__(self, pipeline: Pipeline, stopping: threading.Event):
        self.pipeline, self.stopping = pipeline, stopping
        self.turns = OwnerTurns(1)
        self._cache = ModelCache(pipeline.core.load, pipeline.core.free)
        self._used_at: float | None = None
        """When the loaded subject was used last; None if there is none."""

    def render_pending(self) -> None:
        """Renders all frames that are queued; releases the subject after IDLE_S without one."""
        while not self.stopping.is_set() and self.render_next():
            self._used_at = time.monotonic()
        if self._used_at is not None and time.monotonic() - self._used_at > IDLE_S:
            self._cache.clear()
            self._used_at = None

    def render_next(self) -> bool:
        """Renders the newest queued frame, of each owner in turn.

        Returns:
            False if there is none.

        Raises:
            StoreAway, OperationalError, InterfaceError: not the frame's fault. It is queued again.
        """
        database = self.pipeline.database
        with database.session(write=False) as session:
            waiting = preview_frames.waiting_owners(session)
        if not waiting:
            return False
        with self.turns.take(waiting) as owner:
            if owner is None:
                return False
            with database.session() as session:
                frame = preview_frames.claim(session, owner)
            if frame is None:
                return False
            self._render(frame)
            return True

    def _render(self, frame: PreviewFrame) -> None:
        """Renders a claimed frame, and records the picture or why there is none."""
        begun = time.monotonic()
        try:
            with self.pipeline.database.session(write=False) as session:
                subject = queries.get(session, Subject, frame.subject_id)
            if subject.withdrawn_at is not None or subject.trashed_until is not None:
                with self.pipeline.database.session() as session:
                    preview_frames.forget(session, PreviewFrame.digest == frame.digest)
                return
            picture = self._picture(frame, subject)
        except NotFound:
            return  # deleted meanwhile, and the frame with it
        except AWAY:
            with suppress(*AWAY), self.pipeline.database.session() as session:
                preview_frames.release(session, frame.digest)
            raise
        except Exception as error:
            told = client_error(error)
            log.warning("a preview frame of %s: %s: %s", frame.subject_id, told["code"], told["message"])
            with self.pipeline.database.session() as session:
                preview_frames.fail(session, frame.digest, told)
            self._delete_background(frame)
            return
        with self.pipeline.database.session() as session:
            preview_frames.succeed(session, frame.digest, picture)
        self._delete_background(frame)
        log.info("a preview frame of %s took %.1f s", frame.subject_id, time.monotonic() - begun)

    def _delete_background(self, frame: PreviewFrame) -> None:
        if frame.background_key is not None:
            with suppress(StoreAway):  # the cleanup of unused objects removes it later
                self.pipeline.store.delete(frame.background_key)

    def _picture(self, frame: PreviewFrame, subject: Subject) -> bytes:
        pipeline = self.pipeline
        run = RunDir(pipeline.workspace.cached_folder(subject.run_key))
        options, background = RenderOptions(**frame.options), None
        with pipeline.workspace.temporary() as path:
            if frame.background_key is not None:
                background = path
                pipeline.store.fetch(frame.background_key, background)
            elif frame.background is not None:
                background = path
                background.write_bytes(frame.background)
            return pipeline.core.still(
                run,
                options,
                background=background,
                device=pipeline.device(),
                load=self._cache.load,
                fonts=pipeline.fonts,
            )
