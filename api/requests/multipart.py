"""Multipart forms, streamed part by part to disk.

A framework's own form parser takes in the whole body before a route sees it, and its size limits leave files out. Here
each part is judged while it arrives: an unknown field, a file beyond its limit or a text file named .mp4 ends the
request at once. Memory stays flat. Files have no name on disk until the store takes them in, so that nothing is left
behind by a request that breaks off, nor by a process that is killed.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import anyio
from fastapi import Request
from pydantic import BaseModel, ValidationError
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from api.problems.problems import Problem, from_validation, validation_problem

SMALL = 1 << 20
"""Bytes that a body may have beside its files."""

HEAD = 4096
"""Bytes of a file that its first look sees."""

STALL_S = 60.0
"""Seconds without a byte after which a sender is taken for gone."""

Model = TypeVar("Model", bound=BaseModel)


class FileRule(NamedTuple):
    """What one file of a form may be: at most `limit` bytes; `look` gets its first bytes and raises a Problem."""

    limit: int
    look: Callable[[bytes], None]


class ReceivedFile(NamedTuple):
    """A file that was sent, open for reading until the request ends. `name` is its `display_name`."""

    file: BinaryIO
    name: str
    size: int


@dataclass
class Form:
    """What a form held: text by field name, files by field name."""

    values: dict[str, str] = field(default_factory=dict)
    files: dict[str, ReceivedFile] = field(default_factory=dict)

    def file(self, name: str) -> ReceivedFile:
        """A file that must be there. Raises Problem `validation_failed`."""
        if name not in self.files:
            raise validation_problem("Field required: send the file as a part of this name", name)
        return self.files[name]

    def parse(self, model: type[Model]) -> Model:
        """The text fields as a pydantic model. Raises Problem `validation_failed`."""
        try:
            return model.model_validate(self.values)
        except ValidationError as error:
            raise from_validation(error.errors()) from error


@asynccontextmanager
async def parse_multipart(
    request: Request, *, fields: Collection[str], files: Mapping[str, FileRule], folder: Path
) -> AsyncIterator[Form]:
    """Reads a multipart body; its files are nameless ones on the disk of `folder`, open until the block ends.

    Raises Problem `unsupported_media_type`, `malformed_body`, `body_too_large`, `file_too_large`, `upload_stalled`,
    `validation_failed` (unknown or repeated fields), `empty_file`, `disk_full`, or what a rule's `look` raises.
    """
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data":
        message = "A form with files is needed here."
        raise Problem("unsupported_media_type", message, remedy="Send multipart/form-data, as `curl -F` does.")
    limit = sum(rule.limit for rule in files.values()) + SMALL
    folder.mkdir(parents=True, exist_ok=True)
    if 2 * content_length(request) > shutil.disk_usage(folder).free:  # twice: the store makes a copy of its own
        raise Problem("disk_full")
    with ExitStack() as open_files:
        parts = _MultipartHandler(
            fields, files, lambda: open_files.enter_context(tempfile.TemporaryFile(buffering=0, dir=folder))
        )
        try:
            parser = MultipartParser(options.get(b"boundary", b""), parts.callbacks())
            async for chunk in body_chunks(
                request, limit, Problem("file_too_large", f"At most {limit} bytes are taken.")
            ):
                await anyio.to_thread.run_sync(parser.write, chunk)  # disk and parser stay off the event loop
        except FormParserError as error:
            raise Problem("malformed_body", "This is no well-formed multipart body.") from error
        if not parts.ended:
            raise Problem("malformed_body", "The multipart body ends before its last boundary.")
        request.state.body_digest = parts.digest.hexdigest()  # for api/requests/idempotency.py
        yield parts.form


def content_length(request: Request) -> int:
    """Bytes that the sender means to send, 0 where it does not say."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def display_name(name: str) -> str:
    """What a sender calls a file, only to show: no folders, no control characters, at most 200 characters, perhaps empty."""
    return "".join(filter(str.isprintable, re.split(r"[/\\]", name)[-1]))[:200]


