"""The client: one service, and what can be done with it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import httpx

from adnerf_client import local_token
from adnerf_client.connection import BytesDone, Connection, is_this_machine
from adnerf_client.errors import AdnerfError, BadUse
from adnerf_client.models import Job, Subject, Verification, Video
from adnerf_client.resources import Jobs, Subjects, Verifications, Videos
from adnerf_client.uploads import Uploads
from adnerf_client.waiting import AWAY_S, JobSeen, Thing, wait
from adnerf_client.webhooks import Webhooks

URL, API_KEY = "ADNERF_URL", "ADNERF_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"
VERIFY_LOOK_S = 2.0
"""Time between looks whether a file has been verified."""


class Client:
    """A service, as a program sees it; to be closed, or used in a `with` block. Several threads may share one.

    `base_url` and `api_key` come from ADNERF_URL and ADNERF_API_KEY where they are not given. Without a key, a service on this
    machine gets the token of local_token.py, if there is one. `patience_s` is how long a
    request is tried again while the service is away or busy. All methods raise AdnerfError's children (errors.py).
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
        if not api_key and is_this_machine(base_url):
            api_key = local_token.find()
        self._connection = Connection(base_url, api_key, patience_s=patience_s, transport=transport)
        self.uploads = Uploads(self._connection)
        self.subjects = Subjects(self._connection, self.uploads)
        self.videos = Videos(self._connection, self.uploads)
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
        """The subject, video or job once its work has ended well; `progress` is told of every change of its jobs.

        The service may be away for `away` seconds meanwhile: it is restarted, say. Raises JobFailed, JobCancelled, and
        StillRunning after `timeout` seconds; the work itself goes on then.
        """
        return wait(self._connection, thing, progress=progress, timeout_s=timeout, away_s=away)

    def verify(self, file: str | Path, *, progress: BytesDone | None = None) -> Verification:
        """Whether the service made a video file, by its credentials and by its mark; waits until that is known.

        Raises AdnerfError with the service's code where the file cannot be looked at.
        """
        answer = self.verifications.create(file, progress=progress)
        while answer.finished_at is None:
            time.sleep(VERIFY_LOOK_S)
            answer = self.verifications.get(answer)
        if answer.error is not None:
            raise AdnerfError(answer.error.message, answer.error.remedy, code=answer.error.code)
        return answer

    def get(self, any_id: str) -> Subject | Video | Job:
        """What has this id. Raises NotFound, and BadUse where it is no id of a subject, video or job."""
        for prefix, collection in (("sub_", self.subjects), ("vid_", self.videos), ("job_", self.jobs)):
            if any_id.startswith(prefix):
                return collection.get(any_id)
        raise BadUse(f"{any_id!r} is no id of a subject, video or job.", "Ids begin with sub_, vid_ or job_.")
