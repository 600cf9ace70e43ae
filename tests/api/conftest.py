"""The real application behind a real server, on a real database and store; jobs are moved by hand, without a worker."""

from __future__ import annotations

import io
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from api.app import create_app
from api.problems.table import PROBLEMS
from api.schemas.problem_details import ProblemDetails
from storage.database.engine import Database
from storage.settings import Settings
from storage.tables import jobs
from tests.tables import create_tables

VIDEO = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(6000)
AUDIO = b"RIFF\x24\x20\x00\x00WAVEfmt \x10\x00\x00\x00" + bytes(6000)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(5000)
FULL_FRAME = {"width": 1280, "height": 720}
VIEW_LIMITS = {"yaw_deg": [-12.5, 13.0], "pitch_deg": [-9.0, 8.0], "roll_deg": [-15.0, 15.0]}


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """A migrated SQLite file, to be copied: a copy is quicker than a migration."""
    path = tmp_path_factory.mktemp("empty") / "adnerf.db"
    with closing(Database(f"sqlite:///{path}")) as database:
        create_tables(database)
    return path


@pytest.fixture
def settings(tmp_path, empty_database) -> Settings:
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(empty_database, data / "adnerf.db")
    return Settings(data_dir=data, max_video_bytes=200_000, max_audio_bytes=100_000, max_image_bytes=50_000)


@pytest.fixture
def app(settings):
    return create_app(settings)


@pytest.fixture
def client(app):
    # Without `verify=False` each client reads the system's certificates, for 20 ms, and then speaks plain http.
    with serving(app) as url, httpx.Client(base_url=url, timeout=30, verify=False) as client:
        yield client


@pytest.fixture
def make(client, app):
    return Maker(client, app)


@contextmanager
def serving(app) -> Iterator[str]:
    """`app` behind uvicorn in a thread of this process, on a port of its own; yields the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class Maker:
    """Brings subjects and videos into the states that a worker would bring them into."""

    def __init__(self, client: httpx.Client, app):
        self.client, self.app = client, app
        self.database = app.state.database
        self.store = app.state.store

    def subject(self, **fields) -> dict:
        """A subject that was just sent."""
        data = {"name": "Ann", "consent": "Ann agreed to be shown"} | fields
        answer = self.client.post("/v1/subjects", data=data, files={"video": ("ann.mp4", VIDEO)})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def ready_subject(self, full_frame: dict | None = FULL_FRAME) -> dict:
        """A subject of which videos can be made, without a full frame as an earlier version would have made it. Nothing else may
        be queued."""
        subject = self.subject()
        self.succeed(dataset_key="dataset", footage={"duration_s": 9.5, "frames": 237, "warnings": ["It is dark."]})
        quality = {"psnr": 28.1, "held_out_frames": 20, "frames_a_second": 3.0}
        self.succeed(run_key="run", quality=quality, view_limits=VIEW_LIMITS, full_frame=full_frame)
        return self.client.get(subject["links"]["self"]).json()

    def video(self, subject: dict, **fields) -> dict:
        """A video that was just asked for."""
        data = {"subject_id": subject["id"]} | fields
        answer = self.client.post("/v1/videos", data=data, files={"audio": ("say.wav", AUDIO)})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def ready_video(self, subject: dict, content: bytes, **fields) -> dict:
        """A video with `content` as its file."""
        video = self.video(subject, **fields)
        stored = self.store.put(f"subjects/{subject['id']}/videos/{video['id']}/1.mp4", io.BytesIO(content))
        view = video["options"]["view"]
        view["yaw_deg"] = min(view["yaw_deg"], VIEW_LIMITS["yaw_deg"][1])
        measures = {"duration_s": 2.0, "frames": 50, "width": 128, "height": 128, "view": view}
        self.succeed(file_key=stored.key, sha256=stored.sha256, size_bytes=stored.size, **measures)
        return self.client.get(video["links"]["self"]).json()

    def claim(self):
        """The next job, running."""
        with self.database.session() as session:
            job = jobs.claim(session, "test", lease_s=60)
        assert job is not None
        return job

    def succeed(self, **target_values) -> None:
        """The next job, done."""
        job = self.claim()
        with self.database.session() as session:
            assert jobs.succeed(session, job.id, job.attempt, **target_values)

    def fail(self, code: str) -> str:
        """The next job, failed; its id."""
        job = self.claim()
        error = {"code": code, "message": "It is wrong.", "remedy": "Do it right."}
        with self.database.session() as session:
            assert jobs.fail(session, job.id, job.attempt, error)
        return job.id

    def publish(self, **target_values) -> None:
        """The next job, running, having published something already."""
        job = self.claim()
        with self.database.session() as session:
            assert jobs.publish(session, job.id, job.attempt, **target_values)


def check_problem(response, code: str) -> dict:
    """Asserts that `response` is the problem `code`, in every detail that all problems share; returns its body."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    known = ProblemDetails.model_validate(body)
    assert set(body) <= set(ProblemDetails.model_fields)
    assert known.code == code, body
    assert known.status == response.status_code == PROBLEMS[code].status
    assert known.title == PROBLEMS[code].title
    assert known.type == f"/errors#{code}"
    wrong = known.detail.removesuffix(known.remedy)
    assert known.remedy and wrong.endswith(". ") and wrong != known.detail, known
    for entry in body.get("errors", []):
        assert entry["detail"]
        assert ("pointer" in entry) != ("parameter" in entry)
        assert entry.get("pointer", "")[:1] in ("", "/")
    return body
