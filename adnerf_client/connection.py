"""Requests to one service: they carry the API key, are repeated while the service is unreachable or busy, and raise errors."""

from __future__ import annotations

import io
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
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
"""Callback for the progress of a transfer: (bytes done, total bytes)."""

Model = TypeVar("Model", bound=BaseModel)

STRANGER_S = 5.0
"""Patience (seconds) with an address that has never answered: it is probably wrong, and a person waits for the message."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
"""The pauses between two tries double from the first to the longest: a short outage costs little time, and a long one few
requests."""
PASSING = (423, 429, 502, 503, 504)
"""Statuses of temporary errors, after which a request is repeated."""
LASTING = ("too_many_uploads", "quota_exceeded")
"""Codes of limits that waiting does not lift: the client has to delete something first."""
IN_FLIGHT = "idempotency_in_flight"
"""Code of the 409 for a repeated request whose first copy, sent over a lost connection, is still being processed."""


class Patience:
    """The time for which something is tried again, with pauses that double. Progress renews it."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Starts the time and the pauses again, after progress."""
        self._since: float | None = None
        self._pause_s = FIRST_PAUSE_S

    def pause(self, error: AdnerfError) -> None:
        """Sleeps until the next try.

        The time counts from the first error, because a try itself may take long.

        Args:
            error: Why the last try failed. Its Retry-After sets the length of the pause, if it has one.

        Raises:
            AdnerfError: `error` itself, if it is not temporary or the time is over.
        """
        if not _passing(error):
            raise error
        if self._since is None:
            self._since = time.monotonic()
        stranger = isinstance(error, Unreachable) and error.stranger
        remaining_s = self._since + (min(self.seconds, STRANGER_S) if stranger else self.seconds) - time.monotonic()
        requested_s = error.retry_after_s if isinstance(error, Problem) else None
        if remaining_s <= 0 or (requested_s or 0) > remaining_s:
            raise error
        # Random, so that clients that were disconnected at the same time do not return at the same time.
        pause_s = self._pause_s * random.uniform(0.5, 1.0) if requested_s is None else requested_s
        time.sleep(min(pause_s, remaining_s))
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


def _passing(error: AdnerfError) -> bool:
    if error.code in LASTING and getattr(error, "retry_after_s", None) is None:
        return False
    return isinstance(error, Unreachable) or error.status in PASSING or error.code == IN_FLIGHT


