"""Errors of the storage package. Each class has a stable `code` and a remedy, like those of `adnerf_core.errors`.

Most belong to one of three groups: Conflict (the state of a row does not allow the request), Refused (the input is not accepted), and
ServiceFault (the service is set up wrongly, or its data are damaged).
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of all errors of this package.

    Attributes:
        code: stable, for programs.
        message: what is wrong; a sentence.
        remedy: what to do about it; a sentence. The class has one, which an instance may replace.
        details: texts of libraries, paths and addresses, for logs and the command line; clients never get them.
    """

    code = "storage_error"
    remedy = "Try again; if it happens again, report the X-Request-Id or the job's id to the operator."

    def __init__(self, message: str, remedy: str | None = None, *, details: object = ""):
        super().__init__(message)
        self.message, self.details = message, str(details)
        if remedy is not None:
            self.remedy = remedy

    def __str__(self) -> str:
        details = f" ({self.details})" if self.details else ""
        return f"{self.message}{details} {self.remedy}"


class NotFound(StorageError):
    """Raised if the row does not exist, or belongs to another owner."""

    code = "not_found"
    remedy = "Check the id; GET on the collection lists what exists."


class Unauthorized(StorageError):
    """Raised if the API key is missing, unknown, revoked or expired."""

    code = "unauthorized"
    remedy = "Send `Authorization: Bearer` with a key that `adnerf keys create` has made."


class Conflict(StorageError):
    """Base: the state of a row does not allow the request."""

    code = "conflict"


class MoveNotAllowed(Conflict):
    """Raised if a job cannot be cancelled or retried in its state."""

    code = "move_not_allowed"
    remedy = "Read the job again: queued and running jobs can be cancelled, failed and cancelled jobs can be retried."


class SubjectNotReady(Conflict):
    """Raised if the subject is being worked on, or failed."""

    code = "subject_not_ready"
    remedy = "Poll the subject until its state is `ready`; if its job failed, retry the job."


class FullFrameUnavailable(Conflict):
    """Raised if a full frame is requested of a subject without one."""

    code = "full_frame_unavailable"
    remedy = "Create the subject again from its footage, or ask for frame `portrait`, with a size of at most 1024."


class VideoNotReady(Conflict):
    """Raised if the video is being worked on, or failed."""

    code = "video_not_ready"
    remedy = "Poll the video until its state is `ready`; if its job failed, retry the job."


class ConsentWithdrawn(Conflict):
    """Raised if the person no longer agrees to be shown."""

    code = "consent_withdrawn"
    remedy = "This subject can no longer be used. If the person consents again, create a new subject."


class InTrash(Conflict):
    """Raised if work is requested of a subject or video that is in the trash."""

    code = "in_trash"
    remedy = "Restore it with POST .../restore, or use another one."


class PreviewFailed(Conflict):
    """Raised if a preview frame cannot be rendered."""

    code = "preview_failed"
    remedy = "Change the options or the picture; an equal request tries again."


class TooManyShares(Conflict):
    """Raised if a video has as many links as are allowed."""

    code = "too_many_shares"
    remedy = "Close a link that is no longer needed; GET /v1/videos/{id}/shares lists them."


class BundlesOff(Conflict):
    """Raised if the service has no key to sign bundles with."""

    code = "bundles_off"
    remedy = "The operator has to set ADNERF_WEBHOOK_KEY, to the same value for every process."


class SharesOff(Conflict):
    """Raised if the service has no key to sign links with."""

    code = "shares_off"
    remedy = "The operator has to set ADNERF_WEBHOOK_KEY, to the same value for every process."


class TooManyWebhooks(Conflict):
    """Raised if the owner has as many webhooks as are allowed."""

    code = "too_many_webhooks"
    remedy = "Delete a webhook that you no longer need, or subscribe one webhook to more events."


class WebhookDisabled(Conflict):
    """Raised if an event is to be sent to a disabled webhook."""

    code = "webhook_disabled"
    remedy = 'Enable it with PATCH {"enabled": true}.'


