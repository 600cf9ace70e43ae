"""Every error leaves as RFC 9457 `application/problem+json`; this is the one place that knows how.

`PROBLEMS` lists each code that a request can be answered with (jobs fail with the codes of `adnerf_core.errors`
and `worker_lost`, which come as `Job.error`, not as a problem). Each has a heading in docs/api.md, and `GET /errors`
shows the same list, so that the `type` of a problem leads somewhere.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from storage.errors import StorageError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
ERRORS_PAGE = "/errors"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class ProblemType(NamedTuple):
    """What all problems of one code have in common."""

    status: int
    title: str
    remedy: str


PROBLEMS: dict[str, ProblemType] = {
    "malformed_body": ProblemType(
        400, "The body cannot be read", "Send the body in the form that its Content-Type names."
    ),
    "bad_request": ProblemType(400, "The request cannot be understood", "Compare the request with /docs."),
    "unauthorized": ProblemType(
        401, "A key is needed", "Send `Authorization: Bearer` with a key that `adnerf keys create` has made."
    ),
    "keys_needed": ProblemType(
        403,
        "Without keys the service is for its own machine only",
        "Make a first key on that machine: adnerf keys create --owner local --name first --scopes read,write,admin.",
    ),
    "forbidden": ProblemType(403, "The key may not do this", "Use a key that has the scope."),
    "quota_exceeded": ProblemType(
        403,
        "A quota is used up",
        "Remove what is not needed any more, wait, or ask the operator for more: `quota` says of what.",
    ),
    "not_found": ProblemType(
        404, "There is no such thing", "Check the id; list what there is with GET on the collection."
    ),
    "preview_not_ready": ProblemType(404, "There is no preview yet", "Ask again once training has made some progress."),
    "object_missing": ProblemType(
        404, "The file is gone from the store", "Make it anew, or restore the store's backup."
    ),
    "method_not_allowed": ProblemType(
        405, "The method does not go with this path", "Use a method that the Allow header names."
    ),
    "upload_stalled": ProblemType(408, "The body stopped arriving", "Send it again over a steadier connection."),
    "subject_not_ready": ProblemType(409, "The subject is not ready", "Poll the subject until its state is `ready`."),
    "consent_withdrawn": ProblemType(
        409,
        "Consent to show this person was withdrawn",
        "Nothing more can be made or shown of this subject; who agrees again makes a new one.",
    ),
    "video_not_ready": ProblemType(409, "The video is not ready", "Poll the video until its state is `ready`."),
    "report_not_ready": ProblemType(409, "There is no report yet", "Poll the subject until its state is `ready`."),
    "views_not_ready": ProblemType(
        409, "There are no pictures of views yet", "Poll the subject until its state is `ready`."
    ),
    "move_not_allowed": ProblemType(
        409,
        "The job's state does not allow this",
        "Read the job again: queued and running jobs can be cancelled, failed and cancelled ones retried.",
    ),
    "idempotency_in_flight": ProblemType(
        409,
        "The same request is being carried out",
        "Send it again after Retry-After: it is answered as the first one.",
    ),
    "answer_not_kept": ProblemType(
        409,
        "The request was carried out; its answer held a secret",
        "A secret is shown once: if it did not arrive, remove what was made and make it anew with another key.",
    ),
    "offset_mismatch": ProblemType(
        409, "The bytes do not follow on those that are there", "Ask by HEAD how much there is, and go on from there."
    ),
    "upload_incomplete": ProblemType(
        409, "The upload is not complete", "Send the rest of it first; HEAD /v1/uploads/{id} tells from where."
    ),
    "upload_used": ProblemType(
        409, "The upload was used already", "Go on with what was made of it, or upload the file again."
    ),
    "tus_version_unsupported": ProblemType(
        412, "The version of tus is not spoken here", "Send Tus-Resumable: 1.0.0, as tus clients do."
    ),
    "key_revoked": ProblemType(409, "The key was revoked", "Make another key; what was revoked stays so."),
    "too_many_webhooks": ProblemType(
        409, "There are as many webhooks as are allowed", "Delete one, or let one webhook hear of more events."
    ),
    "webhook_disabled": ProblemType(409, "The webhook is switched off", 'Switch it on with PATCH {"enabled": true}.'),
    "webhooks_off": ProblemType(
        409, "Webhooks are not set up here", "The operator has to set ADNERF_WEBHOOK_KEY, to the same value everywhere."
    ),
    "body_too_large": ProblemType(413, "The body is too large", "Send less; only files may be large."),
    "file_too_large": ProblemType(413, "The file is too large", "Shorten the file or encode it at a lower bit rate."),
    "unsupported_media_type": ProblemType(
        415, "The body has another type than is needed here", "Set the Content-Type."
    ),
    "range_not_satisfiable": ProblemType(
        416, "The range lies outside the file", "Ask for a range within Content-Range."
    ),
    "validation_failed": ProblemType(
        422, "The request has wrong or missing values", "Correct what `errors` points at."
    ),
    "idempotency_key_reused": ProblemType(
        422, "The Idempotency-Key belongs to another request", "Give each new request a key of its own."
    ),
    "empty_file": ProblemType(
        422, "The file is empty", "Send the file itself; check that it is not still being written."
    ),
    "not_media": ProblemType(
        422,
        "The file is neither video nor audio",
        "Send an MP4, MOV, MKV, WebM or AVI video, or WAV, MP3, M4A, FLAC, OGG or AAC audio.",
    ),
    "not_an_image": ProblemType(422, "The file is not an image", "Send a PNG, JPEG or WebP image."),
    "too_many_uploads": ProblemType(
        429,
        "Too many uploads were begun and not used",
        "Finish and use some, or delete them: GET /v1/uploads lists them.",
    ),
    "checksum_mismatch": ProblemType(
        460, "The bytes are not those of the checksum", "Send them again: nothing of this body was kept."
    ),
    "rate_limited": ProblemType(429, "Too many requests", "Wait for Retry-After; RateLimit tells how many are left."),
    "url_refused": ProblemType(
        422,
        "The address is none that is called from here",
        "Name a receiver on the public internet: https, port 443 or 8443, no user name in it.",
    ),
    "internal_error": ProblemType(
        500, "Something went wrong here", "Try again; if it happens again, report it with the log."
    ),
    "store_away": ProblemType(
        503, "The object store does not answer", "Try again in a moment; GET /readyz tells when it is back."
    ),
    "unavailable": ProblemType(503, "The service cannot answer now", "Try again after the time in Retry-After."),
    "disk_full": ProblemType(
        507, "No space is left for the upload", "Delete subjects or videos, or give the service space."
    ),
}

_BY_STATUS = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


class Problem(HTTPException):
    """An error to be answered. `code` is a key of PROBLEMS; `message` says what is wrong; the remedy follows it.

    `errors` are dicts with `detail` and either `pointer` (a JSON pointer into the body, a form counting as one object)
    or `parameter` (of the query or path). `parts` tells how each part of the service is, by name;
    `quota` what is used up.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        remedy: str | None = None,
        errors: Sequence[dict[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        parts: Mapping[str, BaseModel] | None = None,
        quota: Mapping[str, Any] | None = None,
    ):
        kind = PROBLEMS[code]
        self.code, self.remedy = code, remedy or kind.remedy
        super().__init__(kind.status, f"{message or kind.title + '.'} {self.remedy}", headers)
        self.errors = list(errors)
        self.parts = {name: part.model_dump() for name, part in (parts or {}).items()}
        self.quota = quota

    def response(self) -> JSONResponse:
        """The answer: `application/problem+json`."""
        body: dict[str, Any] = {
            "type": f"{ERRORS_PAGE}#{self.code}",
            "title": PROBLEMS[self.code].title,
            "status": self.status_code,
            "detail": self.detail,
            "code": self.code,
            "remedy": self.remedy,
        }
        if self.errors:
            body["errors"] = self.errors
        if self.parts:
            body["parts"] = self.parts
        if self.quota:
            body["quota"] = self.quota
        return JSONResponse(body, self.status_code, headers=self.headers, media_type=MEDIA_TYPE)


def validation_problem(detail: str, field: str) -> Problem:
    """A `validation_failed` about one field of the body; `detail` is a phrase without a full stop."""
    return from_validation([{"loc": (field,), "msg": detail}])


def from_validation(errors: Iterable[Mapping[str, Any]], *inside: str) -> Problem:
    """Pydantic's or FastAPI's errors (`loc`, `msg`) as one problem. `inside` is where in the body the value stands."""
    entries = [_entry((*inside, *error["loc"]), error["msg"]) for error in errors]
    first = entries[0]
    where = first.get("pointer") or first.get("parameter") or "The body"
    return Problem("validation_failed", f"{where}: {first['detail']}.", errors=entries)


def _entry(place: tuple[Any, ...], message: str) -> dict[str, str]:
    detail = message.removeprefix("Value error, ")
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in place]
    if parts and parts[0] in ("query", "path", "header"):
        return {"detail": detail, "parameter": "/".join(parts[1:])}
    return {"detail": detail, "pointer": "".join(f"/{part}" for part in parts)}


