"""Requests to one service: with the key, tried again while it is away or busy, and with errors as exceptions."""

from __future__ import annotations

import io
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from adnerf_client.errors import (
    AdnerfError,
    BadAnswer,
    BadUse,
    Conflict,
    Invalid,
    NotAllowed,
    NotFound,
    Problem,
    TooMany,
    Unavailable,
    Unreachable,
)

BytesDone = Callable[[int, int], None]
"""Is told again and again of a transfer: bytes done, bytes in all."""

Model = TypeVar("Model", bound=BaseModel)

STRANGER_S = 5.0
"""Patience with an address at which nobody has answered yet: it is more likely wrong than being restarted."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
PASSING = (429, 502, 503, 504)
"""Statuses that are worth another try."""
IN_FLIGHT = "idempotency_in_flight"
"""The code of a 409 that means: the same request came before, over a connection that was lost, and is still being worked on."""


class Patience:
    """How long something is tried again: pauses that double, until the time is over or something has been achieved."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Begins anew: there was progress."""
        self._since: float | None = None
        self._pause_s = FIRST_PAUSE_S

    def pause(self, error: AdnerfError) -> None:
        """Sleeps before another try, as long as `error` asks for. Raises it where it will not pass, or not in time.

        Time counts from the first error on: what is tried may take long by itself.
        """
        if not _passing(error):
            raise error
        if self._since is None:
            self._since = time.monotonic()
        stranger = isinstance(error, Unreachable) and error.stranger
        left_s = self._since + (min(self.seconds, STRANGER_S) if stranger else self.seconds) - time.monotonic()
        asked_s = error.retry_after_s if isinstance(error, Problem) else None
        if left_s <= 0 or (asked_s or 0) > left_s:
            raise error
        # At random: clients that were cut off together shall not come back together.
        pause_s = self._pause_s * random.uniform(0.5, 1.0) if asked_s is None else asked_s
        time.sleep(min(pause_s, left_s))
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


def _passing(error: AdnerfError) -> bool:
    return isinstance(error, Unreachable) or error.status in PASSING or error.code == IN_FLIGHT