class WebhooksOff(Conflict):
    """Raised if the service has no key to sign webhooks with."""

    code = "webhooks_off"
    remedy = "The operator has to set ADNERF_WEBHOOK_KEY, to the same value for every process."


class PreviewNotReady(Conflict):
    """Raised if the subject has no preview yet."""

    code = "preview_not_ready"
    remedy = "Try again once training has made some progress."


class ReportNotReady(Conflict):
    """Raised if the subject has no report yet."""

    code = "report_not_ready"
    remedy = "Poll the subject until its state is `ready`. Subjects that an earlier version made have no report."


class ViewsNotReady(Conflict):
    """Raised if the subject has no view sheet yet."""

    code = "views_not_ready"
    remedy = "Poll the subject until its state is `ready`. Subjects that an earlier version made have no view sheet."


class OffsetMismatch(Conflict):
    """Raised if bytes do not start where the upload ends."""

    code = "offset_mismatch"
    remedy = "Read the current offset with HEAD, and continue from there."


class UploadIncomplete(Conflict):
    """Raised if an upload is used before all its bytes have arrived."""

    code = "upload_incomplete"
    remedy = "Send the rest first; HEAD /v1/uploads/{id} returns the offset to continue from."


class UploadUsed(Conflict):
    """Raised if an upload is used a second time."""

    code = "upload_used"
    remedy = "Use what was made from it (GET /v1/uploads/{id} names it in `used_by`), or upload the file again."


class KeyRevoked(Conflict):
    """Raised if a revoked key is to be changed."""

    code = "key_revoked"
    remedy = "Create another key; a revoked key cannot be restored."


class Refused(StorageError):
    """Base: the input is not accepted."""

    code = "refused"


class UrlRefused(Refused):
    """Raised if a webhook's URL is malformed, or not on the public internet."""

    code = "url_refused"
    remedy = "Use an https URL on the public internet, with port 443 or 8443 and without a user name."


class VoiceUnavailable(Refused):
    """Raised if no worker has the voice that is to read a script, or no voice at all."""

    code = "voice_unavailable"
    remedy = "Choose a voice of GET /v1/voices, or ask the operator to add it to the workers."


class BundleRefused(Refused):
    """Raised if a file is no bundle, was changed, or is signed by a service that is not trusted."""

    code = "bundle_refused"
    remedy = "Export the subject again, and send the file as it is."


class ConsentClipRefused(Refused):
    """Raised if a file is no clip of a spoken consent: it has no picture or no sound, or is too short or too long."""

    code = "consent_clip_refused"
    remedy = "Send an MP4, MOV, MKV or WebM of 2 to 60 seconds in which the person is seen and heard."


class EmptyFile(Refused):
    """Raised if a file has no bytes."""

    code = "empty_file"
    remedy = "Send the file again; check that it is not still being written."


class FileTooLarge(Refused):
    """Raised if a file has more bytes than its limit."""

    code = "file_too_large"
    remedy = "Shorten the file or encode it at a lower bit rate."


class TooManyUploads(Refused):
    """Raised if the owner has as many unused uploads as are allowed."""

    code = "too_many_uploads"
    remedy = "Finish and use some of them, or delete them; GET /v1/uploads lists them."


class TooManyParts(Refused):
    """Raised if an upload has as many parts as are allowed."""

    code = "too_many_parts"
    remedy = "Delete the upload and send the file again, in parts of at least 1 MiB."


class TooManyDeliveries(Refused):
    """Raised if the owner has as many due deliveries as may wait for a test or a replay."""

    code = "too_many_deliveries"
    remedy = "Wait until some of them were made; GET /v1/webhooks/{id}/deliveries?state=pending lists them."


QUOTA_UNITS = {"daily_seconds": " seconds of video per day", "stored_bytes": " bytes"}
"""Units of the quotas that do not count things."""