class Connection:
    """An HTTP connection to one service.

    Args:
        base_url: Address of the service.
        api_key: API key; None or empty sends none.
        patience_s: Seconds for which a request is repeated before its error is raised.
        auth: Adds what authenticates a request without a key.
        transport: Replaces the network; for tests.

    Raises:
        BadUse: The address or the key cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        patience_s: float,
        auth: httpx.Auth | None = None,
        transport: httpx.BaseTransport | None = None,
    ):
        _checked_host(base_url)
        headers = {"User-Agent": f"adnerf-client/{version('adnerf')}"}
        if api_key:
            if not (api_key.isascii() and api_key.isprintable()):
                raise BadUse(
                    "The API key contains characters that no key has.", "Copy it again, without quotes or spaces."
                )
            headers["Authorization"] = f"Bearer {api_key}"
        self.base_url, self.patience_s = base_url, patience_s
        self.http = httpx.Client(
            base_url=base_url,
            headers=headers,
            auth=auth,
            timeout=httpx.Timeout(60.0, connect=10.0),
            transport=transport,
            trust_env=not is_this_machine(base_url),  # a proxy cannot reach this machine
        )
        self._answered = False

    def close(self) -> None:
        """Closes the sockets."""
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
        """Sends a request, and repeats it until it succeeds or the patience is over.

        A POST carries the same Idempotency-Key in all its tries, so that the service executes it once.

        Args:
            method: The HTTP method.
            path: The path below `base_url`.
            patience_s: Seconds for which the request is repeated; None takes those of the connection.
            headers: Further headers.
            form: Text fields, sent as multipart/form-data together with `files`.
            files: Files by the name of their field.
            progress: Called with the bytes of the files sent so far and the total.
            **more: Further arguments of httpx.Client.request.

        Raises:
            Problem: The service answered with an error.
            Unreachable: The service did not answer.
            BadAnswer: The response is a redirect.
        """
        headers = dict(headers or {})
        if method == "POST":
            headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
        patience = Patience(self.patience_s if patience_s is None else patience_s)
        disconnected = False
        while True:
            try:
                with _parts(form, files, progress) as parts:
                    return self.once(method, path, headers=headers, **parts, **more)
            except NotFound:
                if method == "DELETE" and disconnected:
                    return httpx.Response(204)  # an earlier try deleted it, but its response was lost
                raise
            except AdnerfError as error:
                disconnected = disconnected or isinstance(error, Unreachable)
                patience.pause(error)

    def once(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Sends a request once. Raises Unreachable, Problem, or BadAnswer (a redirect)."""
        with self._translate_errors():
            response = self.http.request(method, path, **more)
        return self._checked(response)

    @contextmanager
    def stream(self, path: str, *, method: str = "GET", **more: Any) -> Iterator[httpx.Response]:
        """Sends a request once; the caller reads the body inside the `with` block.

        Redirects are followed; the API key is not sent to other hosts.

        Raises:
            Unreachable: The service did not answer, or the body is incomplete.
            Problem: The service answered with an error.
        """
        with self._translate_errors(), self.http.stream(method, path, follow_redirects=True, **more) as response:
            if response.is_error:
                response.read()
            yield self._checked(response)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raises Unreachable for the transport errors of httpx."""
        try:
            yield
        except httpx.TransportError as error:
            stranger = not self._answered and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            reason = str(error) or type(error).__name__
            raise Unreachable(f"{self.base_url} does not answer ({reason}).", stranger=stranger) from error

    def _checked(self, response: httpx.Response) -> httpx.Response:
        self._answered = True
        if response.is_error:
            raise problem(response)
        if response.has_redirect_location:
            raise BadAnswer(f"{response.url} has moved to {response.headers['Location']}.", "Use that address.")
        return response


def parse(model: type[Model], response: httpx.Response) -> Model:
    """Parses the body of a response as a `model`. Raises BadAnswer."""
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise BadAnswer(f"The response of {response.url} is not what this client expects.") from error


def problem(response: httpx.Response) -> Problem:
    """Converts an error response to an exception of the right class.

    The response may come from a proxy in front of the service: then its body is not a problem of the service, and the
    code is `http_STATUS`.
    """
    try:
        body = response.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    status = response.status_code
    classes = {401: NotAllowed, 403: NotAllowed, 404: NotFound, 409: Conflict, 429: TooMany}
    error_class = classes.get(status, Unavailable if status >= 500 else Invalid)
    detail = body.get("detail") or body.get("title") or f"The service answered {status} {response.reason_phrase}."
    return error_class(
        str(detail),
        str(body.get("remedy") or ""),
        code=str(body.get("code") or f"http_{status}"),
        status=status,
        errors=body.get("errors") or [],
        retry_after_s=retry_after_s(response),
        request_id=response.headers.get("x-request-id"),
    )


def retry_after_s(response: httpx.Response) -> float | None:
    """Returns the seconds of the header Retry-After (a number or a date); None if it is missing or cannot be parsed."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def is_this_machine(base_url: str) -> bool:
    """Whether an address names this machine. Raises BadUse where it is no address of a service."""
    return _checked_host(base_url) in ("127.0.0.1", "localhost", "::1")


def _checked_host(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise BadUse(f"{base_url!r} is not an address ({error}).", "Use one such as http://127.0.0.1:8000.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise BadUse(f"{base_url!r} is not the address of a service.", "Use one such as http://127.0.0.1:8000.")
    return url.host


class _ObservedFile(io.FileIO):
    """A file that reports its position after each read."""

    def __init__(self, path: Path, on_read: Callable[[int], None]):
        super().__init__(path)
        self._on_read = on_read

    def read(self, size: int = -1) -> bytes:
        data = super().read(size)
        self._on_read(self.tell())
        return data


@contextmanager
def _parts(
    form: Mapping[str, str] | None, files: Mapping[str, Path] | None, progress: BytesDone | None
) -> Iterator[dict[str, Any]]:
    """Yields the arguments with which httpx sends a form; the files are open inside the `with` block."""
    if form is None:
        yield {}
        return
    files = files or {}
    done = dict.fromkeys(files, 0)
    total = sum(path.stat().st_size for path in files.values())

    def report(name: str, bytes_read: int) -> None:
        done[name] = bytes_read
        if progress is not None:
            progress(sum(done.values()), total)

    with ExitStack() as opened:
        parts: dict[str, Any] = {name: (None, text) for name, text in form.items()}
        for name, path in files.items():
            file = opened.enter_context(_ObservedFile(path, lambda bytes_read, name=name: report(name, bytes_read)))
            parts[name] = (path.name.encode(errors="replace").decode(), file)
        yield {"files": parts}
