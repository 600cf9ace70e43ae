"""Idempotency-Key: a POST that is sent again with the same key is carried out once.

Every route that takes a POST is a `IdempotentRoute`. In front of the route's own dependencies it notes the key as in flight, so
that an equal request which comes meanwhile is turned away before its body is read. After them, when the body has been read
and before the route's function runs, it looks for an answer that was kept. What the function then answers is kept in the
transaction of what it did (storage/tables/idempotency.py): a process that dies in between leaves nothing, and the retry is carried out.
A route whose transaction ends before its answer is known calls `store_response` within it.

The notes on what is in flight are this process's own. Where several processes serve the API, equal requests may be at work
in two of them; the database lets one transaction keep its answer, the other is rolled back and gets that answer too.

Only what succeeded is kept. A request that was refused did nothing, so it may be sent again with its key, corrected or not.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from functools import wraps
from hashlib import sha256
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException

from api.auth import CallerDep
from api.deps import DatabaseDep
from api.problems.problems import Problem
from storage.errors import StorageError
from storage.tables import idempotency
from storage.tables.idempotency import IdempotencyKey

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
CODES = ("idempotency_in_flight", "idempotency_key_reused", "answer_not_kept", "validation_failed")
"""What any POST with a key may be answered with."""

Key = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="a word of your choice (a UUID is best): with it, sending the request again does nothing twice",
    ),
]


class Replayed(Exception):
    """The request was carried out before: `response` is what it was answered with then."""

    def __init__(self, response: Response):
        super().__init__()
        self.response = response


async def _reserve(request: Request, caller: CallerDep, key: Key = None) -> AsyncIterator[None]:
    """Notes the request as in flight until what it did is durable. Raises Problem `idempotency_in_flight`."""
    if key is None:
        yield
        return
    slot = IdempotencyKey(caller.owner, f"POST {request.scope['route'].path}", key)
    in_flight: set[IdempotencyKey] = request.app.state.in_flight  # touched by the event loop only
    if slot in in_flight:
        raise _in_flight()
    in_flight.add(slot)
    request.state.slot = slot
    try:
        yield
    finally:
        in_flight.discard(slot)


def _replay(request: Request, database: DatabaseDep) -> None:
    """Raises Replayed where the request was carried out before, and Problem `idempotency_key_reused` where another was."""
    slot: IdempotencyKey | None = getattr(request.state, "slot", None)
    if slot is None:
        return
    with database.session(write=False) as session:
        kept = idempotency.find(session, slot)
    if kept is None:
        return
    if kept.fingerprint != _fingerprint(request):
        raise Problem("idempotency_key_reused", f"Another request to {slot.route} was sent with this key.")
    if kept.body is None:
        raise Problem("answer_not_kept")
    raise Replayed(Response(kept.body, kept.status, {**kept.headers, REPLAYED: "true"}))


class IdempotentRoute(APIRoute):
    """A route whose POSTs are carried out once for each Idempotency-Key. Other methods are left as they are."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any):
        if "POST" in (more.get("methods") or ()):
            more["dependencies"] = [Depends(_reserve, scope="function"), *(more.get("dependencies") or ())]
            endpoint = _recalling(endpoint)
        super().__init__(path, endpoint, **more)

    def get_route_handler(self):
        handler = super().get_route_handler()
        return _keeping(handler) if "POST" in self.methods else handler


def store_response(request: Request, session: Session, response: Response) -> None:
    """Keeps `response` with the transaction of `session`. A route that then answers something else has that kept in its place.

    Raises what another process's answer to an equal request leads to; the transaction has to be rolled back then.
    """
    if hasattr(request.state, "slot"):
        _keep_with(session, request, response)
        request.state.kept_early = response


def install(app: FastAPI) -> None:
    """Makes `app` ready for routes of this kind."""
    app.state.in_flight = set()

    @app.exception_handler(Replayed)
    def replayed(request: Request, found: Replayed) -> Response:
        return found.response


def _recalling(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """`endpoint` with one more dependency behind its own."""

    @wraps(endpoint)
    def run(recalled: None, **values: Any) -> Any:
        return endpoint(**values)

    last = inspect.Parameter(
        "recalled", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[None, Depends(_replay)], default=None
    )
    signature = inspect.signature(endpoint, eval_str=True)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), last])
    return run


def _keeping(handler: Callable) -> Callable:
    """`handler`, whose answer is kept before its transaction ends."""

    async def answer(request: Request) -> Response:
        try:
            response = await handler(request)
        except (HTTPException, StorageError):
            await to_thread.run_sync(
                _replay, request, request.app.state.database
            )  # another process may have been quicker
            raise
        kept = getattr(request.state, "kept_early", None)
        if hasattr(request.state, "slot") and response.status_code < 400 and response is not kept:
            await to_thread.run_sync(_store, request, response)
        return response

    return answer


def _store(request: Request, response: Response) -> None:
    session = getattr(request.state, "session", None)
    if session is not None:
        _keep_with(session, request, response)
    else:
        with request.app.state.database.session() as session:
            _keep_with(session, request, response)


def _keep_with(session: Session, request: Request, response: Response) -> None:
    secret = "no-store" in response.headers.get("cache-control", "")
    kept = {
        "fingerprint": _fingerprint(request),
        "status": response.status_code,
        "headers": {name: value for name, value in response.headers.items() if name != "content-length"},
        "body": None if secret else bytes(response.body).decode(),
    }
    if hasattr(request.state, "kept_early"):
        idempotency.replace(session, request.state.slot, **kept)
    elif not idempotency.store(session, request.state.slot, **kept):
        _replay(request, request.app.state.database)
        raise _in_flight()


def _fingerprint(request: Request) -> str:
    """A digest of what the request asks for: its path, its body (api/requests/multipart.py), and what it says of an upload to come."""
    upload = sorted((name, value) for name, value in request.headers.items() if name.startswith("upload-"))
    said = (request.url.path, request.url.query, upload, getattr(request.state, "body_digest", ""))
    return sha256(repr(said).encode()).hexdigest()


def _in_flight() -> Problem:
    return Problem("idempotency_in_flight", headers={"Retry-After": "1"})
