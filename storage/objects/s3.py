"""S3Store: objects in a bucket of Amazon S3 or of any store that speaks its language.

An upload is either one PUT or a multipart upload; both become visible with their last request, whole. The SHA-256 of the
content is kept as the object's metadata `sha256`: the store is sent the checksum of what it shall have received, and
what comes back is compared with it.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from storage.database.models import now
from storage.errors import BadSetting, EmptyFile, FileTooLarge, ObjectDamaged, ObjectMissing, StoreAway, StoreFull
from storage.objects.base import CHUNK, Stored, check_key, check_prefix
from storage.settings import Settings

PART = 16 << 20
"""Size of the parts of a multipart upload; at most 10,000 parts are allowed, so objects of up to 156 GiB."""
BATCH = 1000
"""Most keys that one request deletes."""
TRANSFER = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)
ATTEMPTS = 4
"""How often a request is made that fails for a passing reason."""
MISSING = ("404", "NoSuchKey", "NoSuchUpload", "NotFound")
FULL = ("507", "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage")


class S3Store:
    """An object store (storage/objects/base.py) in the bucket, and below the folder in it, that the settings name."""

    def __init__(self, settings: Settings):
        url = urlsplit(settings.store_url)
        if not url.netloc:
            raise BadSetting(f"ADNERF_STORE_URL={settings.store_url!r} names no bucket.")
        self.bucket = url.netloc
        self.folder = f"{url.path.strip('/')}/".removeprefix("/")
        self.link_s = settings.link_s
        session = boto3.session.Session()
        self._client = self._public_client = _client(session, settings, settings.s3_endpoint_url)
        # Only an address that clients can reach makes links; of an endpoint of one's own this has to be said.
        if settings.s3_public_url != settings.s3_endpoint_url:
            public = settings.s3_public_url
            self._public_client = _client(session, settings, public) if public else None

    def put(self, key: str, source: BinaryIO, *, limit: int | None = None) -> Stored:
        """See ObjectStore. Reads `source` twice: its digest goes ahead, and what is refused is never sent."""
        place = self._place(key)
        start = source.tell()
        size, sha256 = _measure(source, limit)
        source.seek(start)
        sent = _Counted(source)
        with _named(key):
            self._client.upload_fileobj(
                sent,
                self.bucket,
                place,
                ExtraArgs={"Metadata": {"sha256": sha256}, "ChecksumAlgorithm": "SHA256"},
                Config=TRANSFER,
            )
        if (sent.size, sent.digest.hexdigest()) != (size, sha256):
            self.delete(key)
            raise ObjectDamaged(f"What was sent as {key} changed while it was read.")
        return Stored(key, size, sha256)

    def open(self, key: str) -> BinaryIO:
        with _named(key):
            head = self._client.head_object(Bucket=self.bucket, Key=self._place(key))
        return io.BufferedReader(_Reader(self._client, self.bucket, self._place(key), key, head), CHUNK)

    def fetch(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            with self.open(key) as source, temporary.open("wb") as file:
                while chunk := source.read(CHUNK):
                    file.write(chunk)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def size(self, key: str) -> int:
        with _named(key):
            return self._client.head_object(Bucket=self.bucket, Key=self._place(key))["ContentLength"]

    def exists(self, key: str) -> bool:
        with suppress(ObjectMissing):
            return self.size(key) >= 0
        return False

    def delete(self, *keys: str) -> None:
        self._delete(self._place(key) for key in keys)

    def delete_prefix(self, prefix: str) -> None:
        place = f"{self._place(check_prefix(prefix))}/"
        for upload in self._uploads(place):
            self._abort(upload)
        self._delete(entry["Key"] for entry in self._entries(Prefix=place))

    def keys(self, *, older_than_s: float, after: str = "") -> Iterator[str]:
        latest = now() - timedelta(seconds=older_than_s)
        start = {"StartAfter": self._place(after)} if after else {}
        for entry in self._entries(Prefix=self.folder, **start):
            if entry["LastModified"] <= latest:
                yield entry["Key"].removeprefix(self.folder)

    def drop_unfinished(self, *, older_than_s: float) -> int:
        latest = now() - timedelta(seconds=older_than_s)
        left = [upload for upload in self._uploads(self.folder) if upload["Initiated"] <= latest]
        for upload in left:
            self._abort(upload)
        return len(left)

    def link(self, key: str, *, name: str, media_type: str) -> str | None:
        if self._public_client is None:
            return None
        wanted = {
            "Bucket": self.bucket,
            "Key": self._place(key),
            "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "ResponseContentType": media_type,
        }
        return self._public_client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=int(self.link_s))

    def ping(self) -> None:
        with _named("bucket"):
            self._client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)

    def _place(self, key: str) -> str:
        return self.folder + check_key(key)

    def _entries(self, **wanted: Any) -> Iterator[dict[str, Any]]:
        with _named("list"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **wanted):
                yield from page.get("Contents", [])

    def _uploads(self, place: str) -> Iterator[dict[str, Any]]:
        """Multipart uploads that were begun and neither completed nor given up."""
        with _named("list"):
            for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=place):
                yield from page.get("Uploads", [])

    def _abort(self, upload: dict[str, Any]) -> None:
        with suppress(ObjectMissing), _named(upload["Key"]):  # it may be completed or given up meanwhile
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    def _delete(self, places: Iterator[str]) -> None:
        while batch := list(islice(places, BATCH)):
            with _named("delete"):
                objects = [{"Key": place} for place in batch]
                answer = self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True})
            if errors := answer.get("Errors"):
                raise StoreAway(f"{len(errors)} objects could not be removed: {errors[0].get('Message')}.")


class _Counted(io.RawIOBase):
    """A file being read once, and what went through."""

    def __init__(self, source: BinaryIO):
        self.source, self.digest, self.size = source, hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self.source.read(size)
        self.digest.update(chunk)
        self.size += len(chunk)
        return chunk


class _Reader(io.RawIOBase):
    """An object as a seekable file: one streamed request from wherever reading goes on.

    Raises ObjectDamaged at the end where it was read in one go and is not what was stored.
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
            self._let_go()
            self.position = target
        return target

    def readinto(self, buffer) -> int:
        if self.position >= self.size:
            return 0
        with _named(self.key):
            if self.body is None:
                self.body = self.client.get_object(**self.request, Range=f"bytes={self.position}-")["Body"]
            chunk = self.body.read(len(buffer))
        if not chunk:
            raise ObjectDamaged(f"Object {self.key} ended after {self.position} of {self.size} bytes.")
        if self.position == self.digested:
            self.digest.update(chunk)
            self.digested += len(chunk)
        buffer[: len(chunk)] = chunk
        self.position += len(chunk)
        if self.digested == self.size and self.sha256 not in (None, self.digest.hexdigest()):
            raise ObjectDamaged(f"Object {self.key} is not what was stored: its SHA-256 differs.")
        return len(chunk)

    def close(self) -> None:
        self._let_go()
        super().close()

    def _let_go(self) -> None:
        if self.body is not None:
            self.body.close()
            self.body = None


