"""A received file for the use cases, which the API's tests send by HTTP."""

from __future__ import annotations

from storage.objects.base import IncomingFile, ObjectStore


def incoming(store: ObjectStore, content: bytes) -> IncomingFile:
    """Returns `content` as a file that `store` has received. Raises StoreFull."""
    file = store.create_incoming()
    try:
        file.write(content)
    except BaseException:
        file.close()
        raise
    return file
