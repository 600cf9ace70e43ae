"""S3Store: objects in a bucket of Amazon S3 or of any other store with the same API.

An object is written by one PUT or by a multipart upload; with either it becomes visible, complete, with the last request.
The SHA-256 of the content is kept as the object's metadata `sha256`. The store checks what it receives against a checksum,
and a reader compares what it reads with the metadata. Checksum and length are headers: the form in which boto3 sends them
behind the content over https (`aws-chunked`) is refused by several stores.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import boto3
from boto3.s3.transfer import TransferConfig

from storage.database.models import now
from storage.errors import BadSetting, EmptyFile, NotDeleted, ObjectDamaged, ObjectMissing
from storage.objects import s3_versions
from storage.objects.base import (
    ANY_AGE_S,
    CHUNK_BYTES,
    IncomingFile,
    Stored,
    check_key,
    check_prefix,
    disk_full_is_store_full,
    is_key,
)
from storage.objects.s3_client import IMPATIENT, client_errors, make_client
from storage.objects.s3_join import PartJoiner
from storage.settings import Settings

PART_BYTES = 16 << 20
"""Size of the parts of a multipart upload: S3 allows 10,000 parts, so an object can have 156 GiB; one part is in memory."""
DELETE_BATCH = 1000
"""Keys that one request deletes: the most that S3 allows."""
COPY = TransferConfig(multipart_threshold=1 << 30, multipart_chunksize=1 << 30, use_threads=False)
"""Copies within the store: one request copies 5 GiB at most, and one of 1 GiB is answered within the read timeout."""


class S3Store:
    """An object store (storage/objects/base.py) in a bucket, below a folder of it; both are named by the settings.

    With `impatient`, requests that store nothing are given up after half a minute instead of four. Requests that store are not:
    a store may copy or join a large object for a minute before it answers.

    Raises BadSetting if ADNERF_STORE_URL names no bucket.
    """

    def __init__(self, settings: Settings, *, impatient: bool = False):
        url = urlsplit(settings.store_url)
        if not url.netloc:
            raise BadSetting(f"ADNERF_STORE_URL={settings.store_url!r} names no bucket.")
        self.bucket = url.netloc
        self.folder = f"{url.path.strip('/')}/".removeprefix("/")
        self.link_s = settings.link_s
        self.incoming_folder = settings.data_dir
        session = boto3.session.Session()
        self._writer = self._client = self._public_client = make_client(session, settings, settings.s3_endpoint_url)
        if impatient:
            self._client = make_client(session, settings, settings.s3_endpoint_url, attempts=2, **IMPATIENT)
        # A link must have an address that clients can reach. For an endpoint other than Amazon's, a setting says which.
        if settings.s3_public_url != settings.s3_endpoint_url:
            public = settings.s3_public_url
            self._public_client = make_client(session, settings, public) if public else None

    def put(self, key: str, source: BinaryIO) -> Stored:
        """See ObjectStore. Reads `source` twice, because the digest is part of the request that begins to send it."""
        start = source.tell()
        size, sha256 = _measure(source)
        source.seek(start)
        self._upload(key, source, size, sha256)
        return Stored(key, size, sha256)

    def create_incoming(self, *, hashed: bool = True) -> IncomingFile:
        """See ObjectStore. A file on the local disk, without a name; always hashed, because the digest is sent with it."""
        with disk_full_is_store_full():
            self.incoming_folder.mkdir(parents=True, exist_ok=True)
            return IncomingFile(tempfile.TemporaryFile(buffering=0, dir=self.incoming_folder))

    def put_incoming(self, key: str, incoming: IncomingFile) -> Stored:
        """See ObjectStore.put_incoming."""
        with incoming:
            _check_not_empty(incoming.size)
            incoming.file.seek(0)
            self._upload(key, incoming.file, incoming.size, incoming.sha256)
        return Stored(key, incoming.size, incoming.sha256)

    def put_joined(self, key: str, part_keys: Sequence[str]) -> Stored:
        """See ObjectStore. The parts are read once, for the digest, and copied within the store."""
        digest, sizes = hashlib.sha256(), []
        for part_key in part_keys:
            with self.open(part_key) as part:
                while chunk := part.read(CHUNK_BYTES):
                    digest.update(chunk)
                sizes.append(part.tell())
        _check_not_empty(sum(sizes))
        target = {"Bucket": self.bucket, "Key": self._place(key)}
        with client_errors(key):
            begun = self._writer.create_multipart_upload(**target, Metadata={"sha256": digest.hexdigest()})
            target["UploadId"] = begun["UploadId"]
        try:
            with client_errors(key):
                joiner = PartJoiner(self._writer, target, sum(sizes))
                for part_key, size in zip(part_keys, sizes, strict=True):
                    joiner.add(self._place(part_key), size)
                joiner.complete()
        except BaseException:
            self._abort(target)
            raise
        return Stored(key, sum(sizes), digest.hexdigest())

    def open(self, key: str) -> BinaryIO:
        """See ObjectStore.open."""
        with client_errors(key):
            head = self._client.head_object(Bucket=self.bucket, Key=self._place(key))
        return io.BufferedReader(_Reader(self._client, self.bucket, self._place(key), key, head), CHUNK_BYTES)

    def fetch(self, key: str, path: Path) -> None:
        """See ObjectStore.fetch."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            with self.open(key) as source, temporary.open("wb") as file:
                while chunk := source.read(CHUNK_BYTES):
                    file.write(chunk)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def size(self, key: str) -> int:
        """See ObjectStore.size."""
        with client_errors(key):
            return self._client.head_object(Bucket=self.bucket, Key=self._place(key))["ContentLength"]

    def exists(self, key: str) -> bool:
        """See ObjectStore.exists."""
        with suppress(ObjectMissing):
            return self.size(key) >= 0
        return False

    def delete(self, *keys: str) -> None:
        """See ObjectStore.delete."""
        places = (self._place(key) for key in keys)
        if self._keeps_versions:
            self._delete(
                version for place in places for version in s3_versions.of_object(self._client, self.bucket, place)
            )
        else:
            self._delete({"Key": place} for place in places)

    def delete_prefix(self, prefix: str) -> None:
        """See ObjectStore.delete_prefix."""
        place = f"{self._place(check_prefix(prefix))}/"
        for upload in self._uploads(place):
            self._abort(upload)
        if self._keeps_versions:
            self._delete(s3_versions.below(self._client, self.bucket, place))
        else:
            self._delete({"Key": entry["Key"]} for entry in self._entries(Prefix=place))

    def move(self, key: str, new_key: str) -> None:
        """See ObjectStore. The content is copied within the store."""
        source = {"Bucket": self.bucket, "Key": self._place(key)}
        with client_errors(key):
            metadata = self._client.head_object(**source)["Metadata"]
            # A copy in parts, unlike a copy by one request, does not take over the metadata, so they are always given.
            arguments = {"Metadata": metadata, "MetadataDirective": "REPLACE"}
            self._writer.copy(source, self.bucket, self._place(new_key), ExtraArgs=arguments, Config=COPY)
        self.delete(key)

    def keys(self, *, older_than_s: float, after: str = "", prefix: str = "") -> Iterator[str]:
        """See ObjectStore.keys."""
        latest = (
            datetime.max.replace(tzinfo=UTC) if older_than_s == ANY_AGE_S else now() - timedelta(seconds=older_than_s)
        )
        start = {"StartAfter": self._place(after)} if after else {}
        folder = f"{self._place(check_prefix(prefix))}/" if prefix else self.folder
        for entry in self._entries(Prefix=folder, **start):
            key = entry["Key"].removeprefix(self.folder)
            if entry["LastModified"] <= latest and is_key(key):
                yield key

    def delete_unfinished(self, *, older_than_s: float) -> int:
        """See ObjectStore.delete_unfinished."""
        latest = now() - timedelta(seconds=older_than_s)
        unfinished = [
            upload
            for upload in self._uploads(self.folder)
            if upload["Initiated"] <= latest and self._is_idle(upload, latest)
        ]
        for upload in unfinished:
            self._abort(upload)
        return len(unfinished)

    def link(self, key: str, *, name: str, media_type: str) -> str | None:
        """See ObjectStore.link."""
        if self._public_client is None:
            return None
        request = {
            "Bucket": self.bucket,
            "Key": self._place(key),
            "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "ResponseContentType": media_type,
        }
        return self._public_client.generate_presigned_url("get_object", Params=request, ExpiresIn=int(self.link_s))

    def ping(self) -> None:
        """See ObjectStore.ping."""
        with client_errors("bucket"):
            self._client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)

    def _place(self, key: str) -> str:
        """The key in the bucket of our object `key`."""
        return self.folder + check_key(key)

    def _upload(self, key: str, file: BinaryIO, size: int, sha256: str) -> None:
        """Sends the next `size` bytes of `file`, whose digest is `sha256`, by one PUT or by a multipart upload.

        Raises ObjectDamaged, and stores nothing, if these bytes have another digest.
        """
        target: dict[str, Any] = {"Bucket": self.bucket, "Key": self._place(key)}
        description: dict[str, Any] = {"Metadata": {"sha256": sha256}}
        digest = hashlib.sha256()
        if size < PART_BYTES:
            (content,) = _parts(file, size, digest)
            _check_unchanged(key, digest, sha256)
            with client_errors(key):
                self._writer.put_object(**target, **description, Body=content, ChecksumSHA256=_base64(digest))
            return
        with client_errors(key):
            begun = self._writer.create_multipart_upload(**target, **description, ChecksumAlgorithm="SHA256")
        target["UploadId"] = begun["UploadId"]
        try:
            parts = []
            for number, content in enumerate(_parts(file, size, digest), 1):
                checksum = {"ChecksumSHA256": _base64(hashlib.sha256(content))}
                with client_errors(key):
                    sent = self._writer.upload_part(**target, PartNumber=number, Body=content, **checksum)
                known = checksum if "ChecksumSHA256" in sent else {}  # by stores that know this kind of checksum
                parts.append({"PartNumber": number, "ETag": sent["ETag"], **known})
            _check_unchanged(key, digest, sha256)
            with client_errors(key):
                self._writer.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
        except BaseException:
            self._abort(target)
            raise

    def _entries(self, **filters: Any) -> Iterator[dict[str, Any]]:
        with client_errors("list"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **filters):
                yield from page.get("Contents", [])

    def _uploads(self, place: str) -> Iterator[dict[str, Any]]:
        """Yields the multipart uploads below `place` that are neither completed nor aborted."""
        with client_errors("list"):
            for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=place):
                yield from page.get("Uploads", [])

    def _is_idle(self, upload: dict[str, Any], since: datetime) -> bool:
        """Whether no part of a multipart upload has arrived since: then the process that began it is gone."""
        request = {"Bucket": self.bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        with suppress(ObjectMissing), client_errors(upload["Key"]):  # it may be completed or aborted meanwhile
            pages = self._client.get_paginator("list_parts").paginate(**request)
            return all(part["LastModified"] <= since for page in pages for part in page.get("Parts", []))
        return False

    def _abort(self, upload: dict[str, Any]) -> None:
        with suppress(ObjectMissing), client_errors(upload["Key"]):  # it may be completed or aborted meanwhile
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    @cached_property
    def _keeps_versions(self) -> bool:
        with client_errors("bucket"):
            return s3_versions.are_kept(self._client, self.bucket)

    def _delete(self, objects: Iterator[dict[str, str]]) -> None:
        errors = []
        while batch := list(islice(objects, DELETE_BATCH)):
            with client_errors("delete"):
                answer = self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})
            errors += answer.get("Errors", [])
        if errors:
            message = f"{len(errors)} objects could not be removed."
            remedy = "Let the key delete objects and their versions, or lift the lock that the bucket has on them."
            raise NotDeleted(message, remedy, details=errors[0].get("Message"))