async def body_chunks(request: Request, limit: int, too_large: Problem) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises Problem `upload_stalled`, and beyond `limit` bytes `too_large`: before the first byte
    where the sender says how many there are."""
    if content_length(request) > limit:
        raise too_large
    stream = request.stream()
    received = 0
    while True:
        try:
            with anyio.fail_after(STALL_S):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            raise Problem("upload_stalled", f"Nothing came for {STALL_S:.0f} s.") from error
        if chunk is None:
            return
        received += len(chunk)
        if received > limit:
            raise too_large
        yield chunk


class _MultipartHandler:
    """The parser's callbacks: each part goes into `form`, its files into what `new_file` opens."""

    def __init__(self, fields: Collection[str], files: Mapping[str, FileRule], new_file: Callable[[], BinaryIO]):
        self.form = Form()
        self.ended = False
        self.digest = sha256()  # of what the form says; the boundary, which each sending draws anew, is no part of it
        self._fields, self._rules, self._new_file = fields, files, new_file
        self._room = SMALL  # for all text together
        self._header, self._headers = (bytearray(), bytearray()), {}
        self._name, self._filename, self._seen = "", "", set()
        self._text = bytearray()  # a text field's value, or the head of a file
        self._size = 0
        self._file: BinaryIO | None = None

    def callbacks(self) -> dict[str, Callable]:
        names = "part_begin header_field header_value header_end headers_finished part_data part_end end"
        return {f"on_{name}": getattr(self, f"_{name}") for name in names.split()}

    def _part_begin(self) -> None:
        self._headers = {}

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = options.get(b"name", b"").decode(errors="replace")
        self._filename = options.get(b"filename", b"").decode(errors="replace")
        self._text, self._size = bytearray(), 0
        self._content = sha256()
        if self._name in self._seen:  # also bounds how many files one form can open
            raise validation_problem("The form has this field twice; send it once", self._name)
        self._seen.add(self._name)
        if self._name in self._rules:
            self._file = self._new_file()
        elif self._name not in self._fields:
            known = ", ".join(f"`{name}`" for name in (*self._rules, *self._fields))
            raise validation_problem(f"There is no such field here; there are {known}", self._name)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        size = self._size = self._size + end - start
        self._content.update(memoryview(data)[start:end])
        if self._file is None:
            self._room -= end - start
            if self._room < 0:
                raise Problem("body_too_large", f"The text of a form may have {SMALL} bytes.")
            self._text += data[start:end]
            return
        rule = self._rules[self._name]
        if size > rule.limit:
            raise Problem("file_too_large", f"`{self._name}` may have at most {rule.limit} bytes.")
        unseen = HEAD - len(self._text)
        if unseen > 0:
            self._text += data[start : min(end, start + unseen)]
            if len(self._text) == HEAD:
                rule.look(bytes(self._text))
        rest = memoryview(data)[start:end]
        while rest:  # an unbuffered write may take a part only
            rest = rest[self._file.write(rest) :]

    def _part_end(self) -> None:
        self.digest.update(repr((self._name, self._filename, self._content.digest())).encode())
        if self._file is None:
            try:
                self.form.values[self._name] = self._text.decode()
            except UnicodeDecodeError as error:
                raise validation_problem("This is not UTF-8 text", self._name) from error
            return
        file, self._file = self._file, None
        if self._size == 0:
            if not self._filename:
                return  # how a browser sends a file field in which nothing was chosen
            raise Problem("empty_file", f"`{self._name}` has no bytes.")
        if self._size < HEAD:
            self._rules[self._name].look(bytes(self._text))
        file.seek(0)
        self.form.files[self._name] = ReceivedFile(file, display_name(self._filename), self._size)

    def _end(self) -> None:
        self.ended = True
