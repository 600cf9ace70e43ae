"""Two owners, every route, every verb: what is the other's is as if it were not there, and stays as it is."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from contextlib import ExitStack

import httpx
import pytest
from fastapi import APIRouter
from sqlalchemy import select, update

from api.app import create_app
from api.problems.problems import METHODS
from storage.database.models import Base, Key, Subject, Verification, Video, new_id
from storage.settings import Settings
from storage.tables import api_keys, streams
from tests.api.conftest import AUDIO, VIDEO, Maker, check_problem, serving

ADMIN, EVERYBODY, OWN, REFERRING, LIST = "admin", "everybody", "own", "referring", "list"
"""Classes of routes without an id of something that is owned; those with one are found by their path's parameters."""

CLASSES = {
    ("GET", "/v1/subjects"): LIST,
    ("POST", "/v1/subjects"): REFERRING,
    ("POST", "/v1/subjects/import"): REFERRING,
    ("GET", "/v1/videos"): LIST,
    ("POST", "/v1/videos"): REFERRING,
    ("POST", "/v1/videos/batch"): OWN,
    ("GET", "/v1/voices"): OWN,
    ("GET", "/v1/voices/{voice_id}/sample"): EVERYBODY,
    ("HEAD", "/v1/voices/{voice_id}/sample"): EVERYBODY,
    ("GET", "/v1/samples"): EVERYBODY,
    ("GET", "/v1/samples/{sample_name}"): EVERYBODY,
    ("POST", "/v1/verify"): REFERRING,
    ("GET", "/v1/jobs"): LIST,
    ("GET", "/v1/uploads"): LIST,
    ("POST", "/v1/uploads"): OWN,
    ("OPTIONS", "/v1/uploads"): EVERYBODY,
    ("OPTIONS", "/v1/uploads/{upload_id}"): EVERYBODY,
    ("GET", "/v1/webhooks"): LIST,
    ("POST", "/v1/webhooks"): OWN,
    ("GET", "/v1/me"): OWN,
    ("GET", "/v1/links"): EVERYBODY,
    ("GET", "/v1/keys"): ADMIN,
    ("POST", "/v1/keys"): ADMIN,
    ("GET", "/v1/keys/{key_id}"): ADMIN,
    ("POST", "/v1/keys/{key_id}/rotate"): ADMIN,
    ("POST", "/v1/keys/{key_id}/revoke"): ADMIN,
    ("GET", "/v1/owners/{owner}"): ADMIN,
    ("PATCH", "/v1/owners/{owner}"): ADMIN,
    ("GET", "/metrics"): ADMIN,
    **{
        (method, f"/s/{{token}}{file}"): EVERYBODY
        for file in ("", "/video", "/poster", "/captions")
        for method in ("GET", *(["HEAD"] if file else []))
    },
    **{
        (method, path): EVERYBODY
        for path in (
            "/",
            "/docs",
            "/errors",
            "/openapi.json",
            "/healthz",
            "/readyz",
            "/static/{path:path}",
            "/docs/files",
        )
        for method in ("GET", "HEAD")
    },
}

TUS = {"Tus-Resumable": "1.0.0"}
HOOK = {"url": "https://93.184.215.14/hook"}  # public, and no name to look up


class Tenant:
    """An owner with one of everything."""

    def __init__(self, app, client, owner):
        self.app, self.client, self.owner = app, client, owner
        with app.state.database.session() as session:
            key, token = api_keys.create(session, owner=owner, name=owner, scopes=["read", "write"])
        client.headers["Authorization"] = f"Bearer {token}"
        make = Maker(self.client, app)
        subject = make.ready_subject()
        folder = f"subjects/{subject['id']}"
        shown = {
            f"{name}_key": app.state.store.put(f"{folder}/{name}", io.BytesIO(b"picture")).key
            for name in ("preview", "report", "views", "thumbnail", "run", "consent_clip")
        }
        with app.state.database.session() as session:
            session.execute(update(Subject).where(Subject.id == subject["id"]).values(**shown))
        video = make.ready_video(subject, b"film")
        parts = {"speech": "wav", "captions": "srt", "thumbnail": "jpg", "clip": "clip"}
        beside = {
            f"{name}_key": app.state.store.put(f"{folder}/videos/{video['id']}/1.{suffix}", io.BytesIO(b"part")).key
            for name, suffix in parts.items()
        }
        with app.state.database.session() as session:
            session.execute(
                update(Video).where(Video.id == video["id"]).values(**beside, stream_attempt=1, stream_frames=50)
            )
            stream = streams.folder(session.get(Video, video["id"]), "1")
        app.state.store.put(f"{stream}{streams.HEADER}", io.BytesIO(b"header"))
        upload = self.client.post("/v1/uploads", headers=TUS | {"Upload-Length": "10"})
        share = self.client.post(f"/v1/videos/{video['id']}/shares", json={}).json()
        hook = self.client.post("/v1/webhooks", json=HOOK).json()
        delivery = self.client.post(f"/v1/webhooks/{hook['id']}/test").json()
        with app.state.database.session() as session:
            verification = Verification(id=new_id("ver"), owner=owner, sha256="0" * 64)
            session.add(verification)
        self.ids = {
            "subject_id": subject["id"],
            "video_id": video["id"],
            "job_id": video["job"]["id"],
            "share_id": share["id"],
            "upload_id": upload.headers["location"].rsplit("/")[-1],
            "webhook_id": hook["id"],
            "delivery_id": delivery["id"],
            "verification_id": verification.id,
            "voice_id": "no-voice",
            "sample_name": "no-sample",
            "attempt": "1",
            "segment": streams.HEADER,
            "token": "no-token",
            "key_id": key.id,
            "owner": owner,
            "path": "css/base.css",
        }

    def everything(self):
        """All that there is of this owner: rows, and objects."""
        kept = {}
        with self.app.state.database.session(write=False) as session:
            for table in Base.metadata.sorted_tables:
                if "owner" in table.columns and table.name != Key.__tablename__:  # of which the use is noted
                    kept[table.name] = session.execute(select(table).where(table.c.owner == self.owner)).all()
        objects = sorted(self.app.state.store.keys(older_than_s=-60))
        mine = self.ids["subject_id"], self.ids["upload_id"]
        return kept, [key for key in objects if any(each in key for each in mine)]

    def ask(self, method, path, other):
        """This owner's request for what belongs to the other."""
        path = path.replace(":path}", "}")  # a converter of Starlette's
        return self.client.request(method, path.format(**other.ids), **_body(method, path, other))


