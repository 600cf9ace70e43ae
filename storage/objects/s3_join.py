"""PartJoiner: one object of a bucket made of several others, copied within the store.

A part of a multipart upload may be a range of another object (UploadPartCopy), so the bytes do not leave the store. But
every part except the last must have 5 MiB: of objects that are too small, and of their remainders, the bytes are read and
sent as a part of that size.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

MIN_PART_BYTES = 5 << 20
"""Size that every part but the last must have, by S3's rules."""
MAX_PART_BYTES = 5 << 30
"""Size that a part may have, by S3's rules."""
MAX_PARTS = 10_000
"""Parts that an upload may have, by S3's rules."""


class PartJoiner:
    """Fills one multipart upload with the content of other objects of the bucket, in the order in which they are added.

    Args:
        client: boto3's S3 client, whose errors are passed on.
        target: The upload: `Bucket`, `Key` and `UploadId`.
        size: The total size in bytes of all objects that will be added; no part is so small that there are too many.
    """

    def __init__(self, client: Any, target: dict[str, str], size: int):
        self._client, self._target = client, target
        self._min_bytes = max(MIN_PART_BYTES, -(-size // MAX_PARTS))
        self._parts: list[dict[str, Any]] = []
        self._pending = b""  # the bytes that come next and are too few for a part

    def add(self, place: str, size: int) -> None:
        """Appends the object `place` (its key in the bucket), which has `size` bytes."""
        start = 0
        if self._pending:
            start = min(size, self._min_bytes - len(self._pending))
            self._pending += self._read(place, 0, start)
            if len(self._pending) == self._min_bytes:
                self._send_pending()
        while size - start >= self._min_bytes:
            stop = min(size, start + MAX_PART_BYTES)
            self._copy(place, start, stop)
            start = stop
        self._pending += self._read(place, start, size)

    def complete(self) -> None:
        """Sends the remaining bytes and completes the upload: the object becomes visible."""
        if self._pending:
            self._send_pending()
        self._client.complete_multipart_upload(**self._target, MultipartUpload={"Parts": self._parts})

    def _read(self, place: str, start: int, stop: int) -> bytes:
        if start == stop:
            return b""
        request = {"Bucket": self._target["Bucket"], "Key": place, "Range": f"bytes={start}-{stop - 1}"}
        return self._client.get_object(**request)["Body"].read()

    def _send_pending(self) -> None:
        md5 = hashlib.md5(self._pending, usedforsecurity=False).digest()  # the only checksum that every store knows
        number = len(self._parts) + 1
        sent = self._client.upload_part(
            **self._target, PartNumber=number, Body=self._pending, ContentMD5=base64.b64encode(md5).decode()
        )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        self._pending = b""

    def _copy(self, place: str, start: int, stop: int) -> None:
        number = len(self._parts) + 1
        copied = self._client.upload_part_copy(
            **self._target,
            PartNumber=number,
            CopySource={"Bucket": self._target["Bucket"], "Key": place},
            CopySourceRange=f"bytes={start}-{stop - 1}",
        )
        self._parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
