"""What /openapi.json says beyond what the routes' types say: problems, forms, files."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from api.problems.problems import MEDIA_TYPE
from api.problems.table import PROBLEMS
from api.requests import idempotency, tus
from api.schemas import resources

ALWAYS = ("internal_error", "unavailable")

GATE_CODES = ("unauthorized", "keys_needed", "forbidden", "rate_limited")
"""What any request may be answered with for which a key is needed."""

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
"""What any form with files may be answered with."""

UPLOAD_CODES = ("not_found", "upload_incomplete", "upload_used", "store_away", "object_missing")
"""What a form may be answered with in which an upload can take the place of a file."""


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these codes (and with those that every route may)."""
    by_status: dict[int, list[str]] = {}
    for code in (*codes, *ALWAYS):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {status: _response(status, found) for status, found in sorted(by_status.items())}


def form(model: type[BaseModel], *, either: tuple[str, ...] = (), **files: str) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes a multipart form: the fields of `model`, and files by description.

    Of the fields in `either` exactly one is needed.
    """
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    schema["properties"] |= {
        name: {"type": "string", "format": "binary", "description": text} for name, text in files.items()
    }
    if either:
        schema["oneOf"] = [{"required": [name]} for name in either]
    encoding = {name: {"contentType": "application/json"} for name in schema["properties"] if name == "options"}
    content = {"schema": schema} | ({"encoding": encoding} if encoding else {})
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes a JSON body."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def bytes_body(media_type: str, *, required: bool = True) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes bytes as they are."""
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    return {"requestBody": {"required": required, "content": content}}


def response_with_headers(description: str, **headers: str) -> dict[str, Any]:
    """One of the `responses` of a route: with these headers, by name and description."""
    described = {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}
    return {"description": description, "headers": described}


def file(description: str, *media_types: str) -> dict[str, Any]:
    """One of the `responses` of a route: a file of one of these types."""
    content = {each: {"schema": {"type": "string", "format": "binary"}} for each in media_types}
    return {"description": description, "content": content}


def events(description: str, model: type[BaseModel]) -> dict[str, Any]:
    """One of the `responses` of a route: server-sent events, each with a `model` as its data; the schema is of one event."""
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": f"#/components/schemas/{model.__name__}"},
    }
    event = {
        "type": "object",
        "properties": {
            "event": {"type": "string", "description": "what has changed"},
            "id": {"type": "string", "description": "a number that grows, for Last-Event-ID"},
            "data": data,
        },
    }
    return {"description": description, "content": {"text/event-stream": {"schema": event}}}


def accepted_response(what: str) -> dict[str, Any]:
    """The 202 among the `responses` of a route."""
    return {
        "description": "taken in; the work follows",
        "headers": {
            "Location": {"description": f"where {what} is", "schema": {"type": "string"}},
            "Retry-After": {"description": "seconds until it is worth asking", "schema": {"type": "integer"}},
        },
    }


def customize_openapi(app: FastAPI) -> None:
    """Makes /openapi.json say that errors are problem details, and not what the framework would answer by itself."""
    framework = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = framework()
            components = described["components"]["schemas"]
            problem = resources.ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
            components |= problem.pop("$defs")
            components["ProblemDetails"] = problem
            for name in ("HTTPValidationError", "ValidationError"):
                components.pop(name, None)
            for path in described["paths"].values():
                for method, operation in path.items():
                    if "security" in operation:  # the route takes a CallerDep
                        _add_problems(operation, GATE_CODES)
                    for parameter in operation.get("parameters", []):
                        _forget_null(parameter["schema"])
                        if (
                            parameter["name"] == tus.HEADER
                        ):  # the route takes requests without, to refuse them as tus wants
                            parameter["required"] = True
                            parameter["schema"].pop("default", None)
                    if method == "post":
                        _describe_keys(operation)
                    elif method == "get":
                        _describe_tags(operation)
                    if MEDIA_TYPE not in operation["responses"].get("422", {}).get("content", {MEDIA_TYPE: None}):
                        del operation["responses"]["422"]  # an id in a path is any text: nothing to validate
        return app.openapi_schema

    app.openapi = openapi


def _add_problems(operation: dict[str, Any], codes: tuple[str, ...]) -> None:
    """Adds problems to those that an operation may be answered with."""
    answers = operation["responses"]
    for status, response in problems(*codes).items():
        said = answers.get(str(status), {}).get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
        examples = response["content"][MEDIA_TYPE]["examples"]
        answers[str(status)] = _response(int(status), list(dict.fromkeys([*said, *examples])))


def _forget_null(schema: dict[str, Any]) -> None:
    """Takes null out of the schema of a parameter: it can be left out, but neither headers nor queries have a null."""
    kinds = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema |= kinds[0]


def _describe_tags(operation: dict[str, Any]) -> None:
    """Adds what a tag brings to the answers of a GET of JSON (api/middleware/etag.py)."""
    answers = operation["responses"]
    if "application/json" in answers["200"].get("content", {}):
        tag = {"description": "goes into If-None-Match", "schema": {"type": "string"}}
        answers["200"].setdefault("headers", {})["ETag"] = tag
        answers["304"] = {"description": "not changed since the ETag in If-None-Match"}


def _describe_keys(operation: dict[str, Any]) -> None:
    """Adds what an Idempotency-Key brings to the answers of a POST."""
    _add_problems(operation, idempotency.CODES)
    answers = operation["responses"]
    replayed = {"description": "`true`: the answer to an earlier request with this key", "schema": {"type": "string"}}
    for status, response in answers.items():
        if status.startswith("2"):
            response.setdefault("headers", {})[idempotency.REPLAYED] = replayed


def _response(status: int, codes: list[str]) -> dict[str, Any]:
    examples = {}
    for code in codes:
        kind = PROBLEMS[code]
        examples[code] = {
            "summary": kind.title,
            "value": {
                "type": f"/errors#{code}",
                "title": kind.title,
                "status": status,
                "detail": f"{kind.title}. {kind.remedy}",
                "code": code,
                "remedy": kind.remedy,
            },
        }
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    described = ", ".join(f"`{code}`" for code in codes)
    return {"description": described, "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}}}
