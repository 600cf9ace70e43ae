"""If-Match: changes and deletions of what the client has seen, and of nothing else."""

from __future__ import annotations

import pytest

from storage.tables import api_keys
from tests.api.conftest import check_problem

HOOK = {"url": "https://93.184.215.14/hook"}  # public, and no name to look up


def change(client, path, name, etag):
    return client.patch(path, json={"name": name}, headers={"If-Match": etag})


def test_a_change_of_what_the_client_has_read_is_made_and_of_another_version_refused(client, make):
    path = make.subject()["links"]["self"]
    first = client.get(path).headers["etag"]
    assert change(client, path, "Berta", f'"other", {first}').json()["name"] == "Berta"
    refused = change(client, path, "Cleo", first)
    check_problem(refused, "precondition_failed")
    assert client.get(path).json()["name"] == "Berta"
    second = client.get(path).headers["etag"]
    check_problem(change(client, path, "Cleo", f"W/{second}"), "precondition_failed")  # strong comparison
    assert change(client, path, "Cleo", second).json()["name"] == "Cleo"
    assert change(client, path, "Dora", "*").json()["name"] == "Dora"


@pytest.mark.parametrize("kind", ["subject", "video", "webhook"])
def test_what_has_changed_is_not_deleted(client, make, kind):
    if kind == "webhook":
        path = client.post("/v1/webhooks", json=HOOK).json()["links"]["self"]
    else:
        subject = make.ready_subject()
        path = (subject if kind == "subject" else make.video(subject))["links"]["self"]
    check_problem(client.delete(path, headers={"If-Match": '"stale"'}), "precondition_failed")
    etag = client.get(path).headers["etag"]
    assert client.delete(path, headers={"If-Match": etag}).status_code == 204
    check_problem(client.delete(path, headers={"If-Match": etag}), "not_found")


def test_the_condition_shows_nothing_of_other_owners(client, make, app):
    path = make.subject()["links"]["self"]
    with app.state.database.session() as session:
        _, token = api_keys.create(session, owner="mallory", name="k", scopes=["read", "write"])
    client.headers["Authorization"] = f"Bearer {token}"
    for etag in ('"guess"', "*"):
        check_problem(client.delete(path, headers={"If-Match": etag}), "not_found")
