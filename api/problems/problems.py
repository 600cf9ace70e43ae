"""Problems: every error leaves the service as RFC 9457 `application/problem+json`.

`Problem` is the exception, `install` registers the handlers that turn other exceptions into problems; table.py lists the codes.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.staticfiles import StaticFiles

from api.problems.table import PROBLEMS
from storage.errors import ServiceFault, StorageError, Unauthorized

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
ERRORS_PAGE = "/errors"
MAX_ERRORS = 20
"""Errors of one request that are listed: nobody corrects more at once, and a small body can have thousands."""
NAME_LENGTH = 100
"""Characters of a name that an error repeats: more than any of the service's own has, and longer ones are cut."""
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="adnerf"'}
"""Headers of a problem that a key would solve (RFC 9110, section 11.6.1)."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_CODE_BY_STATUS = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


class Problem(HTTPException):
    """An error response.

    Args:
        code: a key of PROBLEMS.
        message: what is wrong, a sentence; by default the title of the code. The remedy follows it in `detail`.
        remedy: what to do about it; by default that of the code.
        errors: dicts with `detail` and either `pointer` (a JSON pointer into the body; a form counts as one object) or
            `parameter` (the name of a query, path or header parameter).
        headers: further headers of the response.
        parts: the status of each part of the service, by name.
        quota: the name and the limit of the quota that is used up.
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

    def body(self) -> dict[str, Any]:
        """The problem details."""
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
        return body

    def response(self) -> JSONResponse:
        """The response, as `application/problem+json`."""
        return JSONResponse(self.body(), self.status_code, headers=self.headers, media_type=MEDIA_TYPE)


def validation_problem(detail: str, field: str) -> Problem:
    """The problem `validation_failed` about one field of the body; `detail` is a phrase without a full stop."""
    return from_validation([{"loc": (field,), "msg": detail}])


def from_validation(errors: Iterable[Mapping[str, Any]], *inside: str, value: Any = None) -> Problem:
    """The problem `validation_failed` made from errors of pydantic or FastAPI.

    Args:
        errors: dicts with `loc` and `msg`; at least one.
        inside: the path in the body to the value that was validated.
        value: that value. Pydantic's locations also name the branches of unions, which have no place in it; with `value`
            they are left out, and the errors of all branches of one union become one error.
    """
    messages: dict[tuple[Any, ...], list[str]] = {}
    errors = list(errors)
    for error in errors[:MAX_ERRORS]:
        place = error["loc"] if value is None else _place_in(value, error["loc"], error.get("type"))
        messages.setdefault((*inside, *place), []).append(error["msg"].removeprefix("Value error, "))
    entries = [_entry(place, "; or: ".join(dict.fromkeys(each))) for place, each in messages.items()]
    first = entries[0]
    where = first.get("pointer") or first.get("parameter") or "The body"
    more = len(errors) - MAX_ERRORS
    message = f"{where}: {first['detail']}." + (f" {more} more errors are not listed." if more > 0 else "")
    return Problem("validation_failed", message, errors=entries)


def _place_in(value: Any, location: Sequence[Any], kind: str | None) -> tuple[Any, ...]:
    """The parts of a location that lead through `value`. The last part may name a field that is not there."""
    place = []
    for number, part in enumerate(location):
        last = number == len(location) - 1
        if (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        ):
            value = value[part]
        elif not (last and isinstance(value, dict) and kind in ("missing", "value_error")):
            continue  # the name of a union's branch
        place.append(part)
    return tuple(place)


def _entry(place: tuple[Any, ...], detail: str) -> dict[str, str]:
    parts = [_cut(str(part)).replace("~", "~0").replace("/", "~1") for part in place]
    if parts and parts[0] in ("query", "path", "header"):
        return {"detail": detail, "parameter": "/".join(parts[1:])}
    return {"detail": detail, "pointer": "".join(f"/{part}" for part in parts)}


def _cut(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def from_storage(error: StorageError) -> Problem:
    """The problem that a client is told of an error of the storage; its details go to the log. Raises `error` if the service is faulty."""
    if isinstance(error, ServiceFault):
        raise error
    if error.details:
        log.warning("%s: %s", error.code, error)
    headers = CHALLENGE if isinstance(error, Unauthorized) else None
    return Problem(error.code, error.message, remedy=error.remedy, headers=headers, quota=getattr(error, "quota", None))


def disk_is_full(error: BaseException) -> bool:
    """Returns whether the operating system refused to write because there is no space (or quota) left."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _allowed(request: Request) -> list[str]:
    """The methods of all routes at the path of `request`; FastAPI's own Allow header names those of one route only."""
    if isinstance(request.scope.get("endpoint"), StaticFiles):
        return ["GET", "HEAD"]
    routes = request.app.router.routes
    tries = {method: {**request.scope, "method": method} for method in METHODS}
    allowed = [method for method in METHODS if any(route.matches(tries[method])[0] == Match.FULL for route in routes)]
    if "GET" in allowed and "HEAD" not in allowed:
        allowed.insert(1, "HEAD")  # api/middleware/head.py
    return allowed


def database_away(error: OperationalError | PoolTimeout) -> Problem:
    """Logs `error`; returns the problem `unavailable`."""
    log.error("the database did not answer: %s", error)
    message = "The database is busy or cannot be reached."
    return Problem("unavailable", message, headers={"Retry-After": "5"})


def install(app: FastAPI) -> None:
    """Registers the handlers that turn exceptions into problems.

    An exception that none of them handles reaches api/middleware/request_log.py, which logs it and sends `internal_error`.
    """

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        if isinstance(error, Problem):
            return error.response()
        code = _CODE_BY_STATUS.get(error.status_code, "bad_request" if error.status_code < 500 else "internal_error")
        message = f"{request.method} {request.url.path} does not exist."
        if code == "method_not_allowed":
            message = f"{request.url.path} does not allow {request.method}."
        headers = {"Allow": ", ".join(_allowed(request))} if code == "method_not_allowed" else error.headers
        return Problem(code, message, headers=headers).response()

    @app.exception_handler(RequestValidationError)
    def validation(request: Request, error: RequestValidationError) -> Response:
        return from_validation(error.errors()).response()

    @app.exception_handler(StorageError)
    def storage(request: Request, error: StorageError) -> Response:
        return from_storage(error).response()

    @app.exception_handler(OSError)
    def operating_system(request: Request, error: OSError) -> Response:
        if disk_is_full(error):
            return Problem("disk_full").response()
        raise error

    @app.exception_handler(OperationalError)
    @app.exception_handler(PoolTimeout)
    def database(request: Request, error: OperationalError | PoolTimeout) -> Response:
        return database_away(error).response()

    @app.exception_handler(IntegrityError)
    @app.exception_handler(StaleDataError)
    def met(request: Request, error: IntegrityError | StaleDataError) -> Response:
        """Two requests that change and delete the same thing at one moment: repeated, the second one finds what the first has left."""
        log.warning("a transaction met another one", exc_info=error)
        message = "Another request changed or deleted the same thing at this moment."
        return Problem("unavailable", message, headers={"Retry-After": "1"}).response()

    @app.exception_handler(ClientDisconnect)
    def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody receives it; without it, a broken upload would be logged as an error