class QuotaExceeded(Refused):
    """An owner would exceed a quota.

    Attributes:
        quota: the `name` of the quota (storage/tables/quotas.py) and its `limit`.
    """

    code = "quota_exceeded"
    remedy = "Delete what you no longer need, wait, or ask the operator for more; `quota` names the quota."

    def __init__(self, name: str, limit: float, remedy: str):
        super().__init__(f"The quota {name} is used up; the limit is {limit:g}{QUOTA_UNITS.get(name, '')}.", remedy)
        self.quota = {"name": name, "limit": limit}


class StoreFull(StorageError):
    """Raised if the object store or the database has no space left."""

    code = "disk_full"
    remedy = "Free disk space (delete subjects or videos, or enlarge the disk), then try again."


class ServerFull(StoreFull):
    """Raised if the database or the store is a server, and has no space left: no work on this machine is at fault, and none makes room."""

    remedy = StoreFull.remedy


class StoreAway(StorageError):
    """Raised if the object store cannot be reached, or refuses."""

    code = "store_away"
    remedy = (
        "Try again in a moment; GET /readyz shows when it is back. If it stays down, the operator has to check that the "
        "object store runs and that its credentials are right."
    )


class NotDeleted(StoreAway):
    """Raised if the store cannot delete something: it stays to be deleted."""

    remedy = StoreAway.remedy


class ObjectMissing(StorageError):
    """Raised if the object store lacks an object that a row names."""

    code = "object_missing"
    remedy = "Create the subject or video again, or ask the operator to restore the object store from its backup."


class ServiceFault(StorageError):
    """Base: the service is set up wrongly, or its data are damaged.

    These errors end a process or a job. If a request meets one, the details go to the log, and the client gets
    `internal_error`.
    """

    code = "service_fault"


class ObjectDamaged(ServiceFault):
    """Raised if an object is not what was stored."""

    code = "object_damaged"
    remedy = "Try again; if it happens again, restore the object store from its backup, or create the subject again."


class BadCertificate(ServiceFault):
    """Raised if the certificate for signing is missing, expired or unsuitable."""

    code = "bad_certificate"
    remedy = (
        "Correct ADNERF_SIGN_CERTIFICATE and ADNERF_SIGN_KEY (docs/operations.md), restart the workers, then retry."
    )


class InUse(ServiceFault):
    """Raised if another service runs on the same data folder."""

    code = "in_use"
    remedy = "Stop the other one first, or choose another --data-dir."


class NotSafe(ServiceFault):
    """Raised if others could reach the service, and there are no keys."""

    code = "not_safe"
    remedy = (
        "Create a first key: adnerf keys create --owner local --name first --scopes read,write,admin. "
        "Or listen on 127.0.0.1 only."
    )


class StoreMismatch(ServiceFault):
    """Raised if the object store does not belong to the database, or the database is older than the store."""

    code = "store_mismatch"
    remedy = (
        "Check ADNERF_DATABASE_URL, ADNERF_STORE_URL and ADNERF_DATA_DIR, or restore the database from its newest backup. "
        "If this database is the right one for this store: adnerf store adopt."
    )


class ClockWrong(ServiceFault):
    """Raised if this machine's clock differs from that of the database server, so that it would delete things before their time."""

    code = "clock_wrong"
    remedy = "Set the clocks of both by NTP: timedatectl set-ntp true."


class BackupRefused(ServiceFault):
    """Raised if the data cannot be backed up to a folder, or restored from it."""

    code = "backup_refused"


class LipPriorRefused(ServiceFault):
    """Raised if a prior of lips cannot be learnt, used or dropped."""

    code = "lip_prior_refused"
    remedy = "See what there is: adnerf prior list."


class DatabaseNotReady(ServiceFault):
    """Raised if at start-up the database does not answer, or lacks its tables."""

    code = "database_not_ready"
    remedy = (
        "Check that the database runs and that ADNERF_DATABASE_URL is right; then create or update its tables: "
        "adnerf migrate."
    )


class BadSetting(ServiceFault):
    """Raised if an environment variable has an unusable value."""

    code = "bad_setting"
    remedy = "Correct the variable or unset it."
