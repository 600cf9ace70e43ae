"""Resumable uploads by tus 1.0 (https://tus.io/protocols/resumable-upload): creation and PATCH."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from adnerf_client.collection import Collection
from adnerf_client.connection import BytesDone, Patience, parse
from adnerf_client.errors import AdnerfError, BadUse, Invalid, NotFound, NotServed
from adnerf_client.models import Upload

CHUNK = 4 << 20
"""Bytes per request: the most that is sent again after a lost connection. Smaller chunks would need more round trips."""
VERSION = {"Tus-Resumable": "1.0.0"}
"""The header that every tus request carries."""


class Uploads(Collection[Upload]):
    """Files that are sent in chunks; a subject or video is made from one by its id."""

    path, model = "/v1/uploads", Upload

    def list(self, *, limit: int | None = None) -> Iterator[Upload]:
        """Lists at most `limit` uploads that have not expired, newest first."""
        return self._list(limit)

    def create(self, path: str | Path, *, progress: BytesDone | None = None) -> Upload:
        """Uploads a file; continues after lost connections.

        Args:
            path: The file.
            progress: Called with the bytes sent so far and the total.

        Returns:
            The complete upload.

        Raises:
            NotServed: The service has no uploads.
            BadUse: The file cannot be read, or it changed.
            Problem: The service refuses the file.
            Unreachable: The service did not answer.
        """
        return self.resume(self.begin(path).id, path, progress=progress)

    def begin(self, path: str | Path) -> Upload:
        """Creates an upload without sending the file, which `resume` does. Raises NotServed, BadUse, Problem, Unreachable."""
        path = readable(path)
        size = path.stat().st_size
        name = base64.b64encode(path.name.encode(errors="replace")).decode()
        headers = {**VERSION, "Upload-Length": str(size), "Upload-Metadata": f"filename {name}"}
        try:
            return parse(Upload, self._connection.send("POST", self.path, headers=headers))
        except (NotFound, Invalid) as error:
            if error.status in (404, 405):
                raise NotServed("This service does not offer resumable uploads.") from error
            raise

    def resume(self, upload_id: str, path: str | Path, *, progress: BytesDone | None = None) -> Upload:
        """Sends the missing part of a file.

        Args:
            upload_id: The id of the upload.
            path: The file for which the upload was created.
            progress: Called with the bytes sent so far and the total.

        Returns:
            The complete upload.

        Raises:
            BadUse: The file cannot be read, or its size is not that of the upload.
            NotFound: There is no such upload.
            Unreachable: The service did not answer.
        """
        path = readable(path)
        upload = self.get(upload_id)
        if path.stat().st_size != upload.size_bytes:
            raise BadUse(
                f"{path} is not the file of {upload_id}: its size differs.",
                "Name the file that the upload was created for.",
            )
        patience = Patience(self._connection.patience_s)
        with path.open("rb") as file:
            while True:
                if progress is not None:
                    progress(upload.received_bytes, upload.size_bytes)
                if upload.received_bytes == upload.size_bytes:
                    return self.get(upload_id)
                file.seek(upload.received_bytes)
                try:
                    upload = self._append(upload, file.read(CHUNK))
                except AdnerfError as error:
                    previous, upload = upload, self.get(upload_id)
                    if upload.received_bytes == previous.received_bytes:
                        patience.pause(error)  # otherwise the chunk arrived, and only the response was lost
                        continue
                patience.renew()

    def delete(self, which: str | Upload) -> None:
        """Deletes an upload; a subject or video made from it stays. Raises NotFound."""
        self._connection.send("DELETE", self._path(which), headers=VERSION)

    def _append(self, upload: Upload, chunk: bytes) -> Upload:
        headers = {
            **VERSION,
            "Upload-Offset": str(upload.received_bytes),
            "Content-Type": "application/offset+octet-stream",
        }
        if not chunk:
            raise BadUse("The file became shorter while it was sent.", "Send it when no program writes to it.")
        response = self._connection.once("PATCH", self._path(upload), headers=headers, content=chunk)
        return upload.model_copy(update={"received_bytes": int(response.headers["Upload-Offset"])})


def readable(path: str | Path) -> Path:
    """Checks that a file can be read and returns its path. Raises BadUse."""
    path = Path(path)
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise BadUse(
            f"{path} cannot be read ({error.strerror}).", "Name a file that exists and that you may read."
        ) from error
