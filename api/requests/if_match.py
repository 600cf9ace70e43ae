"""If-Match: a change or a deletion is refused if the resource is not what the client has seen (RFC 9110, section 13.1.1).

Every route with PATCH or DELETE takes an `IfMatchDep`, and checks it in the transaction of the change, after locking the row: of two
clients that have seen the same version one changes it, and the other is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel

from api.problems.problems import Problem


def etag_of(body: bytes) -> str:
    """Returns the ETag, quoted, of a JSON response to a GET."""
    return f'"{sha256(body).hexdigest()[:32]}"'


class IfMatch:
    """The condition of one request.

    Args:
        values: those of the headers If-Match; empty if the request has none.
    """

    def __init__(self, values: Sequence[str]):
        self._etags = {each.strip() for value in values for each in value.split(",")} if values else None

    def check(self, read: Callable[[], BaseModel]) -> None:
        """Raises Problem `precondition_failed` if the resource has none of the ETags.

        Args:
            read: returns the resource as a GET does; it is not called for a request without the header.
        """
        if self._etags is None:
            return
        etag = etag_of(read().model_dump_json().encode())
        if not self._etags & {etag, "*"}:
            raise Problem("precondition_failed")


def _if_match(request: Request) -> IfMatch:
    return IfMatch(request.headers.getlist("if-match"))


IfMatchDep = Annotated[IfMatch, Depends(_if_match)]