def _body(method, path, other):
    """A body that is in order, so that whose things they are is all that can be wrong."""
    if method == "POST" and path in ("/v1/subjects", "/v1/subjects/import", "/v1/verify"):
        consent = {"consent": "yes"} if path == "/v1/subjects" else {}
        return {
            "files": {name: (None, text) for name, text in (consent | {"upload_id": other.ids["upload_id"]}).items()}
        }
    if method == "POST" and path == "/v1/videos":
        return {"data": {"subject_id": other.ids["subject_id"]}, "files": {"audio": ("say.wav", AUDIO)}}
    if method == "POST" and path == "/v1/videos/batch":
        return {"json": {"videos": [{"subject_id": other.ids["subject_id"], "duration_s": 2}]}}
    if path.startswith("/v1/uploads"):
        offset = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"} if method == "PATCH" else {}
        length = {"Upload-Length": "10"} if method == "POST" else {}
        return {"headers": TUS | offset | length, "content": b"0123456789" if method == "PATCH" else b""}
    bodies = {
        "/v1/subjects/{subject_id}/preview-frame": {},
        "/v1/videos/{video_id}/shares": {},
        "/v1/subjects/{subject_id}": {"name": "Mallory"},
        "/v1/subjects/import": {"name": "Mallory"},
        "/v1/videos/{video_id}": {"title": "Mallory's"},
        "/v1/videos/batch": {"title": "Mallory's"},
        "/v1/subjects/{subject_id}/withdraw-consent": {"purge": True},
        "/v1/webhooks": HOOK,
        "/v1/webhooks/{webhook_id}": {"description": "Mallory's"},
        "/v1/keys": {"owner": other.owner, "name": "Mallory"},
        "/v1/keys/{key_id}/rotate": {},
        "/v1/owners/{owner}": {"subjects": 0},
    }
    return {"json": bodies[path]} if method in ("POST", "PATCH") and path in bodies else {}


def table_of_routes(app):
    """(method, path) of all that the application answers; of a mounted folder, GET and HEAD."""

    def routes(those):
        for route in those:
            if hasattr(route, "original_router"):  # what include_router has added
                yield from routes(route.original_router.routes)
            else:
                yield from ((method, route.path) for method in getattr(route, "methods", None) or ("GET", "HEAD"))

    return sorted(set(routes(app.routes)))


def class_of(method, path, ids):
    """The class of a route; None: it is about something that is owned. Raises KeyError for a route that nobody has classified."""
    if (method, path) in CLASSES:
        return CLASSES[method, path]
    named = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    if not named or not set(named) <= set(ids):
        raise KeyError(f"{method} {path}: whose is it? Add it to CLASSES, or its parameter to Tenant.ids.")
    return None


def forgotten(app):
    """Operations of the document that `table_of_routes` does not see, and so nobody would ask."""
    return documented(app) - set(table_of_routes(app))


def documented(app):
    """(method, path) of /openapi.json."""
    return {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}


@pytest.fixture(scope="module")
def app(tmp_path_factory, empty_database):
    data = tmp_path_factory.mktemp("tenants")
    shutil.copy(empty_database, data / "adnerf.db")
    return create_app(Settings(data_dir=data, consent_clip="optional"))


@pytest.fixture(scope="module")
def tenants(app):
    with serving(app) as url, ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=url, timeout=60)) for _ in range(2)]
        yield [Tenant(app, client, owner) for client, owner in zip(clients, ("ann", "bob"), strict=True)]


