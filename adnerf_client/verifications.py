"""The verifications of a service: whether it made a file."""

from __future__ import annotations

from pathlib import Path

from adnerf_client.connection import BytesDone
from adnerf_client.made import Made
from adnerf_client.models import Verification


class Verifications(Made[Verification]):
    """The verifications, which answer whether the service made a file; each is kept for a day."""

    path, model, create_path = "/v1/verifications", Verification, "/v1/verify"

    def create(
        self,
        file: str | Path | None = None,
        *,
        upload_id: str | None = None,
        progress: BytesDone | None = None,
    ) -> Verification:
        """Starts the verification of a video file.

        Args:
            file: The video file; None if `upload_id` is given.
            upload_id: Id of a complete upload of the video file.
            progress: Called with the bytes sent so far and the total.

        Returns:
            The verification; its `finished_at` is None while the service checks the file.
        """
        return self._create({}, "file", file, upload_id, progress)
