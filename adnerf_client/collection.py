"""The base class of the collections of resources: get, delete, and lists in pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from adnerf_client.connection import Connection, parse
from adnerf_client.models import Model, Page

Resource = TypeVar("Resource", bound=Model)
Item = TypeVar("Item", bound=Model)

PAGE = 100
"""Items per request for a list; the service's own maximum, so that long lists need few requests."""


class Collection(Generic[Resource]):
    """The resources of one kind. A parameter `which` takes the id of a resource or the resource itself."""

    path: str
    model: type[Resource]

    def __init__(self, connection: Connection):
        self._connection = connection

    def get(self, which: str | Resource) -> Resource:
        """Gets the current state of a resource. Raises NotFound."""
        return parse(self.model, self._connection.send("GET", self._path(which)))

    def delete(self, which: str | Resource) -> None:
        """Deletes a resource, everything that belongs to it, and its files; work on it stops. Raises NotFound."""
        self._connection.send("DELETE", self._path(which))

    def _list(self, limit: int | None, **filters: str | None) -> Iterator[Resource]:
        return self._pages(self.path, self.model, limit, **filters)

    def _pages(self, path: str, model: type[Item], limit: int | None, **filters: str | None) -> Iterator[Item]:
        """Yields at most `limit` items of the list at `path`; requests each page when it is needed."""
        params: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
        remaining = float("inf") if limit is None else limit
        while remaining > 0:
            response = self._connection.send("GET", path, params={**params, "limit": int(min(PAGE, remaining))})
            page = parse(Page[model], response)
            yield from page.items
            remaining -= len(page.items)
            if page.next_cursor is None:
                return
            params["cursor"] = page.next_cursor

    def _post(self, which: str | Resource, verb: str, **body: Any) -> Resource:
        """Applies the action `verb` to a resource and returns the changed resource."""
        return parse(self.model, self._connection.send("POST", self._path(which, f"/{verb}"), **body))

    def _path(self, which: str | Resource, rest: str = "") -> str:
        return f"{self.path}/{quote(which if isinstance(which, str) else which.id, safe='')}{rest}"
