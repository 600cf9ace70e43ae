"""Idempotency-Key: a POST that a client sends again with the same key is carried out once.

Every route that takes a POST has a parameter `idempotency: IdempotencyDep`. It works in three steps:

1. The key is reserved in this process. An equal request that arrives meanwhile gets 409 `idempotency_in_flight`.
   A route with a form reserves the key before it reads the form (`ReservedDep`), so the second upload is refused early.
2. When the body has been read, a stored response to an equal request is replayed, and the route's function does not run.
   If the key was used for a different request, the answer is 422 `idempotency_key_reused`.
3. The route's function returns `idempotency.respond(session, resource)`, which stores the response in the transaction that
   does the work (storage/tables/idempotency.py). If the process dies before the commit, nothing is left, and the retry is
   carried out.

Reservations are known to one process only. If several API processes get equal requests at the same time, the database
lets one transaction store its response; the others are rolled back and replay that response.

Of long answers, a number for each owner is stored; of further ones only status and headers are.

Only successes are stored. A refused request changed nothing, so it may be sent again with its key, corrected or not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException

from api.auth import CallerDep
from api.deps import DatabaseDep
from api.problems.problems import Problem
from storage.database.engine import Database
from storage.errors import StorageError
from storage.tables import idempotency
from storage.tables.idempotency import IdempotencyKey

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
CODES = ("idempotency_in_flight", "idempotency_key_reused", "answer_not_kept", "validation_failed")
"""Problem codes that any POST can be answered with because of its key."""

KeyHeader = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="a string of your choice, best a UUID: a request that is sent again with it is carried out once",
    ),
]

SECRET = {"Cache-Control": "no-store"}
"""Headers of a response with a secret: neither caches nor this module store its body."""


class Replayed(Exception):
    """An equal request was carried out before: `response` is its stored response."""

    def __init__(self, response: Response):
        super().__init__()
        self.response = response


class Idempotency:
    """The Idempotency-Key of one POST, if it has one; builds the response and stores it under the key."""

    def __init__(self, request: Request, database: Database, key: IdempotencyKey | None):
        self._request, self._database, self._key = request, database, key
        self._stored = False

    def respond(
        self,
        session: Session,
        resource: BaseModel,
        *,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> Response:
        """Builds the JSON response of the route and stores it under the key, if the request has one.

        A second call replaces the response that the first one stored.

        Args:
            session: the transaction that does the work, or one after it.
            resource: the body.
            headers: further headers. `Cache-Control: no-store` marks a body with a secret: only status and headers are stored.
            status: by default that of the route.

        Raises:
            Replayed: another process has stored its response to an equal request. The work has to be rolled back.
            Problem: `idempotency_in_flight`, if the other transaction has not committed yet.
        """
        status = status or self._request.scope["route"].status_code or 200
        response = Response(resource.model_dump_json(), status, headers, media_type="application/json")
        if self._key is not None:
            self._store(session, response)
        return response

    def replay(self) -> None:
        """Raises Replayed if an equal request was carried out, Problem `idempotency_key_reused` if a different one was."""
        if self._key is None:
            return
        with self._database.session(write=False) as session:
            answer = idempotency.find(session, self._key)
        if answer is None:
            return
        if answer.fingerprint != self._fingerprint():
            raise Problem("idempotency_key_reused", f"This key was sent with a different request to {self._key.route}.")
        if idempotency.was_erased(answer):
            message = "The request was carried out, and what it was about was deleted since."
            raise Problem("answer_not_kept", message, remedy="Send it with another key to do it again.")
        if answer.body is None and "no-store" not in answer.headers.get("cache-control", ""):
            message = "The request was carried out; its answer is too long to be stored beside as many others."
            raise Problem("answer_not_kept", message, remedy="What it made is in the lists, the newest first.")
        if answer.body is None:
            raise Problem("answer_not_kept")
        raise Replayed(Response(answer.body, answer.status, {**answer.headers, REPLAYED: "true"}))

    def _store(self, session: Session, response: Response) -> None:
        secret = "no-store" in response.headers.get("cache-control", "")
        values = {
            "fingerprint": self._fingerprint(),
            "status": response.status_code,
            "headers": {name: value for name, value in response.headers.items() if name != "content-length"},
            "body": None if secret else bytes(response.body).decode(),
        }
        if self._stored:
            idempotency.replace(session, self._key, **values)
        elif not idempotency.store(session, self._key, **values):
            self.replay()
            raise _in_flight()
        self._stored = True

    def _fingerprint(self) -> str:
        """A digest of everything that makes two requests equal: path, query, body, and the headers of an upload."""
        request = self._request
        upload = sorted((name, value) for name, value in request.headers.items() if name.startswith("upload-"))
        # Set by the code that read the body; tus bodies have none.
        body_digest = getattr(request.state, "body_digest", "")
        return sha256(repr((request.url.path, request.url.query, upload, body_digest)).encode()).hexdigest()


def key_of(request: Request, owner: str, key: str) -> IdempotencyKey:
    """Returns what the response to this POST is stored under."""
    return IdempotencyKey(owner, f"POST {request.scope['route'].path}", key)


async def _reserve(
    request: Request, caller: CallerDep, database: DatabaseDep, key: KeyHeader = None
) -> AsyncIterator[Idempotency]:
    """Reserves the key until the transaction of the route has ended. Raises Problem `idempotency_in_flight`."""
    if key is None:
        yield Idempotency(request, database, None)
        return
    slot = key_of(request, caller.owner, key)
    in_flight: set[IdempotencyKey] = request.app.state.in_flight  # touched by the event loop only
    if slot in in_flight:
        raise _in_flight()
    in_flight.add(slot)
    reserved = Idempotency(request, database, slot)
    try:
        yield reserved
    except (HTTPException, StorageError):
        # Another process may have carried out an equal request meanwhile and thereby made this one invalid (a cancelled job
        # cannot be cancelled again): replay its response.
        await to_thread.run_sync(reserved.replay)
        raise
    finally:
        in_flight.discard(slot)


ReservedDep = Annotated[Idempotency, Depends(_reserve, scope="function")]
"""For dependencies that read a form: the key is reserved before the body is read."""


def _replay(reserved: ReservedDep) -> Idempotency:
    reserved.replay()
    return reserved


IdempotencyDep = Annotated[Idempotency, Depends(_replay, scope="function")]
"""For routes that take a POST. Declare it after the form parameter, because the body is part of the comparison."""


def install(app: FastAPI) -> None:
    """Adds the reservations to the application's state, and the handler that sends replayed responses."""
    app.state.in_flight = set()

    @app.exception_handler(Replayed)
    def replayed(request: Request, error: Replayed) -> Response:
        return error.response


def _in_flight() -> Problem:
    return Problem("idempotency_in_flight", headers={"Retry-After": "1"})
