"""Multipart forms, streamed part by part to disk.

The framework's own form parser reads the whole body before a route sees it, and its size limits do not apply to files.
Here every part is checked while it arrives: an unknown field, a file beyond its limit or a text file named .mp4 ends the
request at once. Memory stays flat. A file is written where the object store can take it over without copying it, and is
deleted if the request fails. If the process is killed, a local store's cleanup deletes it (ObjectStore.delete_unfinished).
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import anyio
from fastapi import Request
from pydantic import BaseModel, ValidationError
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from api.auth import AccessCheck
from api.problems.problems import Problem, from_validation, validation_problem
from api.requests.arrivals import Arrival
from storage.objects.base import IncomingFile, ObjectStore
from storage.tables.uploads import FileSource

SMALL = 1 << 20
"""Bytes that a body may have besides its files. The longest text, a consent, has some kilobytes."""

HEAD_BYTES = 4096
"""Bytes of a file that are checked (FileRule.check_head): enough for 21 packets of a transport stream (file_type.py)."""

PART_HEAD_BYTES = 16 << 10
"""Bytes that the headers of one part may have, the longest name of a file included. Older versions of the parser pass on any number."""

STALL_S = 60.0
"""Seconds of waiting in which a body must bring its next STALL_BYTES, or its end: a sender on a working connection pauses for less."""
STALL_BYTES = 60 << 10
"""Together 1 KiB/s, several times slower than the slowest mobile networks (GPRS); at that rate a minute of footage takes hours. Whoever
sends less holds a connection and does not mean to finish."""

Model = TypeVar("Model", bound=BaseModel)


class FileRule(NamedTuple):
    """The rule for one file of a form.

    Attributes:
        limit: The most bytes that it can have.
        check_head: Gets the first HEAD_BYTES of it, or all if it has fewer; raises a Problem if it has the wrong type.
    """

    limit: int
    check_head: Callable[[bytes], None]


class ReceivedFile(NamedTuple):
    """A file, and its `display_name`. A file of a form is deleted when the request ends, unless it has been stored."""

    file: FileSource
    name: str


@dataclass
class Form:
    """The content of a form: texts (or what was parsed from them) and files by field name."""

    values: dict[str, Any] = field(default_factory=dict)
    files: dict[str, ReceivedFile] = field(default_factory=dict)

    def file(self, name: str) -> ReceivedFile:
        """Returns a file that is required. Raises Problem `validation_failed`."""
        if name not in self.files:
            raise validation_problem("Field required: send the file as a part of this name", name)
        return self.files[name]

    def parse(self, model: type[Model]) -> Model:
        """Returns the texts as a pydantic model. Raises Problem `validation_failed`."""
        try:
            return model.model_validate(self.values)
        except ValidationError as error:
            raise from_validation(error.errors(), value=self.values) from error


@asynccontextmanager
async def parse_multipart(
    request: Request, *, fields: Collection[str], files: Mapping[str, FileRule], store: ObjectStore, folder: Path
) -> AsyncIterator[Form]:
    """Reads a multipart body. Its files are deleted when the block ends, unless `store` has taken them over.

    Args:
        fields: The names of the text fields that are allowed.
        files: The files that are allowed, with their rules, by field name.
        store: Where the files will be stored.
        folder: A folder on the disk on which the files are written meanwhile; its free space is checked first.

    Raises:
        Problem: `unsupported_media_type`, `malformed_body`, `body_too_large`, `file_too_large`, `upload_stalled`,
            `validation_failed` (unknown or repeated fields), `empty_file`, `disk_full`, or one of a rule's `check_head`.
        StoreFull: The disk became full.
        QuotaExceeded: The owner's quota has no room for all that is arriving.
    """
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data":
        message = "A form with files is needed here."
        raise Problem("unsupported_media_type", message, remedy="Send multipart/form-data, as `curl -F` does.")
    limit = sum(rule.limit for rule in files.values()) + SMALL
    too_large = Problem("file_too_large", f"At most {limit} bytes are taken.")
    if content_length(request) > limit:
        raise too_large  # before the check of the disk: no amount of free space would help
    folder.mkdir(parents=True, exist_ok=True)
    if content_length(request) > shutil.disk_usage(folder).free:
        raise Problem("disk_full")
    with request.app.state.arrivals.receive(request) as arrival, ExitStack() as open_files:
        parts = _MultipartHandler(fields, files, lambda: open_files.enter_context(store.create_incoming()))
        try:
            parser = MultipartParser(options.get(b"boundary", b""), parts.callbacks())
            async for chunk in body_chunks(request, limit, too_large, arrival):
                await anyio.to_thread.run_sync(parser.write, chunk)  # disk and parser stay off the event loop
        except FormParserError as error:
            raise Problem("malformed_body", "The multipart body is malformed.") from error
        if not parts.ended:
            raise Problem("malformed_body", "The multipart body ends before its last boundary.")
        request.state.body_digest = parts.digest.hexdigest()  # for api/requests/idempotency.py
        yield parts.form


def content_length(request: Request) -> int:
    """Returns the size of the body by its header, in bytes; 0 if there is no such header."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def display_name(name: str) -> str:
    """Returns a sender's file name in a form that can be shown: no folders, no control characters, at most 200 characters.

    It may be empty, and is never used as a path.
    """
    return "".join(filter(str.isprintable, re.split(r"[/\\]", name)[-1]))[:200]


