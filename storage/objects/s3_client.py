"""boto3's client of a bucket: how it is set up, and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from storage.errors import ObjectMissing, ServerFull, StoreAway
from storage.settings import Settings

MAX_ATTEMPTS = 4
"""Attempts at a request that fails for a passing reason; with botocore's waits between them this takes some seconds."""
PATIENT = {"connect_timeout": 10, "read_timeout": 60}
IMPATIENT = {"connect_timeout": 3, "read_timeout": 10}
"""Seconds, for each of two attempts of a process whose clients wait. A store that works answers these requests within one."""
MISSING_CODES = ("404", "NoSuchKey", "NoSuchUpload", "NotFound")
FULL_CODES = ("507", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage")


def make_client(
    session: boto3.session.Session,
    settings: Settings,
    endpoint_url: str,
    *,
    attempts: int | None = None,
    **timeouts: float,
) -> Any:
    """Returns boto3's S3 client for a store with the settings' keys.

    Args:
        session: boto3's.
        settings: of the service.
        endpoint_url: of the store; empty for Amazon's.
        attempts: at a request that fails for a passing reason.
        timeouts: by default PATIENT.
    """
    return session.client(
        "s3",
        endpoint_url=endpoint_url or None,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key or None,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value() or None,
        config=Config(
            signature_version="s3v4",
            # Stores other than Amazon's rarely have a host name for every bucket.
            s3={"addressing_style": "path" if endpoint_url else "auto"},
            retries={"mode": "standard", "total_max_attempts": attempts or MAX_ATTEMPTS},
            # By default botocore adds checksums of newer kinds, which many other stores do not know.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            **timeouts or PATIENT,
        ),
    )


@contextmanager
def client_errors(key: str) -> Iterator[None]:
    """Raises our error in place of the client library's."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in MISSING_CODES:
            raise ObjectMissing("A stored file does not exist any more.", details=key) from error
        if code in FULL_CODES:
            raise ServerFull("No space left in the object store.") from error
        raise StoreAway("The object store refused.", details=error) from error
    except BotoCoreError as error:
        raise StoreAway("The object store does not answer.", details=error) from error
