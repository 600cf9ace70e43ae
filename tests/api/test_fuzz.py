"""A short walk through the whole OpenAPI document; the long one is `python -m benchmarks.fuzz`."""

from __future__ import annotations

from benchmarks.fuzz import FuzzResults, fuzz, new_app


def test_every_operation_answers_as_the_document_says(tmp_path):
    results = FuzzResults()
    with new_app(tmp_path) as app:
        fuzz(app, results, seed=1, examples=2, edges=False)
    assert not results.failures
    operations = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    assert set(results.requests) == operations
    answered = {status // 100 for _, status in results.statuses}
    assert answered == {2, 4}
