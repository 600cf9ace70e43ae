"""The jobs of a service."""

from __future__ import annotations

from collections.abc import Iterator

from adnerf_client.collection import Collection
from adnerf_client.models import Job, JobKind, JobState


class Jobs(Collection[Job]):
    """The jobs that make subjects and videos."""

    path, model = "/v1/jobs", Job

    def list(
        self,
        *,
        state: JobState | None = None,
        kind: JobKind | None = None,
        subject_id: str | None = None,
        video_id: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Lists at most `limit` jobs, newest first."""
        return self._list(limit, state=state, kind=kind, subject_id=subject_id, video_id=video_id)

    def cancel(self, which: str | Job) -> Job:
        """Cancels a queued or running job; running work stops within seconds. Raises Conflict in other states."""
        return self._post(which, "cancel")

    def retry(self, which: str | Job) -> Job:
        """Queues a failed or cancelled job again; it continues from saved work. Raises Conflict in other states."""
        return self._post(which, "retry")
