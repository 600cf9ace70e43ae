"""Opens the object store that the settings name."""

from __future__ import annotations

from storage.errors import BadSetting
from storage.objects.base import ObjectStore
from storage.settings import Settings


def open_store(settings: Settings, *, impatient: bool = False) -> ObjectStore:
    """Returns the bucket of ADNERF_STORE_URL, or the local folder if it is empty. Raises BadSetting for other URLs.

    Args:
        impatient: A bucket that does not answer is given up within half a minute, except while something is stored in it.
    """
    if not settings.store_url:
        from storage.objects.local import LocalStore

        return LocalStore(settings.objects)
    if settings.store_url.startswith("s3://"):
        from storage.objects.s3 import S3Store  # here, because boto3 takes 0.4 s to load

        return S3Store(settings, impatient=impatient)
    raise BadSetting(f"ADNERF_STORE_URL={settings.store_url!r} is not an s3:// URL.")
