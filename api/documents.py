"""What /openapi.json says beyond what the routes' types say: problems, forms, files."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from api import schemas
from api.errors import MEDIA_TYPE, PROBLEMS

ALWAYS = ("internal_error", "unavailable")

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


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these codes (and with those that every route may)."""
    by_status: dict[int, list[str]] = {}
    for code in (*codes, *ALWAYS):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {status: _response(status, found) for status, found in sorted(by_status.items())}


def form(model: type[BaseModel], *, required: tuple[str, ...] = (), **files: str) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes a multipart form: the fields of `model`, and files by description."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    schema["properties"] |= {
        name: {"type": "string", "format": "binary", "description": text} for name, text in files.items()
    }
    schema["required"] = [*required, *schema.get("required", [])]
    encoding = {name: {"contentType": "application/json"} for name in schema["properties"] if name == "options"}
    content = {"schema": schema} | ({"encoding": encoding} if encoding else {})
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes a JSON body."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def file(description: str, *media_types: str) -> dict[str, Any]:
    """One of the `responses` of a route: a file of one of these types."""
    content = {each: {"schema": {"type": "string", "format": "binary"}} for each in media_types}
    return {"description": description, "content": content}


def accepted(what: str) -> dict[str, Any]:
    """The 202 among the `responses` of a route."""
    return {
        "description": "taken in; the work follows",
        "headers": {
            "Location": {"description": f"where {what} is", "schema": {"type": "string"}},
            "Retry-After": {"description": "seconds until it is worth asking", "schema": {"type": "integer"}},
        },
    }


def complete(app: FastAPI) -> None:
    """Makes /openapi.json say that errors are problem details, and not what the framework would answer by itself."""
    framework = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = framework()
            components = described["components"]["schemas"]
            problem = schemas.ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
            components |= problem.pop("$defs")
            components["ProblemDetails"] = problem
            for name in ("HTTPValidationError", "ValidationError"):
                components.pop(name, None)
            for path in described["paths"].values():
                for operation in path.values():
                    if MEDIA_TYPE not in operation["responses"].get("422", {}).get("content", {MEDIA_TYPE: None}):
                        del operation["responses"]["422"]  # an id in a path is any text: nothing to validate
        return app.openapi_schema

    app.openapi = openapi


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
            },
        }
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    described = ", ".join(f"`{code}`" for code in codes)
    return {"description": described, "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}}}
