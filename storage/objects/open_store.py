"""Opens the object store that the settings name."""

from __future__ import annotations

from storage.errors import BadSetting
from storage.objects.base import ObjectStore
from storage.settings import Settings


def open_store(settings: Settings) -> ObjectStore:
    """The store that the settings name. Raises BadSetting for a URL of another kind."""
    if not settings.store_url:
        from storage.objects.local import LocalStore

        return LocalStore(settings.objects)
    if settings.store_url.startswith("s3://"):
        from storage.objects.s3 import S3Store  # boto3 takes its time to load: only where it is needed

        return S3Store(settings)
    raise BadSetting(f"ADNERF_STORE_URL={settings.store_url!r} is not an s3:// URL.")
