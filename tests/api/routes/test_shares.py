"""Links by which everybody can watch a video: what they show, to whom, and how they are closed."""

import io
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import update

from api.app import create_app
from api.middleware import request_log
from storage.database.models import Share, Video, now
from storage.tables import api_keys, shares
from tests.api.conftest import Maker, check_problem, serving


@pytest.fixture
def video(client, make):
    return make.ready_video(make.ready_subject(), b"film", title="Tom & <Ann>")


@pytest.fixture
def shared(client, video):
    answer = client.post(f"/v1/videos/{video['id']}/shares", json={"expires_in_s": 3600})
    assert answer.status_code == 201
    return answer.json()


def closed(client, url):
    page = client.get(url)
    assert page.status_code == 404
    assert "expired or was revoked" in page.text
    assert client.get(f"{url}/video").status_code == 404
    return True


def test_a_link_shows_one_video_to_everybody_and_other_pages_may_embed_it(client, app, video, shared):
    assert shared["only_here"]  # a service without keys answers this machine only
    with app.state.database.session() as session:
        _, token = api_keys.create(session, owner="local", name="first", scopes=["read", "write"])
    with httpx.Client(base_url=client.base_url) as stranger:
        page = stranger.get(shared["url"])
        assert page.status_code == 200
        assert "Tom &amp; &lt;Ann&gt;" in page.text and "AI-generated" in page.text
        assert not {video["id"], video["subject_id"], "local"} & set(page.text.replace('"', "/").split("/"))
        assert "frame-ancestors *" in page.headers["content-security-policy"]
        # One script, which stops a player whose link is closed.
        assert "script-src 'self';" in page.headers["content-security-policy"]
        assert "x-frame-options" not in page.headers
        assert page.headers["x-robots-tag"] == "noindex, nofollow"
        part = stranger.get(f"{shared['url']}/video", headers={"Range": "bytes=1-2"})
        assert (part.status_code, part.content, part.headers["content-type"]) == (206, b"il", "video/mp4")
        assert part.headers["content-disposition"].startswith("inline")
        assert part.headers["cache-control"] == "private, no-store" and "noindex" in part.headers["x-robots-tag"]
        assert stranger.get(f"{shared['url']}/poster").status_code == 404
        assert stranger.get(video["links"]["file"]).status_code == 401
    answer = client.get(f"/v1/videos/{video['id']}/shares", headers={"Authorization": f"Bearer {token}"})
    assert [each["only_here"] for each in answer.json()["items"]] == [False]


def test_the_page_has_a_poster_and_captions_where_there_are_some_and_speaks_german(client, app, video, shared):
    folder = f"subjects/{video['subject_id']}/videos/{video['id']}"
    keys = {
        f"{name}_key": app.state.store.put(f"{folder}/1.{suffix}", io.BytesIO(name.encode())).key
        for name, suffix in (("thumbnail", "jpg"), ("captions", "vtt"))
    }
    with app.state.database.session() as session:
        session.execute(update(Video).where(Video.id == video["id"]).values(keys))
    page = client.get(shared["url"], headers={"Accept-Language": "fr, de-CH;q=0.8"})
    assert 'lang="de"' in page.text and "KI-generiert" in page.text and "<track" in page.text
    assert client.get(f"{shared['url']}/poster").content == b"thumbnail"
    assert client.get(f"{shared['url']}/captions").headers["content-type"].startswith("text/vtt")


def test_a_link_ends_when_it_is_revoked_or_expires_or_the_video_goes(client, app, video, shared, monkeypatch):
    path = f"/v1/videos/{video['id']}"
    again = client.post(f"{path}/shares", json={}).json()
    assert [each["url"] for each in client.get(f"{path}/shares").json()["items"]] == [again["url"], shared["url"]]
    assert client.delete(f"{path}/shares/{again['id']}").status_code == 204
    assert closed(client, again["url"])
    assert client.get(shared["url"]).status_code == 200
    client.post(f"{path}/trash")
    assert closed(client, shared["url"])
    check_problem(client.post(f"{path}/shares", json={}), "in_trash")
    client.post(f"{path}/restore")
    assert client.get(shared["url"]).status_code == 200
    with app.state.database.session() as session:
        session.execute(update(Share).values(expires_at=now() - timedelta(seconds=1)))
    assert closed(client, shared["url"])
    assert client.get(f"{path}/shares").json()["items"] == []
    monkeypatch.setattr(shares, "MOST", 1)
    assert client.post(f"{path}/shares", json={}).status_code == 201
    check_problem(client.post(f"{path}/shares", json={}), "too_many_shares")


def test_the_log_does_not_open_links(client, shared, caplog):
    with caplog.at_level("INFO"):
        client.get(shared["url"])
        client.get("/s/short")
    records = [record for record in caplog.records if record.name == request_log.__name__]
    assert [record.message for record in records][-2:] == ["GET /s/{token} 200", "GET /s/{token} 404"]
    assert not any("token" in vars(record) for record in records)


def test_nobody_guesses_or_prolongs_a_link(client, app, video, shared):
    number, _, signature = shared["url"].removeprefix("/s/").partition(".")
    for token in (number, f"{number}.", f"{number}.{signature[:-1]}", f"{number}.{'A' * len(signature)}", "x.é", "."):
        assert client.get(f"/s/{token}").status_code == 404, token
    with app.state.database.session() as session:
        session.execute(update(Share).values(expires_at=now() + timedelta(days=1)))
    assert closed(client, shared["url"])  # the signature covers the time


def test_a_withdrawal_closes_links_and_what_is_not_ready_is_not_shared(client, make, video, shared):
    client.post(f"/v1/subjects/{video['subject_id']}/withdraw-consent", json={})
    assert closed(client, shared["url"])
    check_problem(client.post(f"/v1/videos/{video['id']}/shares", json={}), "consent_withdrawn")
    waiting = make.video(make.ready_subject())
    check_problem(client.post(f"/v1/videos/{waiting['id']}/shares", json={}), "video_not_ready")
    check_problem(client.post(f"/v1/videos/{video['id']}/shares", json={"expires_in_s": 5}), "validation_failed")


def test_a_file_in_a_bucket_is_sent_by_the_service(settings, s3_settings):
    """A signed link would be valid after the share is closed, and its path names the subject."""
    app = create_app(settings.replace(**s3_settings))
    with serving(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        make = Maker(client, app)
        video = make.ready_video(make.ready_subject(), b"film")
        shared = client.post(f"/v1/videos/{video['id']}/shares", json={}).json()
        assert client.get(video["links"]["file"]).status_code == 307
        answer = client.get(f"{shared['url']}/video")
        assert (answer.status_code, answer.content) == (200, b"film")