class _Reader(io.RawIOBase):
    """An object as a seekable file. Reading after a seek begins a new streamed request at that position.

    An object that was read from start to end without a seek is compared with its digest; then reading raises ObjectDamaged.
    """

    def __init__(self, client, bucket: str, place: str, key: str, head: dict[str, Any]):
        self.request = {"Bucket": bucket, "Key": place, "IfMatch": head["ETag"]}
        self.client, self.key = client, key
        self.size, self.sha256 = head["ContentLength"], head["Metadata"].get("sha256")
        self.position = 0
        self.digest, self.digested = hashlib.sha256(), 0
        self.body = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if target < 0:
            raise ValueError("before the start of the file")
        if target != self.position:
            self._close_body()
            self.position = target
        return target

    def readinto(self, buffer) -> int:
        if self.position >= self.size:
            return 0
        with client_errors(self.key):
            if self.body is None:
                self.body = self.client.get_object(**self.request, Range=f"bytes={self.position}-")["Body"]
            chunk = self.body.read(len(buffer))
        if not chunk:
            raise ObjectDamaged(f"A stored file ended after {self.position} of {self.size} bytes.", details=self.key)
        if self.position == self.digested:
            self.digest.update(chunk)
            self.digested += len(chunk)
        buffer[: len(chunk)] = chunk
        self.position += len(chunk)
        if self.digested == self.size and self.sha256 not in (None, self.digest.hexdigest()):
            raise ObjectDamaged("A stored file has changed: its SHA-256 is another.", details=self.key)
        return len(chunk)

    def close(self) -> None:
        self._close_body()
        super().close()

    def _close_body(self) -> None:
        if self.body is not None:
            self.body.close()
            self.body = None


def _parts(file: BinaryIO, size: int, digest: Any) -> Iterator[bytes]:
    """Yields the next `size` bytes of `file` in parts of PART_BYTES and a rest, and adds them to `digest`."""
    for start in range(0, size, PART_BYTES):
        content = file.read(min(PART_BYTES, size - start))
        digest.update(content)
        yield content


def _check_unchanged(key: str, digest: Any, sha256: str) -> None:
    if digest.hexdigest() != sha256:
        raise ObjectDamaged("A file changed while it was stored.", details=key)


def _base64(digest: Any) -> str:
    """The digest as a checksum header has it."""
    return base64.b64encode(digest.digest()).decode()


def _measure(source: BinaryIO) -> tuple[int, str]:
    """Size and SHA-256 of the rest of `source`. Raises EmptyFile."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK_BYTES):
        size += len(chunk)
        digest.update(chunk)
    _check_not_empty(size)
    return size, digest.hexdigest()


def _check_not_empty(size: int) -> None:
    if size == 0:
        raise EmptyFile("The file is empty.")
