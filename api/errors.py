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


class Kind(NamedTuple):
    """What all problems of one code have in common."""

    status: int
    title: str
    remedy: str


PROBLEMS: dict[str, Kind] = {
    "malformed_body": Kind(400, "The body cannot be read", "Send the body in the form that its Content-Type names."),
    "bad_request": Kind(400, "The request cannot be understood", "Compare the request with /docs."),
    "not_found": Kind(404, "There is no such thing", "Check the id; list what there is with GET on the collection."),
    "preview_not_ready": Kind(404, "There is no preview yet", "Ask again once training has made some progress."),
    "object_missing": Kind(404, "The file is gone from the store", "Make it anew, or restore the store's backup."),
    "method_not_allowed": Kind(
        405, "The method does not go with this path", "Use a method that the Allow header names."
    ),
    "upload_stalled": Kind(408, "The body stopped arriving", "Send it again over a steadier connection."),
    "subject_not_ready": Kind(409, "The subject is not ready", "Poll the subject until its state is `ready`."),
    "video_not_ready": Kind(409, "The video is not ready", "Poll the video until its state is `ready`."),
    "report_not_ready": Kind(409, "There is no report yet", "Poll the subject until its state is `ready`."),
    "move_not_allowed": Kind(
        409,
        "The job's state does not allow this",
        "Read the job again: queued and running jobs can be cancelled, failed and cancelled ones retried.",
    ),
    "body_too_large": Kind(413, "The body is too large", "Send less; only files may be large."),
    "file_too_large": Kind(413, "The file is too large", "Shorten the file or encode it at a lower bit rate."),
    "unsupported_media_type": Kind(415, "The body has another type than is needed here", "Set the Content-Type."),
    "range_not_satisfiable": Kind(416, "The range lies outside the file", "Ask for a range within Content-Range."),
    "validation_failed": Kind(422, "The request has wrong or missing values", "Correct what `errors` points at."),
    "empty_file": Kind(422, "The file is empty", "Send the file itself; check that it is not still being written."),
    "not_media": Kind(
        422,
        "The file is neither video nor audio",
        "Send an MP4, MOV, MKV, WebM or AVI video, or WAV, MP3, M4A, FLAC, OGG or AAC audio.",
    ),
    "not_an_image": Kind(422, "The file is not an image", "Send a PNG, JPEG or WebP image."),
    "internal_error": Kind(500, "Something went wrong here", "Try again; if it happens again, report it with the log."),
    "store_away": Kind(
        503, "The object store does not answer", "Try again in a moment; GET /readyz tells when it is back."
    ),
    "unavailable": Kind(503, "The service cannot answer now", "Try again after the time in Retry-After."),
    "disk_full": Kind(507, "No space is left for the upload", "Delete subjects or videos, or give the service space."),
}

_BY_STATUS = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


class Problem(HTTPException):
    """An error to be answered. `code` is a key of PROBLEMS; `message` says what is wrong; the remedy follows it.

    `errors` are dicts with `detail` and either `pointer` (a JSON pointer into the body, a form counting as one object)
    or `parameter` (of the query or path). `parts` tells how each part of the service is, by name.
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
    ):
        kind = PROBLEMS[code]
        detail = f"{message or kind.title + '.'} {remedy or kind.remedy}"
        super().__init__(kind.status, detail, headers)
        self.code = code
        self.errors = list(errors)
        self.parts = {name: part.model_dump() for name, part in (parts or {}).items()}

    def response(self) -> JSONResponse:
        """The answer: `application/problem+json`."""
        body: dict[str, Any] = {
            "type": f"{ERRORS_PAGE}#{self.code}",
            "title": PROBLEMS[self.code].title,
            "status": self.status_code,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            body["errors"] = self.errors
        if self.parts:
            body["parts"] = self.parts
        return JSONResponse(body, self.status_code, headers=self.headers, media_type=MEDIA_TYPE)


def invalid(detail: str, field: str) -> Problem:
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


def install(app: FastAPI) -> None:
    """Registers the handlers that turn exceptions into problems. What none of them knows, api/observe.py answers."""

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
        return Problem(error.code, error.message, remedy=error.remedy).response()

    @app.exception_handler(OSError)
    def operating_system(request: Request, error: OSError) -> Response:
        if disk_is_full(error):
            return Problem("disk_full").response()
        raise error

    @app.exception_handler(OperationalError)
    @app.exception_handler(PoolTimeout)
    def database(request: Request, error: OperationalError | PoolTimeout) -> Response:
        log.error("the database did not answer: %s", error)
        message = "The database is busy or cannot be reached."
        return Problem("unavailable", message, headers={"Retry-After": "5"}).response()

    @app.exception_handler(ClientDisconnect)
    def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody reads it; it keeps a broken upload out of the error log
