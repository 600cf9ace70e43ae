"""Stores the pieces of a video while it is rendered, so that clients can watch it.

The stream is an addition: an error in it ends the stream, not the rendering.
"""

from __future__ import annotations

import io
import logging
import time
from contextlib import suppress
from queue import Full, Queue

from adnerf_core.files.fragments import Piece, frames_before
from storage.database.models import Video
from storage.tables import streams
from worker import logs
from worker.jobs.attempt import Attempt
from worker.jobs.lease import CHECK_S

log = logging.getLogger(__name__)

PENDING = 64
"""Pieces that may wait for the store: a minute of video, some ten megabytes."""
PATIENCE_S = 1.0
"""Seconds for which the encoder waits while PENDING pieces wait: a store that takes longer for a second of video is too slow for a stream."""
PUBLISH_S = 0.5
"""Seconds between two publications while pieces wait, so that a fast rendering writes no row for every second of video."""
END_S = 10.0
"""Seconds for which a rendered video waits for its last pieces to be stored: its file is not stored before."""


class VideoStream:
    """Takes the pieces of a video (`watch` of the core's render), and stores and publishes them in a thread of its own."""

    def __init__(self, attempt: Attempt, video: Video):
        self.attempt = attempt
        self._name = streams.new_name(attempt.job.attempt)
        self._folder = streams.folder(video, self._name)
        self._pieces: Queue[Piece | None] = Queue(PENDING)
        self._ended = False
        self._thread = logs.context_thread(self._run, f"stream of {video.id}")

    def __enter__(self) -> VideoStream:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and not self._ended:
                self._store_rest()
        finally:
            self._ended = True
            with suppress(Full):  # then the thread looks at `_ended`, or hangs in the store and is left to its timeouts
                self._pieces.put_nowait(None)

    def _store_rest(self) -> None:
        """Waits up to END_S until the last pieces are stored. Raises Cancelled if the job is to stop."""
        deadline, told = time.monotonic() + END_S, False
        while self._thread.is_alive() and time.monotonic() < deadline:
            self.attempt.lease.check()
            if told:
                self._thread.join(CHECK_S)
            else:
                with suppress(Full):
                    self._pieces.put(None, timeout=CHECK_S)
                    told = True

    def __call__(self, piece: Piece) -> None:
        """Takes a piece; see fragments.TakesPieces."""
        if not self._ended:
            try:
                self._pieces.put(piece, timeout=PATIENCE_S)
            except Full:
                self._give_up("the object store is too slow")

    def _give_up(self, reason: object) -> None:
        self._ended = True
        log.warning("%s cannot be watched any further: %s", self.attempt.job.id, reason)

    def _run(self) -> None:
        try:
            self._store_pieces()
        except Exception as error:
            self._give_up(error)

    def _store_pieces(self) -> None:
        number = frames = published = 0
        published_at = -PUBLISH_S
        for piece in iter(self._pieces.get, None):
            if self._ended:
                return
            if piece.frames:
                if frames != frames_before(number):
                    raise ValueError(f"segment {number - 1} of {frames} frames in all is not the last")
                name, number, frames = streams.segment(number), number + 1, frames + piece.frames
            else:
                name = streams.HEADER
            self.attempt.store.put(self._folder + name, io.BytesIO(piece.data))
            if frames and (self._pieces.empty() or time.monotonic() - published_at > PUBLISH_S):
                if not self._publish(frames):
                    return
                published, published_at = frames, time.monotonic()
        if frames > published:
            self._publish(frames)

    def _publish(self, frames: int) -> bool:
        """Shows what is stored; returns False if the job is not this attempt's any more."""
        with self.attempt.database.session() as session:
            return streams.publish(session, self.attempt.store, self.attempt.job, self._name, frames)
