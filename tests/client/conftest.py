"""A complete service behind a proxy that can be cut: the real application on a real server, and a worker with the stub core."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from adnerf_client import Client, Subject, Video
from api.app import create_app
from benchmarks.chaos.cable import Cable
from storage.settings import Settings
from tests.api.conftest import empty_database, serving  # noqa: F401 (the first is a fixture)
from tests.worker.stub_core import CORE
from worker.processes.polling import PollingWorker

CONSENT = "Ann agreed to be shown, 2 May"


class Service:
    """The service of a test. `url` leads through a proxy that can be cut."""

    def __init__(self, settings: Settings, folder: Path):
        self.settings, self.folder = settings, folder
        self.cable = Cable(0)
        self.url = f"http://127.0.0.1:{self.cable.port}"
        self._api, self._worker, self._clients = ExitStack(), ExitStack(), ExitStack()
        self.start()

    def start(self) -> None:
        """Starts the API and connects the proxy to it."""
        self.app = create_app(self.settings)
        url = self._api.enter_context(serving(self.app))
        self.cable.target = int(url.rpartition(":")[2])
        self.cable.mend()

    def stop(self) -> None:
        """Stops the API and cuts the proxy."""
        self.cable.cut()
        self._api.close()

    def start_worker(self) -> None:
        """Starts a worker for all jobs."""
        worker = PollingWorker(self.settings, CORE)
        thread = threading.Thread(target=worker.run)
        thread.start()
        self._worker.callback(thread.join)
        self._worker.callback(worker.stopping.set)

    def client(self, **arguments) -> Client:
        """Makes a client of this service, which is closed with it."""
        return self._clients.enter_context(Client(self.url, **arguments))

    def file(self, name: str = "ann.mp4", **orders) -> Path:
        """Writes a file that the API accepts as media, and from which the stub core reads its orders."""
        path = self.folder / name
        path.write_bytes(json.dumps(orders).encode("utf-16"))
        return path

    def ready_subject(self, client: Client) -> Subject:
        """Makes a subject that is ready; the worker must run."""
        return client.wait(client.subjects.create(self.file(), consent=CONSENT), timeout=300)

    def ready_video(self, client: Client, **orders) -> Video:
        """Makes a video that is ready; the worker must run."""
        video = client.videos.create(self.ready_subject(client), self.file("say.wav", **orders))
        return client.wait(video, timeout=300)

    def close(self) -> None:
        """Closes the clients, the worker, the API and the proxy."""
        self._clients.close()
        self._worker.close()
        self.stop()
        self.cable.close()


@contextmanager
def a_service(folder: Path, empty_database: Path, **settings) -> Iterator[Service]:  # noqa: F811
    """A service without a worker, its data and files in `folder`."""
    data = folder / "data"
    data.mkdir()
    shutil.copy(empty_database, data / "adnerf.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adnerf_client.waiting.LONGEST_LOOK_S", 0.2)  # the stub core works for seconds
        service = Service(Settings(data_dir=data, beat_s=0.1, poll_s=0.2, **settings), folder)
        try:
            yield service
        finally:
            service.close()


@pytest.fixture
def service(tmp_path, empty_database):  # noqa: F811
    with a_service(tmp_path, empty_database) as service:
        yield service


@pytest.fixture
def client(service):
    return service.client()


class Wire(httpx.BaseTransport):
    """Sends real requests and records them. The response to each method in `loses` gets lost once."""

    def __init__(self):
        self.sent: list[httpx.Request] = []
        self.answers: list[httpx.Response] = []
        self.loses: list[str] = []
        self._real = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request."""
        self.sent.append(request)
        answer = self._real.handle_request(request)
        self.answers.append(answer)
        if request.method in self.loses:
            self.loses.remove(request.method)
            answer.read()
            answer.close()
            raise httpx.ReadError("the answer was lost", request=request)
        return answer

    def close(self) -> None:
        """Closes the connections."""
        self._real.close()


@pytest.fixture
def wire():
    return Wire()