async def body_chunks(
    request: Request, limit: int, too_large: Problem, arrival: Arrival | None = None
) -> AsyncIterator[bytes]:
    """Yields the body as it arrives, and counts it with `arrival`.

    Only the time of waiting for the sender counts, not that in which the caller works.

    Raises QuotaExceeded, Problem `unauthorized` if the key was revoked meanwhile, `upload_stalled`, and `unsupported_media_type` if the body is
    compressed; raises `too_large` if it has more than `limit` bytes, before the first of them if its header says so.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        message = "The body is compressed, which this service does not support."
        raise Problem("unsupported_media_type", message, remedy="Send the body without Content-Encoding.")
    if content_length(request) > limit:
        raise too_large
    stream, access = request.stream(), AccessCheck(request)
    received = recent = 0
    waited_s = 0.0
    while True:
        begun = time.monotonic()
        if arrival is not None:
            arrival.waits_since = begun
        try:
            with anyio.fail_after(STALL_S - waited_s):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            raise Problem("upload_stalled", f"Less than {STALL_BYTES} bytes came in {STALL_S:.0f} s.") from error
        finally:
            if arrival is not None:
                arrival.waits_since = None
        await access.again()
        if chunk is None:
            return
        received, recent = received + len(chunk), recent + len(chunk)
        waited_s += time.monotonic() - begun
        if recent >= STALL_BYTES:
            recent, waited_s = 0, 0.0
        if received > limit:
            raise too_large
        if arrival is not None:
            await arrival.add(len(chunk))
        yield chunk


class _MultipartHandler:
    """The callbacks of python_multipart's parser. They fill `form`, whose files go into what `new_file` returns."""

    def __init__(self, fields: Collection[str], files: Mapping[str, FileRule], new_file: Callable[[], IncomingFile]):
        self.form = Form()
        self.ended = False
        self.digest = sha256()  # of all names and contents, but not of the boundary, which every client draws anew
        self._fields, self._rules, self._new_file = fields, files, new_file
        self._text_bytes_left = SMALL  # for all texts together
        self._header_name, self._header_value, self._headers = bytearray(), bytearray(), {}
        self._head_bytes = 0  # of this part
        self._name, self._filename = "", ""
        self._names: set[str] = set()  # of all parts so far
        self._text = bytearray()  # the value of a text field, or the head of a file
        self._file: IncomingFile | None = None

    def callbacks(self) -> dict[str, Callable]:
        names = "part_begin header_field header_value header_end headers_finished part_data part_end end"
        return {f"on_{name}": getattr(self, f"on_{name}") for name in names.split()}

    def on_part_begin(self) -> None:
        self._headers, self._head_bytes = {}, 0

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._add_to(self._header_name, data[start:end])

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._add_to(self._header_value, data[start:end])

    def _add_to(self, header: bytearray, data: bytes) -> None:
        self._head_bytes += len(data)
        if self._head_bytes > PART_HEAD_BYTES:
            raise Problem("malformed_body", f"The headers of a part of a form have at most {PART_HEAD_BYTES} bytes.")
        header.extend(data)

    def on_header_end(self) -> None:
        self._headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name, self._header_value = bytearray(), bytearray()

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = options.get(b"name", b"").decode(errors="replace")
        self._filename = options.get(b"filename", b"").decode(errors="replace")
        self._text, self._file = bytearray(), None
        if self._name in self._names:  # also bounds the number of files that one form can open
            raise validation_problem("The form has this field twice; send it once", self._name)
        self._names.add(self._name)
        if self._name in self._rules:
            self._file = self._new_file()
        elif self._name not in self._fields:
            known = ", ".join(f"`{name}`" for name in (*self._rules, *self._fields))
            raise validation_problem(f"There is no such field here; there are {known}", self._name)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            self._text_bytes_left -= end - start
            if self._text_bytes_left < 0:
                raise Problem("body_too_large", f"The texts of a form can have {SMALL} bytes together.")
            self._text += data[start:end]
            return
        rule = self._rules[self._name]
        if self._file.size + end - start > rule.limit:
            raise Problem("file_too_large", f"`{self._name}` can have at most {rule.limit} bytes.")
        missing = HEAD_BYTES - len(self._text)
        if missing > 0:
            self._text += data[start : min(end, start + missing)]
            if len(self._text) == HEAD_BYTES:
                rule.check_head(bytes(self._text))
        self._file.write(memoryview(data)[start:end])

    def on_part_end(self) -> None:
        content = sha256(self._text).hexdigest() if self._file is None else self._file.sha256
        self.digest.update(repr((self._name, self._filename, bytes.fromhex(content))).encode())
        if self._file is None:
            try:
                self.form.values[self._name] = self._text.decode()
            except UnicodeDecodeError as error:
                raise validation_problem("This is not UTF-8 text", self._name) from error
            return
        if self._file.size == 0:
            if not self._filename:
                return  # a browser sends this for a file field in which no file was chosen
            raise Problem("empty_file", f"`{self._name}` has no bytes.")
        if self._file.size < HEAD_BYTES:
            self._rules[self._name].check_head(bytes(self._text))
        self.form.files[self._name] = ReceivedFile(self._file, display_name(self._filename))

    def on_end(self) -> None:
        self.ended = True
