"""What every answer tells browsers, and whose pages may use the service."""

from __future__ import annotations

import re

import httpx
import pytest

from api.app import create_app
from api.middleware.security_headers import HEADERS
from tests.api.conftest import serving


def policy(answer) -> dict[str, set[str]]:
    """The Content-Security-Policy by directive."""
    parts = [part.split() for part in answer.headers["content-security-policy"].split(";")]
    return {name: set(values) for name, *values in parts}


def test_every_answer_has_the_headers(client, make, monkeypatch):
    subject = make.ready_subject()
    video = make.ready_video(subject, b"film")

    def broken(*_):
        raise RuntimeError

    paths = [
        "/",
        "/docs",
        "/errors",
        "/openapi.json",
        "/healthz",
        "/metrics",
        "/v1/subjects",
        "/v1/nothing",
        "/nothing",
    ]
    answers = [client.get(path) for path in [*paths, subject["links"]["self"], video["links"]["file"]]]
    answers += [client.post("/v1/subjects"), client.delete("/docs"), client.options("/v1/subjects")]
    monkeypatch.setattr("api.responses.serializers.subjects", broken)
    answers.append(client.get("/v1/subjects"))
    assert {answer.status_code for answer in answers} >= {200, 404, 405, 415, 500}
    for answer in answers:
        for name in HEADERS:
            assert name in answer.headers, answer.url
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "microphone=(self)" in answer.headers["permissions-policy"]
        directives = policy(answer)
        assert directives["default-src"] == {"'none'"} and directives["frame-ancestors"] == {"'none'"}
        assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "https:"} & directives.get("script-src", set())
        assert "access-control-allow-origin" not in answer.headers
        assert "strict-transport-security" not in answer.headers  # the proxy's business


@pytest.mark.parametrize("path", ["/", "/docs", "/errors"])
def test_pages_load_nothing_from_elsewhere_and_hold_no_script(client, path):
    answer = client.get(path)
    directives = policy(answer)
    for place in re.findall(r'(?:src|href)="([^"#]+)"', answer.text):
        assert place.startswith("/") and not place.startswith("//"), place
        assert client.get(place).status_code == 200, place
    assert "<script>" not in answer.text and "javascript:" not in answer.text
    for values in directives.values():
        assert values <= {"'self'", "'none'", "'unsafe-inline'", "data:", "blob:"} | {
            value for value in values if value.startswith("'sha256-")
        }


def test_pages_of_other_sites_are_let_in_where_the_settings_name_them(settings):
    friend, stranger = "https://studio.example", "https://evil.example"
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key"}
    app = create_app(settings.replace(cors_origins=f"https://other.example, {friend}"))
    with serving(app) as url, httpx.Client(base_url=url) as client:
        allowed = client.options("/v1/subjects", headers={"Origin": friend} | asking)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == friend
        assert "Idempotency-Key" in allowed.headers["access-control-allow-headers"]
        refused = client.options("/v1/subjects", headers={"Origin": stranger} | asking)
        assert refused.status_code == 400 and "access-control-allow-origin" not in refused.headers
        answer = client.get("/healthz", headers={"Origin": friend})
        assert "ETag" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-origin" not in client.get("/healthz", headers={"Origin": stranger}).headers


def test_without_that_setting_no_other_site_is_answered(client):
    asking = {"Origin": "https://studio.example", "Access-Control-Request-Method": "POST"}
    answer = client.options("/v1/subjects", headers=asking)
    assert answer.status_code >= 400
    assert not [name for name in answer.headers if name.startswith("access-control")]