def test_no_owner_reaches_rows_of_another(app, tenants, record_property):
    asked = Counter()
    assert documented(app) and not forgotten(app)
    for me, other in (tenants, tenants[::-1]):
        before = other.everything()
        assert all(before[0][name] for name in ("subjects", "videos", "jobs", "uploads", "webhooks", "deliveries"))
        for method, path in table_of_routes(app):
            kind = class_of(method, path, other.ids)
            answer = me.ask(method, path, other)
            check(kind, answer, f"{method} {path}", path, me, other)
            asked[kind] += 1
        assert other.everything() == before
    for kind, count in asked.items():
        record_property(f"requests of class {kind}", count)
    assert asked[None] > 60


def check(kind, answer, name, path, me, other):
    if kind is EVERYBODY:
        assert answer.status_code < 500, name
    elif kind is ADMIN:
        check_problem(answer, "forbidden")
    elif kind is OWN:
        assert answer.status_code in (200, 201), name
        if path == "/v1/videos/batch":
            assert [item["status"] for item in answer.json()["items"]] == [404]
            return  # the problem repeats the id that was asked for
    elif kind is LIST:
        assert answer.json()["items"] and other.owner not in answer.text, name
    elif answer.request.method == "HEAD":
        assert answer.status_code == 404, name
    else:
        assert answer.status_code == 404, f"{name}: {answer.status_code} {answer.text}"
        check_problem(answer, "not_found")
    if kind is not REFERRING and kind is not ADMIN and kind is not None:
        everybodys = ("owner", "voice_id", "sample_name", "attempt", "segment", "path")
        assert not any(value in answer.text for key, value in other.ids.items() if key not in everybodys), name


def test_methods_that_a_path_does_not_take_change_nothing(app, tenants):
    me, other = tenants
    before = other.everything()
    known = table_of_routes(app)
    for path in sorted({path for _, path in known}):
        for method in METHODS:
            if (method, path) not in known and (method, path) != ("HEAD", "/docs/files"):
                answer = me.ask(method, path, other)
                if method == "HEAD" and ("GET", path) in known:
                    assert answer.status_code == me.ask("GET", path, other).status_code, path
                    continue
                assert answer.status_code in (307, 403, 404, 405), f"{method} {path}: {answer.status_code}"
    assert other.everything() == before


def test_filters_and_mixed_paths_show_nothing_of_another_owner(tenants):
    me, other = tenants
    for path in (
        "/v1/videos?subject_id={subject_id}",
        "/v1/jobs?subject_id={subject_id}",
        "/v1/jobs?video_id={video_id}",
    ):
        assert me.client.get(path.format(**other.ids)).json()["items"] == []
    mixed = f"/v1/webhooks/{me.ids['webhook_id']}/deliveries/{other.ids['delivery_id']}"
    check_problem(me.client.get(mixed), "not_found")
    check_problem(me.client.post(f"{mixed}/replay"), "not_found")
    form = {"consent": "yes", "consent_upload_id": other.ids["upload_id"]}
    check_problem(me.client.post("/v1/subjects", data=form, files={"video": ("a.mp4", VIDEO)}), "not_found")


def test_the_owner_itself_reaches_its_rows(app, tenants):
    """Else the 404s above would say nothing."""
    me, _ = tenants
    endless = "/v1/jobs/{job_id}/events"
    for method, path in table_of_routes(app):
        if method in ("GET", "HEAD") and class_of(method, path, me.ids) is None and path != endless:
            answer = me.client.request(method, path.format(**me.ids), headers=TUS)
            assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"


def test_queue_positions_count_other_owners_and_reveal_nothing_else(tenants):
    ann, bob = tenants
    sent = [
        tenant.client.post("/v1/subjects", data={"consent": "yes"}, files={"video": ("a.mp4", VIDEO)}).json()
        for tenant in (ann, bob, ann)
    ]
    assert [subject["jobs"][0]["queue_position"] for subject in sent] == [1, 2, 3]
    assert bob.client.get("/v1/jobs?state=queued").json()["items"] == sent[1]["jobs"]


def test_an_unclassified_route_fails_the_test(app, tenants, tmp_path, empty_database):
    with pytest.raises(KeyError, match="whose is it"):
        class_of("GET", "/v1/secrets", tenants[0].ids)
    with pytest.raises(KeyError, match="whose is it"):
        class_of("GET", "/v1/secrets/{secret_id}", tenants[0].ids)
    shutil.copy(empty_database, tmp_path / "adnerf.db")
    tomorrow = create_app(Settings(data_dir=tmp_path))
    secrets = APIRouter()
    secrets.add_api_route("/secrets", lambda: None, methods=["GET"])
    tomorrow.include_router(secrets)
    new = set(table_of_routes(tomorrow)) - set(table_of_routes(app))
    assert new == {("GET", "/secrets")} and not forgotten(tomorrow)
    tomorrow.openapi_schema = None
    tomorrow.include_router(secrets, prefix="/v2")
    assert ("GET", "/v2/secrets") in set(table_of_routes(tomorrow)) | forgotten(tomorrow)
    tomorrow.state.database.close()