class Connection:
    """The way to the service at `base_url`. `patience_s` is how long a request is tried again before its error is raised."""

    def __init__(
        self, base_url: str, api_key: str | None, *, patience_s: float, transport: httpx.BaseTransport | None = None
    ):
        _checked_host(base_url)
        headers = {"User-Agent": f"adnerf-client/{version('adnerf')}"}
        if api_key:
            if not (api_key.isascii() and api_key.isprintable()):
                raise BadUse("The API key has characters that no key has.", "Copy it again, without quotes or spaces.")
            headers["Authorization"] = f"Bearer {api_key}"
        self.base_url, self.patience_s = base_url, patience_s
        self.http = httpx.Client(
            base_url=base_url,
            headers=headers,
            timeout=httpx.Timeout(60.0, connect=10.0),
            transport=transport,
            trust_env=not is_this_machine(base_url),  # no proxy leads to this machine
        )
        self._answered = False

    def close(self) -> None:
        """Closes its sockets."""
        self.http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        patience_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        files: Mapping[str, Path] | None = None,
        progress: BytesDone | None = None,
        **more: Any,
    ) -> httpx.Response:
        """The answer to a request, tried again until it comes or patience ends. Raises AdnerfError's children.

        `form` (text) and `files` go as multipart/form-data, and `progress` is told of the files' bytes. A POST carries one
        Idempotency-Key through all its tries: the service does it once, however often it arrives.
        """
        headers = dict(headers or {})
        if method == "POST":
            headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
        patience = Patience(self.patience_s if patience_s is None else patience_s)
        cut_off = False
        while True:
            try:
                with _parts(form, files, progress) as parts:
                    return self.once(method, path, headers=headers, **parts, **more)
            except NotFound:
                if method == "DELETE" and cut_off:
                    return httpx.Response(204)  # an earlier try did it, and its answer was lost
                raise
            except AdnerfError as error:
                cut_off = cut_off or isinstance(error, Unreachable)
                patience.pause(error)

    def once(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The answer to one try. Raises Unreachable, Problem, BadAnswer (a redirect)."""
        with self._answers():
            response = self.http.request(method, path, **more)
        return self._checked(response)

    @contextmanager
    def stream(self, path: str, **more: Any) -> Iterator[httpx.Response]:
        """A GET whose body is read within the block, in one try; redirects are followed, without the key to other hosts.

        Raises Unreachable, also for a body that breaks off; Problem.
        """
        with self._answers(), self.http.stream("GET", path, follow_redirects=True, **more) as response:
            if response.is_error:
                response.read()
            yield self._checked(response)

    @contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            stranger = not self._answered and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            said = str(error) or type(error).__name__
            raise Unreachable(f"{self.base_url} does not answer ({said}).", stranger=stranger) from error

    def _checked(self, response: httpx.Response) -> httpx.Response:
        self._answered = True
        if response.is_error:
            raise problem(response)
        if response.has_redirect_location:
            raise BadAnswer(f"{response.url} has moved to {response.headers['Location']}.", "Use that address.")
        return response


def parse(model: type[Model], response: httpx.Response) -> Model:
    """The body as a `model`. Raises BadAnswer."""
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise BadAnswer(f"{response.url} answered something unexpected.") from error


def problem(response: httpx.Response) -> Problem:
    """An answer that is an error, as an exception; also one that is not of this service, but of a proxy before it."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    status = response.status_code
    kinds = {401: NotAllowed, 403: NotAllowed, 404: NotFound, 409: Conflict, 429: TooMany}
    kind = kinds.get(status, Unavailable if status >= 500 else Invalid)
    detail = body.get("detail") or body.get("title") or f"The service answered {status} {response.reason_phrase}."
    return kind(
        str(detail),
        str(body.get("remedy") or ""),
        code=str(body.get("code") or f"http_{status}"),
        status=status,
        errors=body.get("errors") or [],
        retry_after_s=retry_after_s(response),
        request_id=response.headers.get("x-request-id"),
    )


def retry_after_s(response: httpx.Response) -> float | None:
    """Seconds that the header Retry-After asks for; None where there is none that can be read."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError):
        return None


def is_this_machine(base_url: str) -> bool:
    """Whether an address names this machine. Raises BadUse where it is no address of a service."""
    return _checked_host(base_url) in ("127.0.0.1", "localhost", "::1")


def _checked_host(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise BadUse(f"{base_url!r} is no address ({error}).", "Give one such as http://127.0.0.1:8000.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise BadUse(f"{base_url!r} is no address of a service.", "Give one such as http://127.0.0.1:8000.")
    return url.host


class _Told(io.FileIO):
    """A file that tells how far it has been read."""

    def __init__(self, path: Path, told: Callable[[int], None]):
        super().__init__(path)
        self._told = told

    def read(self, size: int = -1) -> bytes:
        data = super().read(size)
        self._told(self.tell())
        return data


@contextmanager
def _parts(
    form: Mapping[str, str] | None, files: Mapping[str, Path] | None, progress: BytesDone | None
) -> Iterator[dict[str, Any]]:
    """What httpx needs to send a form, with its files open during the block."""
    if form is None:
        yield {}
        return
    files = files or {}
    done = dict.fromkeys(files, 0)
    total = sum(path.stat().st_size for path in files.values())

    def told(name: str, bytes_read: int) -> None:
        done[name] = bytes_read
        if progress is not None:
            progress(sum(done.values()), total)

    with ExitStack() as opened:
        parts: dict[str, Any] = {name: (None, text) for name, text in form.items()}
        for name, path in files.items():
            file = opened.enter_context(_Told(path, lambda bytes_read, name=name: told(name, bytes_read)))
            parts[name] = (path.name.encode(errors="replace").decode(), file)
        yield {"files": parts}
