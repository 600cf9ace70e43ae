"""JSON that clients send: as a body of its own, or as a text field of a form.

Types are those of JSON Schema, so that /openapi.json describes exactly what is accepted: `false` and "5" are not numbers,
and 5.0 is an integer.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema, from_json, to_json
from python_multipart.multipart import parse_options_header

from api.problems.problems import Problem, from_validation
from api.requests.multipart import body_chunks

Model = TypeVar("Model", bound=BaseModel)

JSON_BYTES = 64 << 10
"""Bytes (or characters) of one JSON text. The longest legitimate ones have a few kilobytes; parsing and validating this many takes
milliseconds, in which the event loop answers nobody else."""
JSON_VALUES = 1000
"""Values (objects, arrays and the rest) of one JSON text: the longest legitimate ones have a hundred. The time to check a text depends
on them more than on its bytes."""
EXACT = 1 << 53
"""Floats below this are exact, so those without a fraction can stand for integers. The largest floats have 300 digits."""


async def read_json(request: Request, limit: int = JSON_BYTES) -> bytes:
    """Reads a JSON body, and records its digest for api/requests/idempotency.py.

    Raises Problem `unsupported_media_type`, `body_too_large` (more than `limit` bytes) or `upload_stalled`.
    """
    media_type, _ = parse_options_header(request.headers.get("content-type"))
    if media_type != b"application/json":
        raise Problem(
            "unsupported_media_type", "This request takes JSON.", remedy="Send Content-Type: application/json."
        )
    body = bytearray()
    too_large = Problem("body_too_large", f"A JSON body may have {limit} bytes.")
    async for chunk in body_chunks(request, limit, too_large):
        body += chunk
    request.state.body_digest = sha256(body).hexdigest()
    return bytes(body)


def parse_json(text: str | bytes, *field: str, limit: int = JSON_BYTES, values: int = JSON_VALUES) -> Any:
    """Parses JSON; floats without a fraction become integers.

    Args:
        text: the JSON.
        field: the name of the form field that holds it; empty if it is the whole body.
        limit: of its length, bytes (or characters).
        values: limit of the values in it; an empty object or array may count as two.

    Raises:
        Problem: `body_too_large`, if `text` is longer than that, or a body has more values; `validation_failed`, if it is not JSON, or a field
            has more values.
    """
    if len(text) > limit:
        raise Problem("body_too_large", f"JSON may have {limit} bytes.")
    if _has_more_values(text.encode(errors="replace") if isinstance(text, str) else text, values):
        message = f"JSON may have {values} values"
        if field:
            raise from_validation([{"loc": (), "msg": message}], *field)
        raise Problem("body_too_large", f"{message}.", remedy="Leave out what the request does not name.")
    try:
        value = from_json(text)
    except ValueError as error:
        raise from_validation([{"loc": (), "msg": f"Invalid JSON: {error}"}], *field) from error
    return _whole_numbers(value)


def validate_json(model: type[Model], text: str | bytes, *field: str, **limits: int) -> Model:
    """Parses JSON and validates it as a `model`; arguments and errors are those of `parse_json`."""
    value = parse_json(text, *field, **limits)
    try:
        return model.model_validate_json(to_json(value), strict=True)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        raise from_validation(errors, *field, value=value) from error


def _has_more_values(text: bytes, most: int) -> bool:
    """Whether JSON has more values than `most`, found without parsing it: that takes the time, and other threads wait meanwhile."""
    if _values(text) <= most:
        return False  # Counted with the commas and brackets in strings.
    text = text.replace(rb"\\", b"").replace(rb"\"", b"")
    if text.count(b'"') > 4 * most:
        return True  # A value has two strings at most: its name and itself.
    return _values(b"".join(text.split(b'"')[::2])) > most


def _values(text: bytes) -> int:
    """At least the number of values: each follows a comma or an opening bracket, but for the first."""
    return 1 + sum(text.count(each) for each in (b",", b"{", b"["))


def _whole_numbers(value: Any) -> Any:
    """Replaces 5.0 by 5, at any depth."""
    if isinstance(value, dict):
        return {name: _whole_numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and abs(value) < EXACT and value.is_integer() else value


class _StrictJson:
    """Validates a body that FastAPI has parsed as JSON again, by `validate_json`.

    FastAPI validates Python values. In Python mode pydantic either accepts more than /openapi.json says ("5" as a number)
    or, if strict, less (no dates, which come as strings), and words its messages in Python's terms.
    """

    def __get_pydantic_core_schema__(self, model: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: Any, _: core_schema.ValidatorFunctionWrapHandler) -> BaseModel:
            return validate_json(model, to_json(value))  # a Problem is no ValueError: it passes through pydantic

        return core_schema.no_info_wrap_validator_function(validate, handler(model))


JsonBody = Annotated[Model, _StrictJson()]
"""The type of a route's JSON body: `patch: JsonBody[SubjectPatch]`."""