def _measure(source: BinaryIO, limit: int | None) -> tuple[int, str]:
    """Size and SHA-256 of what is left of `source`. Raises EmptyFile, FileTooLarge."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        size += len(chunk)
        if limit is not None and size > limit:
            raise FileTooLarge(f"The file has more than {limit} bytes.")
        digest.update(chunk)
    if size == 0:
        raise EmptyFile("The file is empty.")
    return size, digest.hexdigest()


def _client(session: boto3.session.Session, settings: Settings, endpoint_url: str):
    return session.client(
        "s3",
        endpoint_url=endpoint_url or None,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key or None,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value() or None,
        config=Config(
            signature_version="s3v4",
            # Stores of one's own rarely have a host name for every bucket.
            s3={"addressing_style": "path" if endpoint_url else "auto"},
            connect_timeout=10,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            # Checksums are asked for where they are wanted; many stores do not know the newest ones.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@contextmanager
def _named(key: str) -> Iterator[None]:
    """The store's own errors as ours."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in MISSING:
            raise ObjectMissing(f"There is no object {key}.") from error
        if code in FULL:
            raise StoreFull("No space left in the object store.") from error
        raise StoreAway(f"The object store refused ({code}).") from error
    except (BotoCoreError, S3UploadFailedError) as error:
        raise StoreAway(f"The object store does not answer: {error}.") from error
