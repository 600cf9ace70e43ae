"""Versions of objects: a bucket with versioning keeps what is deleted or replaced, unless the version itself is deleted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

log = logging.getLogger(__name__)

REFUSED = ("AccessDenied", "403")
UNKNOWN = ("NotImplemented", "501", "MethodNotAllowed", "405")
"""Codes of stores that do not let this key ask for versions, and of those that have none."""


def are_kept(client: Any, bucket: str) -> bool:
    """Returns whether a bucket keeps versions, or has kept some. Stores that do not know the question keep none.

    Raises:
        ClientError: the store does not answer the question now.
    """
    try:
        return "Status" in client.get_bucket_versioning(Bucket=bucket)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code not in (*REFUSED, *UNKNOWN):
            raise
        if code in REFUSED:
            log.warning(
                "The object store does not tell whether the bucket keeps versions, in which what is deleted would stay. "
                "Allow s3:GetBucketVersioning."
            )
        return False


def of_object(client: Any, bucket: str, place: str) -> Iterator[dict[str, str]]:
    """Yields key and version id of each version of one object, and of each marker of its deletion."""
    for version in below(client, bucket, place):
        if version["Key"] != place:  # the first key in their order; longer ones follow
            return
        yield version


def below(client: Any, bucket: str, prefix: str) -> Iterator[dict[str, str]]:
    """Yields key and version id of all versions, and of all markers of deletions, whose keys begin with `prefix`, in the order of keys."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        entries = page.get("Versions", []) + page.get("DeleteMarkers", [])
        for entry in sorted(entries, key=lambda entry: entry["Key"]):
            yield {"Key": entry["Key"], "VersionId": entry["VersionId"]}
