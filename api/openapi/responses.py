"""What /openapi.json says beyond the types of the routes: problems, forms, files, events."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from api.problems.problems import MEDIA_TYPE
from api.problems.table import PROBLEMS
from api.requests import idempotency, tus
from api.schemas.one_line import PATTERN
from api.schemas.problem_details import ProblemDetails

ALWAYS = ("internal_error", "unavailable")
"""Problem codes of every request."""

ACCESS_CODES = ("unauthorized", "keys_needed", "forbidden", "rate_limited")
"""Problem codes of every request that needs a key."""

JSON_CODES = ("body_too_large", "unsupported_media_type", "upload_stalled", "validation_failed")
"""Problem codes of every JSON body."""

FORM_CODES = (
    "malformed_body",
    "upload_stalled",
    "body_too_large",
    "file_too_large",
    "unsupported_media_type",
    "validation_failed",
    "empty_file",
    "not_media",
    "disk_full",
)
"""Problem codes of every form with files."""

JSON_FIELDS = ("options", "metadata", "face")
"""Text fields of forms that hold JSON."""

UPLOAD_CODES = ("not_found", "upload_incomplete", "upload_used", "store_away", "object_missing")
"""Problem codes of forms that accept an upload in place of a file."""


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Returns the `responses` of a route with these problem codes, and those of every request."""
    by_status: dict[int, list[str]] = {}
    for code in (*codes, *ALWAYS):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {status: _response(status, group) for status, group in sorted(by_status.items())}


def form(model: type[BaseModel], *, either: tuple[str, ...] = (), json: bool = False, **files: str) -> dict[str, Any]:
    """Returns the `openapi_extra` of a route that takes a multipart form.

    Args:
        model: the text fields.
        either: names of fields of which exactly one is needed.
        json: whether JSON without the files is taken as well.
        files: the description of each file, by field name.
    """
    schema = _schema(model)
    without_files = dict(schema)
    if either:
        without_files["oneOf"] = [{"required": [name]} for name in either if name not in files]
    schema["properties"] = {name: _of_form(field) for name, field in schema["properties"].items()} | {
        name: {"type": "string", "format": "binary", "description": text} for name, text in files.items()
    }
    if either:
        schema["oneOf"] = [{"required": [name]} for name in either]
    encoding = {name: {"contentType": "application/json"} for name in JSON_FIELDS if name in schema["properties"]}
    content = {"multipart/form-data": {"schema": schema} | ({"encoding": encoding} if encoding else {})}
    if json:
        content["application/json"] = {"schema": without_files}
    return {"requestBody": {"required": True, "content": content}}


def _of_form(field: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of an optional field without null: a form has none, its fields are left out."""
    options = [option for option in field.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) != 1:
        return field
    return options[0] | {name: value for name, value in field.items() if name not in ("anyOf", "default")}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """Returns the `openapi_extra` of a route that reads a JSON body itself."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _schema(model)}}}}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema


def bytes_body(media_type: str, *, required: bool = True) -> dict[str, Any]:
    """Returns the `openapi_extra` of a route whose body is plain bytes."""
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    return {"requestBody": {"required": required, "content": content}}


def response_with_headers(description: str, **headers: str) -> dict[str, Any]:
    """Returns a response with these headers; `headers` are descriptions by name."""
    described = {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}
    return {"description": description, "headers": described}


def file(description: str, *media_types: str) -> dict[str, Any]:
    """Returns a response that is a file of one of these media types."""
    content = {each: {"schema": {"type": "string", "format": "binary"}} for each in media_types}
    return {"description": description, "content": content}


def events(description: str, model: type[BaseModel]) -> dict[str, Any]:
    """Returns a response of server-sent events with a `model` as their data; the schema describes one event."""
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": f"#/components/schemas/{model.__name__}"},
    }
    event = {
        "type": "object",
        "properties": {
            "event": {"type": "string", "description": "what has changed"},
            "id": {"type": "string", "description": "an increasing number, for Last-Event-ID"},
            "data": data,
        },
    }
    return {"description": description, "content": {"text/event-stream": {"schema": event}}}


