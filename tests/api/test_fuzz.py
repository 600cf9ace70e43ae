"""A short walk through the whole OpenAPI document; the long one is `python -m benchmarks.fuzz`."""

from __future__ import annotations

from benchmarks.fuzz import Found, fuzz, new_app


def test_every_operation_answers_as_the_document_says(tmp_path):
    found = Found()
    with new_app(tmp_path) as app:
        fuzz(app, found, seed=1, examples=2, edges=False)
    assert not found.failures
    operations = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    assert set(found.requests) == operations
    answered = {status // 100 for _, status in found.statuses}
    assert answered == {2, 4}
