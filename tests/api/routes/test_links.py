"""Signed links: players and downloads read one file without a key."""

from contextlib import closing
from datetime import datetime, timedelta

import httpx
import pytest

from api import auth
from api.services import signed_links
from storage.database.engine import Database
from storage.database.models import Key, now
from storage.errors import Unauthorized
from storage.local_token import load_or_create
from storage.tables import api_keys
from tests.api.conftest import check_problem


@pytest.fixture
def video(make):
    return make.ready_video(make.ready_subject(), b"film")


def keyed(app, **key):
    """The id and the header of a new key."""
    with app.state.database.session() as session:
        row, token = api_keys.create(session, **{"owner": "local", "name": "a", "scopes": ["read"]} | key)
        return row.id, {"Authorization": f"Bearer {token}"}


def link(client, path, headers):
    answer = client.get("/v1/links", params={"path": path}, headers=headers)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    return answer.json()


def test_a_link_reads_one_file_until_its_key_ends(client, app, video):
    path = video["links"]["file"]
    key_id, headers = keyed(app)
    made = link(client, path, headers)
    half_a_day = timedelta(seconds=signed_links.LIFE_S)
    assert abs(datetime.fromisoformat(made["expires_at"]) - now() - half_a_day) < timedelta(minutes=1)
    answer = client.get(made["url"] + "&name=Ann.mp4", headers={"Range": "bytes=1-2"})
    assert (answer.status_code, answer.content) == (206, b"il") and "Ann.mp4" in answer.headers["content-disposition"]
    assert client.head(made["url"]).status_code == 200
    query = httpx.URL(made["url"]).query.decode()
    for wrong in (
        f"{video['links']['self']}/thumbnail?{query}",  # another file
        f"{video['links']['self']}?{query}",
        made["url"][:-2],
        made["url"].replace(".1", ".2", 1),  # a later end
        f"{path}?access=",
        f"{path}?access={key_id}.9.é",
    ):
        check_problem(client.get(wrong), "unauthorized")
    check_problem(client.post(made["url"]), "unauthorized")
    with app.state.database.session() as session:
        viewer = auth.caller_of(session.get(Key, key_id))  # of a download in progress
        auth.require_valid(session, viewer)
        api_keys.rotate(session, key_id)
        with pytest.raises(Unauthorized):
            auth.require_valid(session, viewer)
    check_problem(client.get(made["url"]), "unauthorized")


def test_a_link_expires_and_is_of_its_owner(client, app, video, monkeypatch):
    path = video["links"]["file"]
    _, headers = keyed(app)
    _, others = keyed(app, owner="ben")
    check_problem(client.get(link(client, path, others)["url"]), "not_found")
    monkeypatch.setattr(signed_links, "LIFE_S", 0)
    check_problem(client.get(link(client, path, headers)["url"]), "unauthorized")
    for wrong in ("/v1/keys", "/metrics", f"{path}?a=b", "/v1/subjects/../keys", "/v1/jobs/job_1/events"):
        check_problem(client.get("/v1/links", params={"path": wrong}, headers=headers), "validation_failed")


def test_the_local_token_signs_until_there_are_keys(client, app, settings, video):
    path = video["links"]["file"]
    made = link(client, path, {"Authorization": f"Bearer {load_or_create(settings.data_dir)}"})
    forwarded = {"Via": "1.1 proxy"}
    check_problem(client.get(path, headers=forwarded), "keys_needed")
    assert client.get(made["url"], headers=forwarded).content == b"film"
    keyed(app)
    check_problem(client.get(made["url"]), "unauthorized")


def test_a_bundle_needs_the_right_to_write(client, app, make):
    path = f"{make.subject()['links']['self']}/export"
    _, reader = keyed(app)
    check_problem(client.get(link(client, path, reader)["url"]), "forbidden")
    _, writer = keyed(app, scopes=["read", "write"])
    check_problem(client.get(link(client, path, writer)["url"]), "subject_not_ready")


def test_a_link_of_no_possible_key_is_refused_by_postgresql_too(settings, postgresql_url):
    with closing(Database(postgresql_url)) as database, database.session(write=False) as session:
        for text in ("\0.1.a", "key_\0.9.a", f"{'k' * 5000}.9999999999.a"):
            with pytest.raises(Unauthorized):
                signed_links.holder(session, settings, "/v1/videos/vid_1/file", text)
