"""The files of subjects: preview, report, footage and view sheet."""

from __future__ import annotations

import io

from tests.api.conftest import VIDEO, check_problem


def test_the_preview_comes_with_training(client, make):
    subject = make.subject()
    path = f"{subject['links']['self']}/preview"
    assert subject["links"]["preview"] is None
    check_problem(client.get(path), "preview_not_ready")
    make.succeed(dataset_key="d")
    key = make.store.put(f"subjects/{subject['id']}/preview-1.jpg", io.BytesIO(b"\xff\xd8\xff picture")).key
    make.publish(preview_key=key)
    assert client.get(subject["links"]["self"]).json()["links"]["preview"] == path
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content == b"\xff\xd8\xff picture"
    again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304 and again.content == b""
    assert client.head(path).headers["content-length"] == str(len(answer.content))


def test_the_report_exists_after_training_and_is_sandboxed(client, make):
    subject = make.subject()
    path = f"{subject['links']['self']}/report"
    assert subject["links"]["report"] is None
    check_problem(client.get(path), "report_not_ready")
    make.succeed(dataset_key="d")
    key = make.store.put(f"subjects/{subject['id']}/reports/1.html", io.BytesIO("<p>Grüße</p>".encode())).key
    make.succeed(run_key="r", report_key=key)
    assert client.get(subject["links"]["self"]).json()["links"]["report"] == path
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text == "<p>Grüße</p>"
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"sandbox", "default-src 'none'", "img-src data:", "frame-ancestors 'none'"} <= set(policy)
    assert not [rule for rule in policy if rule.startswith("script-src") or "allow-scripts" in rule]
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304 and again.content == b""
    assert client.head(path).headers["content-length"] == str(len(answer.content))
    check_problem(client.get("/v1/subjects/sub_0/report"), "not_found")


def test_the_footage_can_be_watched_until_consent_is_withdrawn(client, make):
    subject = make.subject()
    path = subject["links"]["footage"]
    answer = client.get(path)
    assert (answer.status_code, answer.content) == (200, VIDEO)
    part = client.get(path, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, VIDEO[2:6])
    client.post(f"{subject['links']['self']}/withdraw-consent", json={})
    check_problem(client.get(path), "consent_withdrawn")
    assert client.get(subject["links"]["self"]).json()["links"]["footage"] is None


def test_files_of_one_name_have_an_etag_for_each_subject(client, make):
    first, second = (client.head(make.subject()["links"]["footage"]).headers["etag"] for _ in range(2))
    assert first != second
    assert len(first.strip('"')) < 64  # clients take that for the digest of the content


def test_the_view_sheet_exists_after_training_with_its_layout(client, make):
    subject = make.subject()
    path = f"{subject['links']['self']}/views"
    assert subject["links"]["views"] is subject["views"] is None
    check_problem(client.get(path), "views_not_ready")
    make.succeed(dataset_key="d")
    key = make.store.put(f"subjects/{subject['id']}/views/1.jpg", io.BytesIO(b"\xff\xd8\xff sheet")).key
    layout = {"columns": 3, "rows": 1, "yaw_deg": [-12.5, 0.0, 13.0], "pitch_deg": [0.0], "tile_px": 128}
    make.succeed(run_key="r", views_key=key, views=layout)
    shown = client.get(subject["links"]["self"]).json()
    assert (shown["views"], shown["links"]["views"]) == (layout | {"masks": False}, path)
    answer = client.get(path)
    assert (answer.headers["content-type"], answer.content) == ("image/jpeg", b"\xff\xd8\xff sheet")
    again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304 and again.content == b""
    check_problem(client.get("/v1/subjects/sub_0/views"), "not_found")
    client.post(f"{subject['links']['self']}/withdraw-consent", json={})
    check_problem(client.get(path), "consent_withdrawn")