def disk_is_full(error: BaseException) -> bool:
    """Whether the operating system refused to write for lack of space."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _allowed(request: Request) -> list[str]:
    """All methods that the path of `request` takes; the framework's own answer names those of one of its routes."""
    routes = request.app.router.routes
    tries = {method: {**request.scope, "method": method} for method in METHODS}
    return [method for method in METHODS if any(route.matches(tries[method])[0] == Match.FULL for route in routes)]


def database_away(error: OperationalError | PoolTimeout) -> Problem:
    """What is answered while the database does not; the error goes to the log."""
    log.error("the database did not answer: %s", error)
    message = "The database is busy or cannot be reached."
    return Problem("unavailable", message, headers={"Retry-After": "5"})


def install(app: FastAPI) -> None:
    """Registers the handlers that turn exceptions into problems. What none of them knows, api/middleware/request_log.py answers."""

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        if isinstance(error, Problem):
            return error.response()
        code = _BY_STATUS.get(error.status_code, "bad_request" if error.status_code < 500 else "internal_error")
        message = f"{request.method} {request.url.path} is not possible."
        headers = {"Allow": ", ".join(_allowed(request))} if code == "method_not_allowed" else error.headers
        return Problem(code, message, headers=headers).response()

    @app.exception_handler(RequestValidationError)
    def validation(request: Request, error: RequestValidationError) -> Response:
        return from_validation(error.errors()).response()

    @app.exception_handler(StorageError)
    def storage(request: Request, error: StorageError) -> Response:
        if error.code not in PROBLEMS:
            raise error
        quota = getattr(error, "quota", None)
        return Problem(error.code, error.message, remedy=error.remedy, quota=quota).response()

    @app.exception_handler(OSError)
    def operating_system(request: Request, error: OSError) -> Response:
        if disk_is_full(error):
            return Problem("disk_full").response()
        raise error

    @app.exception_handler(OperationalError)
    @app.exception_handler(PoolTimeout)
    def database(request: Request, error: OperationalError | PoolTimeout) -> Response:
        return database_away(error).response()

    @app.exception_handler(ClientDisconnect)
    def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody reads it; it keeps a broken upload out of the error log
