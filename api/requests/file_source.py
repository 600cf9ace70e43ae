"""The file that a request is about: sent in its form, or before, as an upload that the form names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from api.problems.problems import Problem, validation_problem
from api.requests.multipart import HEAD, FileRule, Form, ReceivedFile
from storage.database.engine import Database
from storage.objects.base import ObjectStore
from storage.tables import uploads


@contextmanager
def file_or_upload(
    form: Form, name: str, upload_id: str | None, rule: FileRule, *, owner: str, database: Database, store: ObjectStore
) -> Iterator[ReceivedFile]:
    """The file `name` of `form`, or the upload in its place, by the same rule; open until the block ends.

    Raises Problem `validation_failed` (both, or none), `file_too_large`, what the rule's `look` raises; NotFound,
    UploadIncomplete, UploadUsed.
    """
    if upload_id is None:
        yield form.file(name)
        return
    if name in form.files:
        raise validation_problem(f"Send either `{name}` or `upload_id`", "upload_id")
    with database.session(write=False) as session:
        upload = uploads.complete_upload(session, upload_id, owner=owner)
        file = uploads.open_whole(store, upload)
    with file:
        if upload.size > rule.limit:
            raise Problem(
                "file_too_large", f"`{name}` may have at most {rule.limit} bytes; the upload has {upload.size}."
            )
        rule.look(file.read(HEAD))
        file.seek(0)
        yield ReceivedFile(file, upload.name, upload.size)
