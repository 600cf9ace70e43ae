"""Valid requests of the fuzz test that may be refused all the same, for reasons that no schema can express."""

from __future__ import annotations

from collections.abc import Container

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData

VALID_BUT_REFUSED = {
    "idempotency_key_reused": ("POST",),  # random requests repeat a key
    "not_media": ("POST",),
    "not_an_image": ("POST /v1/videos",),
    "bundle_refused": ("POST /v1/subjects/import",),
    "consent_clip_refused": ("POST /v1/subjects",),
    "empty_file": ("POST",),
    "bad_request": ("POST /v1/uploads", "PATCH /v1/uploads"),  # an empty Upload-Checksum, drawn in spite of its pattern
    "checksum_mismatch": ("POST /v1/uploads", "PATCH /v1/uploads"),
    "file_too_large": ("POST /v1/uploads", "PATCH /v1/uploads"),  # more bytes than Upload-Length
    "voice_unavailable": ("POST /v1/videos",),
    "url_refused": ("POST /v1/webhooks", "PATCH /v1/webhooks"),
}
"""Problem codes that a request can get although it fits the document, because a schema cannot express the rule: by code, the
beginnings of the operations' names."""
VALID_BUT_REFUSED_VALUES = {
    "POST /v1/keys": {"/expires_at"},  # in the past
    "POST /v1/keys/{key_id}/rotate": {"/expires_at"},
    "POST /v1/uploads": {"Upload-Metadata"},  # a key that comes twice
    # Both a file and an upload: `oneOf` excludes it, but Schemathesis's edge cases ignore that.
    "POST /v1/subjects": {"/upload_id", "/consent_upload_id", "/sample"},
    "POST /v1/subjects/import": {"/upload_id"},
    "POST /v1/verify": {"/upload_id"},
    "POST /v1/videos": {  # combinations
        *("/audio", "/upload_id", "/duration_s", "/script", "/voice", "/speed", "/background"),
        *("/options/background", "/options/format", "/options/frame", "/options/size"),
    },
}
"""The same for `validation_failed`: by operation, the values that `errors` may point at."""


def accepted_refusal(
    failure: Failure, case: schemathesis.Case, response: schemathesis.Response, lost: Container[str] = ()
) -> str | None:
    """Returns why a valid request may have been refused, by VALID_BUT_REFUSED and its values; None: it is a failure.

    `lost` are the ids of videos whose subject a request has deleted.
    """
    if isinstance(failure, EnsureResourceAvailability):
        if response.json()["code"] == "preview_not_ready":
            return "preview_not_ready"  # the subject exists, but has no preview yet
        if (case.path_parameters or {}).get("video_id") in lost:
            return "subject deleted"  # Schemathesis knows only of the deletion of the video itself
    if not isinstance(failure, RejectedPositiveData):
        return None
    label, problem = case.operation.label, response.json()
    if label.startswith(VALID_BUT_REFUSED.get(problem["code"], ())):
        return problem["code"]
    values = {entry.get("pointer") or entry.get("parameter") for entry in problem.get("errors", [])}
    accepted = bool(values) and values <= VALID_BUT_REFUSED_VALUES.get(label, set())
    return f"{label} {' '.join(sorted(values))}" if accepted else None
