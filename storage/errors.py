"""The errors of what is kept. Each class has a stable `code` and says the remedy, as the core's do.

StorageError                code                  raised when
├── NotFound                not_found             no such subject, video or job (any more)
├── Unauthorized            unauthorized          no key, or none that counts
├── Conflict
│   ├── MoveNotAllowed      move_not_allowed      the job's state does not allow this move
│   ├── SubjectNotReady     subject_not_ready     the subject is still in work, or failed
│   ├── VideoNotReady       video_not_ready       the video is still in work, or failed
│   ├── TooManyWebhooks     too_many_webhooks     an owner has as many webhooks as are allowed
│   ├── WebhookDisabled     webhook_disabled      something is to be sent to a webhook that is switched off
│   ├── WebhooksOff         webhooks_off          the service has no key that webhooks could be signed with
│   ├── ConsentWithdrawn    consent_withdrawn     the person agrees no longer to be shown
│   ├── PreviewNotReady     preview_not_ready     there is no preview picture yet
│   ├── ReportNotReady      report_not_ready      there is no report yet
│   ├── ViewsNotReady       views_not_ready       there are no pictures of the subject turned
│   ├── OffsetMismatch      offset_mismatch       bytes of an upload that do not follow on those that are there
│   ├── UploadIncomplete    upload_incomplete     an upload is used before all of it is there
│   ├── UploadUsed          upload_used           an upload is used for the second time
│   └── KeyRevoked          key_revoked           the key was revoked
├── Refused                 (what was sent cannot be taken in)
│   ├── UrlRefused          url_refused           a webhook's address is none that this service would call
│   ├── EmptyFile           empty_file            a file of zero bytes
│   ├── FileTooLarge        file_too_large        more bytes than the limit
│   ├── TooManyUploads      too_many_uploads      an owner has begun as many uploads as are allowed
│   └── QuotaExceeded       quota_exceeded        an owner would have more than its quota
├── StoreFull               disk_full             no space left in the object store or the database
├── StoreAway               store_away            the object store does not answer, or refuses
├── ObjectMissing           object_missing        the store lacks an object that a row names
├── ObjectDamaged           object_damaged        the store's object is not what was stored
├── BadCertificate          bad_certificate       what videos are signed with is missing, expired or does not fit
├── InUse                   in_use                another service runs on the same data folder
├── NotSafe                 not_safe              others could reach the service, and there are no keys
├── DatabaseNotReady        database_not_ready    at a start: the database does not answer, or lacks its tables
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


class Unauthorized(StorageError):
    code = "unauthorized"
    remedy = "Send `Authorization: Bearer` with a key that `adnerf keys create` has made."


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


class ConsentWithdrawn(Conflict):
    code = "consent_withdrawn"
    remedy = "Nothing more can be made or shown of this subject; who agrees again makes a new one."


class TooManyWebhooks(Conflict):
    code = "too_many_webhooks"
    remedy = "Delete one that is not needed any more, or let one webhook hear of more events."


class WebhookDisabled(Conflict):
    code = "webhook_disabled"
    remedy = 'Switch it on again with PATCH {"enabled": true}.'


class WebhooksOff(Conflict):
    code = "webhooks_off"
    remedy = "The operator has to set ADNERF_WEBHOOK_KEY, to the same value everywhere."


class PreviewNotReady(Conflict):
    code = "preview_not_ready"
    remedy = "Ask again once training has made some progress."


class ReportNotReady(Conflict):
    code = "report_not_ready"
    remedy = "Wait until the subject's state is `ready`; a subject that an earlier version made has no report."


class ViewsNotReady(Conflict):
    code = "views_not_ready"
    remedy = "Wait until the subject's state is `ready`; a subject that an earlier version made has no such pictures."


class OffsetMismatch(Conflict):
    code = "offset_mismatch"
    remedy = "Ask by HEAD how much there is, and go on from there."


class UploadIncomplete(Conflict):
    code = "upload_incomplete"
    remedy = "Send the rest of it first; HEAD tells from where."


class UploadUsed(Conflict):
    code = "upload_used"
    remedy = "Go on with what was made of it, or upload the file again."


class KeyRevoked(Conflict):
    code = "key_revoked"
    remedy = "Make another key; what was revoked stays so."


class Refused(StorageError):
    """What was sent cannot be taken in."""

    code = "refused"


class UrlRefused(Refused):
    code = "url_refused"
    remedy = "Name a receiver on the public internet: https, port 443 or 8443, no user name in it."


class EmptyFile(Refused):
    code = "empty_file"
    remedy = "Send the file again; it arrived without content."


class FileTooLarge(Refused):
    code = "file_too_large"
    remedy = "Send a shorter or more strongly compressed file."


class TooManyUploads(Refused):
    code = "too_many_uploads"
    remedy = "Finish, use or delete some of them first."


class QuotaExceeded(Refused):
    """`quota` is the name of one of storage/tables/quotas.py, and the limit that it sets."""

    code = "quota_exceeded"

    def __init__(self, name: str, limit: float, remedy: str):
        super().__init__(f"The quota {name} is used up: {limit:g} are allowed.", remedy)
        self.quota = {"name": name, "limit": limit}


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


class BadCertificate(StorageError):
    code = "bad_certificate"
    remedy = (
        "Correct ADNERF_SIGN_CERTIFICATE and ADNERF_SIGN_KEY (docs/operations.md), restart the workers, then retry."
    )


class InUse(StorageError):
    code = "in_use"
    remedy = "Stop the other one first, or choose another --data-dir."


class NotSafe(StorageError):
    code = "not_safe"
    remedy = (
        "Make a first key: adnerf keys create --owner local --name first --scopes read,write,admin. "
        "Or listen on 127.0.0.1 only."
    )


class DatabaseNotReady(StorageError):
    code = "database_not_ready"
    remedy = (
        "Look whether it runs and ADNERF_DATABASE_URL is right; then bring its tables up to date: alembic upgrade head."
    )


class BadSetting(StorageError):
    code = "bad_setting"
    remedy = "Correct the variable or unset it."
