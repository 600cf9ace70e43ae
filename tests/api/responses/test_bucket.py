"""The API with an object store in a bucket: files are stored there, and downloaded by a signed link or through the API."""

from __future__ import annotations

import io
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from storage.objects.base import ANY_AGE_S
from tests.adnerf_core.files.clock import clip
from tests.api.conftest import VIDEO, Maker, check_problem, serving
from tests.api.responses.test_job_events import until
from tests.servers import BUCKET, S3, running

CONTENT = bytes(range(256)) * 300


def service(settings):
    """A client of the service with these settings, and a Maker."""
    app = create_app(settings)
    with serving(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client, Maker(client, app)


@pytest.fixture
def linked(settings, s3_settings):
    yield from service(settings.replace(**s3_settings, consent_clip="optional"))


@pytest.fixture
def streamed(settings, s3_settings):
    """The bucket has an address that clients cannot reach."""
    yield from service(settings.replace(**s3_settings | {"s3_public_url": ""}))


def test_files_are_stored_in_the_bucket(linked, s3_server):
    _, make = linked
    subject = make.subject()
    place = f"{make.store.folder}subjects/{subject['id']}/source"
    assert s3_server.client().get_object(Bucket=BUCKET, Key=place)["Body"].read() == VIDEO


def test_a_clip_of_spoken_consent_is_judged_in_the_bucket_and_streamed(linked, tmp_path):
    client, make = linked
    spoken = clip(tmp_path / "yes.mp4", "-pix_fmt", "yuv420p").read_bytes()
    for content, status in ((spoken, 202), (spoken[:-200], 422)):
        files = {"video": ("ann.mp4", VIDEO), "consent_clip": ("yes.mp4", content)}
        answer = client.post("/v1/subjects", data={"consent": "Ann agreed"}, files=files)
        assert answer.status_code == status, answer.text
        if status == 202:
            link = answer.json()["links"]["consent_clip"]
    assert client.get(link).content == spoken
    assert len(list(make.store.keys(older_than_s=ANY_AGE_S, prefix="subjects/"))) == 2


def test_a_download_is_a_redirect_to_a_signed_link(linked):
    client, make = linked
    video = make.ready_video(make.ready_subject(), CONTENT)
    answer = client.get(video["links"]["file"])
    assert answer.status_code == 307
    assert answer.headers["cache-control"] == "no-store"
    file = httpx.get(answer.headers["location"])
    assert file.content == CONTENT
    assert file.headers["content-type"] == "video/mp4"
    assert f"{video['id']}.mp4" in file.headers["content-disposition"]
    part = client.get(video["links"]["file"], headers={"Range": "bytes=5-9"}, follow_redirects=True)
    assert (part.status_code, part.content) == (206, CONTENT[5:10])


def test_the_documented_rules_of_the_bucket_let_the_page_read_links_and_no_other_page(linked, s3_server):
    client, make = linked
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    rules = json.loads(re.search(r'```json\n(\{\s+"CORSRules".*?)```', page, re.DOTALL)[1])
    s3_server.client().put_bucket_cors(Bucket=BUCKET, CORSConfiguration=rules)
    link = client.get(make.ready_video(make.ready_subject(), CONTENT)["links"]["file"]).headers["location"]
    for origin, allowed in (("https://adnerf.example", "https://adnerf.example"), ("https://other.example", None)):
        answer = httpx.get(link, headers={"Origin": origin})
        assert (answer.content, answer.headers.get("access-control-allow-origin")) == (CONTENT, allowed)


def test_requests_without_content_are_answered_without_a_redirect(linked):
    client, make = linked
    link = make.ready_video(make.ready_subject(), CONTENT)["links"]["file"]
    head = client.head(link)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))
    again = client.get(link, headers={"If-None-Match": head.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_without_an_address_for_clients_the_file_is_streamed(streamed):
    client, make = streamed
    link = make.ready_video(make.ready_subject(), CONTENT)["links"]["file"]
    whole = client.get(link)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    part = client.get(link, headers={"Range": "bytes=1000-"})
    assert (part.status_code, part.content) == (206, CONTENT[1000:])


def test_deleting_a_subject_empties_its_folder(linked):
    client, make = linked
    subject = make.ready_subject()
    make.ready_video(subject, CONTENT)
    assert len(list(make.store.keys(older_than_s=-3600))) == 3
    assert client.delete(subject["links"]["self"]).status_code == 204
    until(lambda: list(make.store.keys(older_than_s=-3600)) == [])


def test_a_store_that_is_away_is_named_and_requests_that_do_not_need_it_succeed(settings, caplog):
    with running(S3) as (server,):
        for client, make in service(settings.replace(**server.settings)):
            subject = make.ready_subject()
            server.kill()
            refused = client.post(
                "/v1/subjects", data={"name": "Ann", "consent": "yes"}, files={"video": ("a.mp4", VIDEO)}
            )
            check_problem(refused, "store_away")
            address = server.settings["s3_endpoint_url"].removeprefix("http://")
            assert address not in refused.text and "http" not in refused.text
            assert address in caplog.text
            assert client.get(subject["links"]["self"]).status_code == 200
            assert client.delete(subject["links"]["self"]).status_code == 204
            assert client.get("/v1/subjects").json()["items"] == []


@pytest.fixture
def hanging(settings):
    """A client of a service, its store, a subject with a preview, twelve more subjects; the store hangs from now on."""
    with running(S3) as (server,):
        app = create_app(settings.replace(**server.settings | {"s3_public_url": ""}))
        with (
            serving(app) as url,
            httpx.Client(base_url=url, timeout=120, limits=httpx.Limits(max_connections=99)) as client,
        ):
            make = Maker(client, app)
            seen = make.subject()
            make.publish(preview_key=make.store.put(f"subjects/{seen['id']}/1.jpg", io.BytesIO(CONTENT)).key)
            assert client.get(f"{seen['links']['self']}/preview").content == CONTENT
            others = [make.subject()["links"]["self"] for _ in range(12)]
            server.freeze()
            try:
                yield client, server, seen["links"]["self"], others
            finally:
                server.thaw()


QUICK_S = 15.0
"""Far less than the time for which a request to a store that hangs is tried, and long enough for a busy machine."""


def test_deletions_do_not_wait_for_a_store_that_hangs(hanging):
    client, _, seen, others = hanging
    start = time.monotonic()
    with ThreadPoolExecutor(len(others)) as pool:
        assert {answer.status_code for answer in pool.map(client.delete, others)} == {204}
    assert client.patch(seen, json={"name": "Bob"}).status_code == 200
    assert time.monotonic() - start < QUICK_S


def test_readers_of_a_store_that_hangs_leave_the_threads_to_others(hanging):
    client, server, seen, _ = hanging
    with ThreadPoolExecutor(45) as pool:
        reading = [pool.submit(client.get, f"{seen}/preview") for _ in range(45)]
        time.sleep(3.0)  # they are all with the service now
        start = time.monotonic()
        assert client.get("/v1/me").status_code == 200
        assert client.patch(seen, json={"name": "Bob"}).status_code == 200
        assert time.monotonic() - start < QUICK_S
        assert not any(each.done() for each in reading)
        server.thaw()
        assert {each.result().content for each in reading} == {CONTENT}
