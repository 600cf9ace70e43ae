"""The class Client, which gives access to one service."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import httpx

from adnerf_client.connection import BytesDone, Connection, is_this_machine
from adnerf_client.errors import AdnerfError, BadUse, StillRunning
from adnerf_client.jobs import Jobs
from adnerf_client.local_token import LocalTokenAuth
from adnerf_client.models import Job, Subject, Verification, Video
from adnerf_client.resources import Subjects, Videos
from adnerf_client.uploads import Uploads
from adnerf_client.verifications import Verifications
from adnerf_client.voices import Voices
from adnerf_client.waiting import AWAY_S, JobSeen, Thing, wait
from adnerf_client.webhooks import Webhooks

URL, API_KEY = "ADNERF_URL", "ADNERF_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"
VERIFY_LOOK_S = 2.0
"""Seconds between two requests for the result of a verification: a person waits for it, and each request is cheap."""


class Client:
    """A connection to one service. Close it, or use it in a `with` block. Several threads may share one client.

    All methods raise subclasses of AdnerfError (errors.py).

    Args:
        base_url: Address of the service; None takes it from ADNERF_URL, else http://127.0.0.1:8000.
        api_key: API key; None takes it from ADNERF_API_KEY. Without a key, a service on this machine gets the token that
            local_token.py finds, if there is one.
        patience_s: Seconds, from its first error on, for which a request is repeated while the service is
            unreachable or busy.
        transport: Replaces the network; for tests.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        patience_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ):
        base_url = base_url or os.environ.get(URL) or DEFAULT_URL
        api_key = api_key or os.environ.get(API_KEY)
        auth = LocalTokenAuth() if not api_key and is_this_machine(base_url) else None
        self._connection = Connection(base_url, api_key, patience_s=patience_s, auth=auth, transport=transport)
        self.uploads = Uploads(self._connection)
        self.subjects = Subjects(self._connection, self.uploads)
        self.videos = Videos(self._connection, self.uploads)
        self.voices = Voices(self._connection)
        self.jobs = Jobs(self._connection)
        self.verifications = Verifications(self._connection, self.uploads)
        self.webhooks = Webhooks(self._connection)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections to the service."""
        self._connection.close()

    def wait(
        self, thing: Thing, *, progress: JobSeen | None = None, timeout: float | None = None, away: float = AWAY_S
    ) -> Thing:
        """Waits until the work on a subject, video or job has succeeded.

        Args:
            thing: The subject, video or job.
            progress: Called with a Job whenever one of its jobs has changed.
            timeout: Seconds to wait at most; None waits without limit.
            away: Seconds for which the service may be unreachable, for example during a restart.

        Returns:
            The subject, video or job after its work.

        Raises:
            JobFailed: The work failed.
            JobCancelled: The work was cancelled.
            StillRunning: `timeout` is over; the work continues.
        """
        return wait(self._connection, thing, progress=progress, timeout_s=timeout, away_s=away)

    def verify(
        self, file: str | Path, *, progress: BytesDone | None = None, timeout: float | None = None
    ) -> Verification:
        """Sends a video file to the service and waits for the answer whether the service made it.

        Args:
            file: The video file.
            progress: Called with the bytes sent and the total.
            timeout: Seconds to wait for the answer; None: without a limit.

        Returns:
            The finished verification: what the content credentials and the invisible mark of the file show.

        Raises:
            AdnerfError: The service cannot read the file; `code` is the service's.
            StillRunning: There is no answer after `timeout` seconds. The service goes on; `verifications.get` reads the
                answer later.
        """
        verification = self.verifications.create(file, progress=progress)
        deadline = None if timeout is None else time.monotonic() + timeout
        while verification.finished_at is None:
            if deadline is not None and time.monotonic() >= deadline:
                remedy = "Check that a worker runs, and ask again later."
                raise StillRunning(f"{verification.id} was not answered within {timeout:g} s.", remedy, job=None)
            time.sleep(VERIFY_LOOK_S if deadline is None else min(VERIFY_LOOK_S, max(0.0, deadline - time.monotonic())))
            verification = self.verifications.get(verification)
        if error := verification.error:
            raise AdnerfError(error.message, error.remedy, code=error.code)
        return verification

    def get(self, any_id: str) -> Subject | Video | Job:
        """Gets the subject, video or job with this id.

        Raises:
            NotFound: There is none with this id.
            BadUse: The text is not an id of a subject, video or job.
        """
        for prefix, collection in (("sub_", self.subjects), ("vid_", self.videos), ("job_", self.jobs)):
            if any_id.startswith(prefix):
                return collection.get(any_id)
        raise BadUse(f"{any_id!r} is not an id of a subject, video or job.", "Ids begin with sub_, vid_ or job_.")
