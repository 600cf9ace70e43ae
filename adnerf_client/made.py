"""The base class of the collections of resources that are made from a file: small files travel in the request, large ones before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from adnerf_client.collection import Collection, Resource
from adnerf_client.connection import BytesDone, Connection, parse
from adnerf_client.errors import NotServed
from adnerf_client.uploads import Uploads, readable

RESUMABLE_FROM = 8 << 20
"""Size (bytes) from which files are sent as resumable uploads; a smaller file is sent again as a whole just as quickly."""


class Made(Collection[Resource]):
    """The resources of a kind that is made from a file."""

    create_path = ""
    """The path to which a new resource is posted; empty: `path`."""

    def __init__(self, connection: Connection, uploads: Uploads):
        super().__init__(connection)
        self._uploads = uploads

    def _create(
        self,
        form: Mapping[str, str],
        name: str,
        path: str | Path | None,
        upload_id: str | None,
        progress: BytesDone | None,
        others: Mapping[str, Path] = MappingProxyType({}),
        to: str = "",
    ) -> Resource:
        """Makes a resource.

        Args:
            form: Text fields.
            name: Name of the field that holds the file.
            path: The file; None if `upload_id` is given.
            upload_id: Id of a complete upload of the file.
            progress: Called with the bytes sent so far and the total.
            others: Further, small files by the name of their field.
            to: Path to post to; empty: where all resources of the kind are made.
        """
        if (path is None) == (upload_id is None):
            raise TypeError(f"give either {name} or upload_id")
        files = dict(others)
        if path is not None:
            upload_id = self._upload(readable(path), progress)
        if upload_id is None:
            files[name] = Path(path)
        else:
            form, progress = {**form, "upload_id": upload_id}, None
        target = to or self.create_path or self.path
        return parse(self.model, self._connection.send("POST", target, form=form, files=files, progress=progress))

    def _upload(self, path: Path, progress: BytesDone | None) -> str | None:
        """Uploads a large file and returns the upload's id; None for a small file, or if the service has no uploads."""
        if path.stat().st_size < RESUMABLE_FROM:
            return None
        try:
            return self._uploads.create(path, progress=progress).id
        except NotServed:
            return None