def accepted_response(resource: str) -> dict[str, Any]:
    """Returns the response 202 of a route; `resource` names what Location points at."""
    return {
        "description": "accepted; the work follows",
        "headers": {
            "Location": {"description": f"where {resource} is", "schema": {"type": "string"}},
            "Retry-After": {"description": "seconds to wait before the next request", "schema": {"type": "integer"}},
        },
    }


def customize_openapi(app: FastAPI) -> None:
    """Extends /openapi.json by what FastAPI cannot know: problem details, ETags, and Idempotency-Keys."""
    framework_openapi = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = framework_openapi()  # sets app.openapi_schema, to the same dict
            _replace_error_schemas(document["components"]["schemas"])
            _narrow_labels(document["components"]["schemas"])
            for operations in document["paths"].values():
                for method, operation in operations.items():
                    _customize_operation(method, operation)
        return app.openapi_schema

    app.openapi = openapi


def _replace_error_schemas(schemas: dict[str, Any]) -> None:
    """Adds the schema of problem details, and removes those of FastAPI's own errors."""
    problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs")
    schemas["ProblemDetails"] = problem
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def _narrow_labels(schemas: dict[str, Any]) -> None:
    """Gives labels the pattern that requests must match; videos of earlier versions may have others."""
    for branch in schemas["RenderOptions"]["properties"]["label"]["anyOf"]:
        if branch["type"] == "string":
            branch["pattern"] = PATTERN


def _customize_operation(method: str, operation: dict[str, Any]) -> None:
    if "security" in operation:  # the route takes a CallerDep
        _add_problems(operation, ACCESS_CODES)
    for parameter in operation.get("parameters", []):
        _remove_null(parameter["schema"])
        # Optional for FastAPI only, because tus wants a status of its own if it is missing.
        if parameter["name"] == tus.HEADER:
            parameter["required"] = True
            parameter["schema"].pop("default", None)
    if method == "post":
        _describe_idempotency(operation)
    elif method == "get":
        _describe_etag(operation)
    if MEDIA_TYPE not in operation["responses"].get("422", {}).get("content", {MEDIA_TYPE: None}):
        del operation["responses"]["422"]  # FastAPI adds it for ids in the path; any text is valid there


def _add_problems(operation: dict[str, Any], codes: tuple[str, ...]) -> None:
    """Adds problem codes to the responses of an operation."""
    responses = operation["responses"]
    for status, response in problems(*codes).items():
        present = responses.get(str(status), {}).get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
        added = response["content"][MEDIA_TYPE]["examples"]
        responses[str(status)] = _response(int(status), list(dict.fromkeys([*present, *added])))


def _remove_null(schema: dict[str, Any]) -> None:
    """Removes null from the schema of an optional parameter: headers and queries have no null, they are just left out."""
    types = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    if len(types) == 1:
        del schema["anyOf"]
        schema |= types[0]


def _describe_etag(operation: dict[str, Any]) -> None:
    """Adds the ETag and 304 to a GET that returns JSON (api/middleware/etag.py)."""
    responses = operation["responses"]
    if "application/json" in responses["200"].get("content", {}):
        etag = {"description": "for If-None-Match", "schema": {"type": "string"}}
        responses["200"].setdefault("headers", {})["ETag"] = etag
        responses["304"] = {"description": "not changed since the ETag in If-None-Match"}


def _describe_idempotency(operation: dict[str, Any]) -> None:
    """Adds the problems and the header of Idempotency-Keys to a POST."""
    _add_problems(operation, idempotency.CODES)
    replayed = {
        "description": "`true`: this is the stored response to an earlier request with this key",
        "schema": {"type": "string"},
    }
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            response.setdefault("headers", {})[idempotency.REPLAYED] = replayed


def _response(status: int, codes: list[str]) -> dict[str, Any]:
    examples = {}
    for code in codes:
        problem = PROBLEMS[code]
        examples[code] = {
            "summary": problem.title,
            "value": {
                "type": f"/errors#{code}",
                "title": problem.title,
                "status": status,
                "detail": f"{problem.title}. {problem.remedy}",
                "code": code,
                "remedy": problem.remedy,
            },
        }
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    description = ", ".join(f"`{code}`" for code in codes)
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}}}
