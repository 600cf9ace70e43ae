"""OpenAPI links: what can be asked for with the ids that an answer holds. Machines follow them (tests/api/test_fuzz.py does)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MADE = ("201", "202")
IDS = {
    "Subject": {"subject_id": "/id", "job_id": "/jobs/0/id"},
    "Video": {"video_id": "/id", "subject_id": "/subject_id", "job_id": "/job/id"},
    "Job": {"job_id": "/id", "subject_id": "/subject_id"},
    "Upload": {"upload_id": "/id"},
    "Webhook": {"webhook_id": "/id"},
    "WebhookWithSecret": {"webhook_id": "/id"},
    "Delivery": {"delivery_id": "/id", "webhook_id": "/webhook_id"},
    "Key": {"key_id": "/id"},
    "NewKey": {"key_id": "/id"},
    "Verification": {"verification_id": "/id"},
}
"""Where in a resource ids stand, by the name of the parameter that takes them."""


def add(described: dict[str, Any]) -> None:
    """Adds links to the answers that tell of something new, and from each list to its first item."""
    operations = [(path, each) for path, methods in described["paths"].items() for each in methods.values()]
    for _, operation in operations:
        for status, answer in operation["responses"].items():
            name, inside = _resource(described, answer)
            if name in IDS and (status in MADE or inside):
                ids = {parameter: f"$response.body#{inside}{place}" for parameter, place in IDS[name].items()}
                answer["links"] = dict(_to(operations, ids))


def _resource(described: dict[str, Any], answer: dict[str, Any]) -> tuple[str, str]:
    """What an answer holds, and where in it: `Subject` and nothing, or `/items/0` in a page of them."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    if not name.startswith("Page_"):
        return name, ""
    items = described["components"]["schemas"][name]["properties"]["items"]["items"]
    return items.get("$ref", "").rpartition("/")[2], "/items/0"


def _to(operations: list[tuple[str, dict[str, Any]]], ids: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operation in operations:
        wanted = re.findall(r"{(\w+)}", path)
        if wanted and set(wanted) <= set(ids):
            parameters = {parameter: ids[parameter] for parameter in wanted}
            yield operation["operationId"], {"operationId": operation["operationId"], "parameters": parameters}
        elif "subject_id" in ids and "subject_id" in _form_fields(operation):
            body = {"subject_id": ids["subject_id"]}
            yield operation["operationId"], {"operationId": operation["operationId"], "requestBody": body}


def _form_fields(operation: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    return content.get("multipart/form-data", {}).get("schema", {}).get("properties", {})
