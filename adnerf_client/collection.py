"""What all kinds of resources have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from adnerf_client.connection import Connection, parse
from adnerf_client.models import Model, Page

Resource = TypeVar("Resource", bound=Model)
Item = TypeVar("Item", bound=Model)

PAGE = 100
"""Items that are asked for at a time."""


class Collection(Generic[Resource]):
    """Resources of one kind. Where an id is asked for, the resource itself does as well."""

    path: str
    model: type[Resource]

    def __init__(self, connection: Connection):
        self._connection = connection

    def get(self, which: str | Resource) -> Resource:
        """The resource as it is now. Raises NotFound."""
        return parse(self.model, self._connection.send("GET", self._path(which)))

    def delete(self, which: str | Resource) -> None:
        """Removes the resource, all that belongs to it, and its files; work on it stops. Raises NotFound."""
        self._connection.send("DELETE", self._path(which))

    def _list(self, limit: int | None, **filters: str | None) -> Iterator[Resource]:
        return self._pages(self.path, self.model, limit, **filters)

    def _pages(self, path: str, model: type[Item], limit: int | None, **filters: str | None) -> Iterator[Item]:
        """What the pages at `path` hold, asked for as it is needed; at most `limit`."""
        params: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
        left = float("inf") if limit is None else limit
        while left > 0:
            answer = self._connection.send("GET", path, params={**params, "limit": int(min(PAGE, left))})
            page = parse(Page[model], answer)
            yield from page.items
            left -= len(page.items)
            if page.next_cursor is None:
                return
            params["cursor"] = page.next_cursor

    def _post(self, which: str | Resource, verb: str, **body: Any) -> Resource:
        """The resource after something was done with it."""
        return parse(self.model, self._connection.send("POST", self._path(which, f"/{verb}"), **body))

    def _path(self, which: str | Resource, rest: str = "") -> str:
        return f"{self.path}/{quote(which if isinstance(which, str) else which.id, safe='')}{rest}"
