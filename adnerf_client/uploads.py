"""Uploads that survive a cut connection: tus 1.0 (https://tus.io/protocols/resumable-upload), creation and PATCH."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from adnerf_client.collection import Collection
from adnerf_client.connection import BytesDone, Patience, parse
from adnerf_client.errors import AdnerfError, BadUse, Invalid, NotFound, NotServed
from adnerf_client.models import Upload

CHUNK = 4 << 20
"""Bytes a request: what is lost at most when the connection is cut."""
VERSION = {"Tus-Resumable": "1.0.0"}


class Uploads(Collection[Upload]):
    """Files that are sent piece by piece, and named by their id when a subject or video is made of them."""

    path, model = "/v1/uploads", Upload

    def list(self, *, limit: int | None = None) -> Iterator[Upload]:
        """Uploads, newest first, at most `limit`, until they expire."""
        return self._list(limit)

    def create(self, path: str | Path, *, progress: BytesDone | None = None) -> Upload:
        """Sends a whole file, going on where a cut connection left it. Raises NotServed, BadUse, Problem, Unreachable."""
        return self.resume(self.begin(path).id, path, progress=progress)

    def begin(self, path: str | Path) -> Upload:
        """Announces a file; `resume` sends it. Raises NotServed, BadUse, Problem, Unreachable."""
        path = readable(path)
        size = path.stat().st_size
        name = base64.b64encode(path.name.encode(errors="replace")).decode()
        headers = {**VERSION, "Upload-Length": str(size), "Upload-Metadata": f"filename {name}"}
        try:
            return parse(Upload, self._connection.send("POST", self.path, headers=headers))
        except (NotFound, Invalid) as error:
            if error.status in (404, 405):
                raise NotServed("This service takes no resumable uploads.") from error
            raise

    def resume(self, upload_id: str, path: str | Path, *, progress: BytesDone | None = None) -> Upload:
        """Sends what is missing of a file. Raises BadUse where it is not as long as announced, NotFound, Unreachable."""
        path = readable(path)
        upload = self.get(upload_id)
        if path.stat().st_size != upload.size_bytes:
            raise BadUse(
                f"{path} is not the file that {upload_id} was begun with: its size differs.", "Name that file."
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
                    known, upload = upload, self.get(upload_id)
                    if upload.received_bytes == known.received_bytes:
                        patience.pause(error)  # else something arrived, and only the answer did not
                        continue
                patience.renew()

    def delete(self, which: str | Upload) -> None:
        """Gives up an upload; what was made of it stays. Raises NotFound."""
        self._connection.send("DELETE", self._path(which), headers=VERSION)

    def _append(self, upload: Upload, piece: bytes) -> Upload:
        headers = {
            **VERSION,
            "Upload-Offset": str(upload.received_bytes),
            "Content-Type": "application/offset+octet-stream",
        }
        if not piece:
            raise BadUse("The file has become shorter while it was sent.", "Send it when nobody writes to it.")
        answer = self._connection.once("PATCH", self._path(upload), headers=headers, content=piece)
        return upload.model_copy(update={"received_bytes": int(answer.headers["Upload-Offset"])})


def readable(path: str | Path) -> Path:
    """The path of a file that can be sent. Raises BadUse."""
    path = Path(path)
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise BadUse(f"{path} cannot be read ({error.strerror}).", "Name a file that is there.") from error
