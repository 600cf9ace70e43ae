"""The errors of what is kept. Each class has a stable `code` and says the remedy, as the core's do.

StorageError                code                  raised when
├── NotFound                not_found             no such subject, video or job (any more)
├── Conflict
│   ├── MoveNotAllowed      move_not_allowed      the job's state does not allow this move
│   ├── SubjectNotReady     subject_not_ready     the subject is still in work, or failed
│   ├── VideoNotReady       video_not_ready       the video is still in work, or failed
│   ├── PreviewNotReady     preview_not_ready     there is no preview picture yet
│   └── ReportNotReady      report_not_ready      there is no report yet
├── Refused                 (what was sent cannot be taken in)
│   ├── EmptyFile           empty_file            a file of zero bytes
│   └── FileTooLarge        file_too_large        more bytes than the limit
├── StoreFull               disk_full             no space left in the object store or the database
├── StoreAway               store_away            the object store does not answer, or refuses
├── ObjectMissing           object_missing        the store lacks an object that a row names
├── ObjectDamaged           object_damaged        the store's object is not what was stored
├── InUse                   in_use                another service runs on the same data folder
└── BadSetting              bad_setting           an environment variable has an unusable value
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of all errors of this room. `code` is stable, `message` says what is wrong, `remedy` what to do about it."""

    code = "storage_error"
    remedy = "Try again; if it happens again, report it with the log."

    def __init__(self, message: str, remedy: str | None = None):
        super().__init__(message)
        self.message = message
        if remedy is not None:
            self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"


class NotFound(StorageError):
    code = "not_found"
    remedy = "Check the id; what was deleted does not come back."


class Conflict(StorageError):
    """The state of a thing does not allow what was asked."""

    code = "conflict"


class MoveNotAllowed(Conflict):
    code = "move_not_allowed"
    remedy = "Look at the job's state: queued and running jobs can be cancelled, failed and cancelled ones retried."


class SubjectNotReady(Conflict):
    code = "subject_not_ready"
    remedy = "Wait until the subject's state is `ready`; retry its job if it failed."


class VideoNotReady(Conflict):
    code = "video_not_ready"
    remedy = "Wait until the video's state is `ready`; retry its job if it failed."


class PreviewNotReady(Conflict):
    code = "preview_not_ready"
    remedy = "Ask again once training has made some progress."


class ReportNotReady(Conflict):
    code = "report_not_ready"
    remedy = "Wait until the subject's state is `ready`; a subject that an earlier version made has no report."


class Refused(StorageError):
    """What was sent cannot be taken in."""

    code = "refused"


class EmptyFile(Refused):
    code = "empty_file"
    remedy = "Send the file again; it arrived without content."


class FileTooLarge(Refused):
    code = "file_too_large"
    remedy = "Send a shorter or more strongly compressed file."


class StoreFull(StorageError):
    code = "disk_full"
    remedy = "Free some space where the data lie, then try again."


class ObjectMissing(StorageError):
    code = "object_missing"
    remedy = "Restore the object store from its backup, or make the subject anew."


class ObjectDamaged(StorageError):
    code = "object_damaged"
    remedy = "Try again; if it stays so, restore the object store from its backup, or make the subject anew."


class StoreAway(StorageError):
    code = "store_away"
    remedy = "Look whether the object store runs and its keys are right, then try again."


class InUse(StorageError):
    code = "in_use"
    remedy = "Stop the other one first, or choose another --data-dir."


class BadSetting(StorageError):
    code = "bad_setting"
    remedy = "Correct the variable or unset it."
