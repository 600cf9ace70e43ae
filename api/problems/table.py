"""The table of problems: everything that a request can be answered with beside success.

Each code has a heading in docs/api.md, and `GET /errors` shows this table (page.py), so that the `type` of a problem leads
somewhere. Errors of storage/errors.py bring their own code and remedy; the table adds the HTTP status, a title and an explanation.
Jobs fail with other codes (`adnerf_core.errors`, `worker_lost`), which are in `Job.error` and not in this table.
"""

from __future__ import annotations

from typing import NamedTuple

from adnerf_core.errors import ACCEPTED_MEDIA
from storage import errors


class ProblemType(NamedTuple):
    """What all problems of one code have in common."""

    status: int
    title: str
    """A few words, without a full stop; the `title` of the problem."""
    remedy: str
    """What to do about it; ends the `detail` of the problem."""
    explanation: str
    """When it happens; for the page at /errors."""


PROBLEMS: dict[str, ProblemType] = {
    "malformed_body": ProblemType(
        400,
        "The body cannot be read",
        "Send the body in the format that its Content-Type names.",
        "A multipart body ended early, its boundary is missing or wrong, or one of its headers is too long.",
    ),
    "bad_request": ProblemType(
        400,
        "The request cannot be understood",
        "Compare the request, above all its headers, with /docs.",
        "A header has a value that cannot be right, or the request is not valid HTTP.",
    ),
    errors.Unauthorized.code: ProblemType(
        401,
        "An API key is needed",
        errors.Unauthorized.remedy,
        "The request has no key, or one that is unknown, revoked or expired.",
    ),
    "keys_needed": ProblemType(
        403,
        "Without keys the service accepts local requests only",
        "Create a first key on the service's machine: "
        "adnerf keys create --owner local --name first --scopes read,write,admin.",
        "Until the first key is created, only programs on the service's own machine may use it.",
    ),
    "forbidden": ProblemType(
        403,
        "The key may not do this",
        "Use a key that has the scope.",
        "The key is valid, but it lacks a scope that the request needs: read, write, admin or metrics.",
    ),
    errors.QuotaExceeded.code: ProblemType(
        403,
        "A quota is used up",
        errors.QuotaExceeded.remedy,
        "The owner of the key has reached a limit on what it may have or use in a day; `quota` in the answer says which.",
    ),
    errors.NotFound.code: ProblemType(
        404,
        "Not found",
        errors.NotFound.remedy,
        "Nothing exists at this path, it was deleted, or it belongs to another owner.",
    ),
    errors.PreviewNotReady.code: ProblemType(
        404,
        "There is no preview yet",
        errors.PreviewNotReady.remedy,
        "The first preview of a subject is drawn soon after training has started.",
    ),
    errors.ObjectMissing.code: ProblemType(
        404,
        "The file is missing from the object store",
        errors.ObjectMissing.remedy,
        "The database names a file that the object store does not have: it was removed there.",
    ),
    "method_not_allowed": ProblemType(
        405,
        "The method is not allowed for this path",
        "Use a method that the Allow header names.",
        "The path exists, but not for this method.",
    ),
    "upload_stalled": ProblemType(
        408,
        "The body stopped arriving",
        "Send it again over a more stable connection.",
        "Less than 60 KiB of the body arrived within a minute of waiting, so the service stopped waiting.",
    ),
    errors.SubjectNotReady.code: ProblemType(
        409,
        "The subject is not ready",
        errors.SubjectNotReady.remedy,
        "Videos can be made once the subject has been trained. It is still being worked on, or its job failed.",
    ),
    errors.FullFrameUnavailable.code: ProblemType(
        409,
        "The subject has no full frame",
        errors.FullFrameUnavailable.remedy,
        "The subject was made by an earlier version, which did not keep the footage for videos: it has portraits only.",
    ),
    errors.ConsentWithdrawn.code: ProblemType(
        409,
        "Consent to show this person was withdrawn",
        errors.ConsentWithdrawn.remedy,
        "The person in this subject's footage no longer agrees to be shown.",
    ),
    errors.InTrash.code: ProblemType(
        409,
        "It is in the trash",
        errors.InTrash.remedy,
        "Nothing new is made of a subject or video in the trash, and it cannot be shared.",
    ),
    errors.PreviewFailed.code: ProblemType(
        409,
        "The frame could not be rendered",
        errors.PreviewFailed.remedy,
        "A worker tried to render the preview frame and could not: the answer says why.",
    ),
    errors.TooManyShares.code: ProblemType(
        409,
        "The video has too many links",
        errors.TooManyShares.remedy,
        "A video may have a limited number of links at the same time, so that all of them can be looked through and closed.",
    ),
    errors.BundlesOff.code: ProblemType(
        409,
        "Bundles are not set up on this service",
        errors.BundlesOff.remedy,
        "Bundles cannot be signed or checked, because the service has no key to derive signatures from.",
    ),
    errors.SharesOff.code: ProblemType(
        409,
        "Links are not set up on this service",
        errors.SharesOff.remedy,
        "Links cannot be signed, because the service has no key to derive signatures from.",
    ),
    errors.VideoNotReady.code: ProblemType(
        409,
        "The video is not ready",
        errors.VideoNotReady.remedy,
        "The file exists once the video has been rendered. It is still being worked on, or its job failed.",
    ),
    errors.ReportNotReady.code: ProblemType(
        409,
        "There is no report yet",
        errors.ReportNotReady.remedy,
        "The report is written at the end of training.",
    ),
    errors.ViewsNotReady.code: ProblemType(
        409,
        "There is no view sheet yet",
        errors.ViewsNotReady.remedy,
        "The pictures of the subject from other angles are drawn at the end of training.",
    ),
    errors.MoveNotAllowed.code: ProblemType(
        409,
        "The job's state does not allow this",
        errors.MoveNotAllowed.remedy,
        "A job that has ended cannot be cancelled, and a job that is queued, running or succeeded cannot be retried.",
    ),
    "idempotency_in_flight": ProblemType(
        409,
        "An equal request is still being carried out",
        "Send it again after Retry-After seconds: it gets the answer of the first one.",
        "Another request with this Idempotency-Key came before and has not been answered yet.",
    ),
    "answer_not_kept": ProblemType(
        409,
        "The request was carried out, but its answer held a secret",
        "A secret is shown once. If it did not arrive, delete what was created and create it again with another key.",
        "A request with this Idempotency-Key was carried out, and answers that hold a secret are not stored; those that name a "
        "resource are erased when it is deleted. Of long ones, 500 are stored for each owner.",
    ),
    errors.OffsetMismatch.code: ProblemType(
        409,
        "The bytes do not continue the upload",
        errors.OffsetMismatch.remedy,
        "A PATCH of an upload starts at another offset than the one up to which bytes have arrived.",
    ),
    errors.UploadIncomplete.code: ProblemType(
        409,
        "The upload is not complete",
        errors.UploadIncomplete.remedy,
        "The form names an upload of which some bytes have not arrived.",
    ),
    errors.UploadUsed.code: ProblemType(
        409,
        "The upload was already used",
        errors.UploadUsed.remedy,
        "An upload makes one subject, video or verification, and this one already has.",
    ),
    "tus_version_unsupported": ProblemType(
        412,
        "This version of tus is not supported",
        "Send Tus-Resumable: 1.0.0, as tus clients do.",
        "Uploads support tus 1.0.0; the header Tus-Resumable is missing or names another version.",
    ),
    "precondition_failed": ProblemType(
        412,
        "The resource is not the version that If-Match names",
        "Read it again, decide whether the change is still right, and send it with the new ETag.",
        "The resource has changed since the client read it, so nothing was changed or deleted.",
    ),
    errors.KeyRevoked.code: ProblemType(
        409,
        "The key was revoked",
        errors.KeyRevoked.remedy,
        "A revoked key cannot be rotated or revoked again.",
    ),
    errors.TooManyWebhooks.code: ProblemType(
        409,
        "The number of webhooks has reached its limit",
        errors.TooManyWebhooks.remedy,
        "An owner may have a limited number of webhooks.",
    ),
    errors.WebhookDisabled.code: ProblemType(
        409,
        "The webhook is disabled",
        errors.WebhookDisabled.remedy,
        "Its owner disabled it, or it was disabled because all deliveries failed for days. It gets no events.",
    ),
    errors.WebhooksOff.code: ProblemType(
        409,
        "Webhooks are not set up on this service",
        errors.WebhooksOff.remedy,
        "Deliveries cannot be signed, because the service has no key to derive secrets from.",
    ),
    "body_too_large": ProblemType(
        413,
        "The body is too large",
        "Keep the texts of a request below 1 MiB in all, and JSON below 64 KiB.",
        "The text of a request is limited to one mebibyte, and JSON to 64 kibibytes.",
    ),
    errors.FileTooLarge.code: ProblemType(
        413,
        "The file is too large",
        errors.FileTooLarge.remedy,
        "Each kind of file has a limit, which the operator sets.",
    ),
    "unsupported_media_type": ProblemType(
        415,
        "The body has the wrong Content-Type",
        "Set the Content-Type that the request needs.",
        "Forms are sent as multipart/form-data, bytes of an upload as application/offset+octet-stream, "
        "everything else as application/json.",
    ),
    "range_not_satisfiable": ProblemType(
        416,
        "The range lies outside the file",
        "Request a range within the size that Content-Range gives.",
        "The Range header starts after the end of the file.",
    ),
    "validation_failed": ProblemType(
        422,
        "The request has wrong or missing values",
        "Correct the values that `errors` points at.",
        "A value is missing, unknown, out of range or of the wrong type; `errors` points at each one.",
    ),
    "idempotency_key_reused": ProblemType(
        422,
        "The Idempotency-Key belongs to another request",
        "Use a new key for each new request.",
        "A key stands for one request: the same path, the same values, the same files. This request differs.",
    ),
    errors.EmptyFile.code: ProblemType(
        422,
        "The file is empty",
        errors.EmptyFile.remedy,
        "A file arrived without a single byte in it.",
    ),
    "not_media": ProblemType(
        422,
        "The file is neither video nor audio",
        f"{ACCEPTED_MEDIA}.",
        "The first bytes show that it is something else, such as a picture, a document or a playlist.",
    ),
    errors.BundleRefused.code: ProblemType(
        422,
        "The bundle is not accepted",
        errors.BundleRefused.remedy,
        "A bundle is signed by the service that exported it, so only those of trusted services, and unchanged, become subjects.",
    ),
    errors.ConsentClipRefused.code: ProblemType(
        422,
        "The clip of the consent is not accepted",
        errors.ConsentClipRefused.remedy,
        "A clip of the spoken consent is a short video with sound. Its headers show that this file is something else.",
    ),
    "not_an_image": ProblemType(
        422,
        "The file is not an image",
        "Send a PNG, JPEG or WebP image.",
        "The first bytes are not those of a PNG, JPEG or WebP.",
    ),
    "upload_locked": ProblemType(
        423,
        "Another request is writing the upload",
        "Wait for Retry-After seconds, ask for the offset (HEAD), and continue there.",
        "An upload has one writer at a time. Another one takes over when nothing has come for five seconds.",
    ),
    errors.TooManyParts.code: ProblemType(
        422,
        "The upload came in too many parts",
        errors.TooManyParts.remedy,
        "The service keeps every PATCH request's bytes as an object of their own until the upload is used, so their number is limited.",
    ),
    errors.TooManyUploads.code: ProblemType(
        429,
        "Too many uploads are unused",
        errors.TooManyUploads.remedy,
        "Every upload takes space until it is used, deleted or expired, so their number is limited.",
    ),
    "too_many_streams": ProblemType(
        429,
        "Too many event streams are open",
        "Poll the jobs instead, or close streams that you no longer need and try again after Retry-After seconds.",
        "Each event stream holds a connection, so an owner may have a limited number of them.",
    ),
    errors.TooManyDeliveries.code: ProblemType(
        429,
        "Too many deliveries are due",
        errors.TooManyDeliveries.remedy,
        "Tests and replays add no more deliveries while many of the owner's deliveries wait to be made.",
    ),
    "checksum_mismatch": ProblemType(
        460,
        "The checksum does not match the bytes",
        "Send the bytes again; nothing of this body was stored.",
        "The bytes that arrived have another checksum than Upload-Checksum gives.",
    ),
    "rate_limited": ProblemType(
        429,
        "Too many requests",
        "Wait for Retry-After seconds; the header RateLimit says how many requests are left.",
        "The owner or the client's address made more requests in a time, or has more in progress, than is allowed.",
    ),
    errors.VoiceUnavailable.code: ProblemType(
        422,
        "The voice is not available",
        errors.VoiceUnavailable.remedy,
        "No worker has told that it has the voice, or any voice: voices are programs that the operator installs on the workers.",
    ),
    errors.UrlRefused.code: ProblemType(
        422,
        "The service does not send webhooks to this address",
        errors.UrlRefused.remedy,
        "Webhooks go to the public internet only, so that they cannot be used to reach the service's own network.",
    ),
    "internal_error": ProblemType(
        500,
        "Something went wrong in the service",
        "Try again; if it happens again, report the X-Request-Id or the job's id to the operator.",
        "The service has a fault. Its log has the details, under the X-Request-Id of the answer.",
    ),
    errors.StoreAway.code: ProblemType(
        503,
        "The object store does not answer",
        errors.StoreAway.remedy,
        "The object store, which holds all files, cannot be reached or refuses to answer.",
    ),
    "unavailable": ProblemType(
        503,
        "The service cannot answer now",
        "Try again after Retry-After seconds.",
        "The database or another necessary part is busy or down; GET /readyz says which.",
    ),
    errors.StoreFull.code: ProblemType(
        507,
        "No disk space is left",
        errors.StoreFull.remedy,
        "The disk that holds the files or the database is full.",
    ),
}
