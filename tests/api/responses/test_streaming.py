"""Large uploads to a real server process: its memory, its disk, and senders that disconnect."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from storage.objects.local import LocalStore
from storage.settings import Settings, environment_of
from tests.api.conftest import VIDEO, check_problem

MIB = 1 << 20
LIMIT = 256 * MIB


class Service:
    """A server process."""

    def __init__(self, settings: Settings):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", "--port", str(self.port)]
        self.process = subprocess.Popen(command, env=environment_of(settings), stderr=subprocess.PIPE)
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = settings
        self.wait_for(self._answers, seconds=60)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.process.stderr.read()
        try:
            return httpx.get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    @staticmethod
    def wait_for(condition, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the condition did not become true in time"
            time.sleep(0.05)

    def peak_memory(self) -> int:
        """The most bytes that the process has had in memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    def open_files(self) -> int:
        """Regular files in the data folder that the process has open, besides the database's."""
        links = [os.readlink(each) for each in Path(f"/proc/{self.process.pid}/fd").iterdir()]
        return sum(str(self.settings.data_dir) in link and "adnerf.db" not in link for link in links)

    def files(self) -> list[Path]:
        """Files in the data folder, except the database's and the local token."""
        others = ("adnerf.db", "local-token")
        return [p for p in self.settings.data_dir.rglob("*") if p.is_file() and not p.name.startswith(others)]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@pytest.fixture(scope="module")
def service(tmp_path_factory, empty_database):
    data = tmp_path_factory.mktemp("data")
    shutil.copy(empty_database, data / "adnerf.db")
    service = Service(Settings(data_dir=data, max_video_bytes=LIMIT))
    yield service
    service.process.send_signal(signal.SIGTERM)
    assert service.process.communicate(timeout=20)[1].count(b"Traceback") == 0
    assert service.process.returncode in (0, -signal.SIGTERM)


HEADERS = {"Content-Type": "multipart/form-data; boundary=cut"}
OPENING = (
    b'--cut\r\nContent-Disposition: form-data; name="consent"\r\n\r\nyes\r\n'
    b'--cut\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n' + VIDEO
)


def body(mebibytes: int, ended: bool = True):
    """A form with a file of about `mebibytes` MiB."""
    yield OPENING
    for _ in range(mebibytes):
        yield bytes(MIB)
    if ended:
        yield b"\r\n--cut--\r\n"


def request_head(length: int) -> bytes:
    """A request's head that promises `length` bytes."""
    return (
        b"POST /v1/subjects HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=cut\r\n"
        b"Content-Length: %d\r\n\r\n" % length
    )


def test_memory_stays_flat_during_a_large_upload(service):
    before = service.peak_memory()
    answer = httpx.post(f"{service.url}/v1/subjects", content=body(200), headers=HEADERS, timeout=120)
    assert answer.status_code == 202, answer.text
    assert service.peak_memory() - before < 40 * MIB
    (source,) = service.files()
    assert source.stat().st_size == 200 * MIB + len(VIDEO)
    assert httpx.delete(service.url + answer.json()["links"]["self"]).status_code == 204
    assert service.files() == []


def test_a_file_beyond_the_limit_is_refused_without_its_length_being_known(service):
    answer = httpx.post(f"{service.url}/v1/subjects", content=body(300), headers=HEADERS, timeout=120)
    check_problem(answer, "file_too_large")
    assert service.files() == [] and service.open_files() == 0


def test_a_length_beyond_the_limit_is_refused_before_a_byte_of_it(service):
    with service.connect() as connection:
        connection.sendall(request_head(10 << 30))
        assert b" 413 " in connection.recv(200)


def test_a_length_beyond_the_disk_is_refused_before_a_byte_of_it(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "adnerf.db")
    service = Service(Settings(data_dir=tmp_path, max_video_bytes=1 << 61))
    with service.process, service.connect() as connection:
        connection.sendall(request_head(1 << 60))
        assert b" 507 " in connection.recv(200)
        service.process.kill()


def test_a_sender_that_disconnects_leaves_nothing(service):
    with service.connect() as connection:
        connection.sendall(request_head(100 * MIB) + OPENING + bytes(5 * MIB))
        service.wait_for(lambda: service.open_files() == 1, seconds=20)
    service.wait_for(lambda: service.open_files() == 0, seconds=20)
    assert service.files() == []
    assert httpx.get(f"{service.url}/v1/subjects").json()["items"] == []


def test_other_requests_are_answered_while_an_upload_is_under_way(service):
    with service.connect() as connection:
        connection.sendall(request_head(100 * MIB) + OPENING + bytes(MIB))
        service.wait_for(lambda: service.open_files() == 1, seconds=20)
        subject = httpx.post(f"{service.url}/v1/subjects", content=body(1), headers=HEADERS, timeout=20)
        assert subject.status_code == 202
        assert httpx.delete(service.url + subject.json()["links"]["self"]).status_code == 204


def test_a_large_body_where_none_is_expected_is_not_read(service):
    before = service.peak_memory()
    for method, path in (("POST", "/v1/nowhere"), ("POST", "/v1/jobs/job_0/cancel"), ("PATCH", "/v1/subjects/sub_0")):
        answer = httpx.request(method, service.url + path, content=body(100), headers=HEADERS, timeout=60)
        assert answer.status_code in (404, 415)
    assert service.peak_memory() - before < 40 * MIB


def test_a_killed_service_leaves_no_object_and_what_it_received_is_deleted_later(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "adnerf.db")
    service = Service(Settings(data_dir=tmp_path))
    with service.process, service.connect() as connection:
        connection.sendall(request_head(100 * MIB) + OPENING + bytes(5 * MIB))
        service.wait_for(lambda: service.open_files() == 1, seconds=20)
        service.process.kill()
    store = LocalStore(service.settings.objects)
    assert list(store.keys(older_than_s=0)) == []
    assert store.delete_unfinished(older_than_s=0) == 1
    assert service.files() == []
