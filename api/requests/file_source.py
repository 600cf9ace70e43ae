"""Finds the file that a request is about: in its form, or as an upload that the form names."""

from __future__ import annotations

from api.problems.problems import Problem, validation_problem
from api.requests.multipart import HEAD_BYTES, FileRule, Form, ReceivedFile
from storage.database.engine import Database
from storage.objects.base import ObjectStore
from storage.tables import uploads


def file_or_upload(
    form: Form,
    name: str,
    upload_id: str | None,
    rule: FileRule,
    *,
    owner: str,
    database: Database,
    store: ObjectStore,
    upload_field: str = "upload_id",
) -> ReceivedFile:
    """Returns the file `name` of `form`, or the upload `upload_id` in its place, which must obey the same `rule`; `upload_field` names it.

    Raises Problem `validation_failed` (both or neither are there), `file_too_large`, or what the rule's `check_head`
    raises; NotFound, UploadIncomplete, UploadUsed.
    """
    if upload_id is None:
        return form.file(name)
    if name in form.files:
        raise validation_problem(f"Send either `{name}` or `{upload_field}`", upload_field)
    with database.session(write=False) as session:
        upload = uploads.complete_upload(session, upload_id, owner=owner)
    if upload.size > rule.limit:
        message = f"`{name}` can have at most {rule.limit} bytes; the upload has {upload.size}."
        raise Problem("file_too_large", message)
    rule.check_head(uploads.read_head(store, upload, HEAD_BYTES))
    return ReceivedFile(upload, upload.name)
