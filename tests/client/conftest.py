"""A whole service at the end of a cable: the real application behind a real server, and a worker with the stub core."""

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
    """What tests do to the service that a client talks to. `url` leads through a cable that can be cut."""

    def __init__(self, settings: Settings, folder: Path):
        self.settings, self.folder = settings, folder
        self.cable = Cable(0)
        self.url = f"http://127.0.0.1:{self.cable.port}"
        self._api, self._worker, self._clients = ExitStack(), ExitStack(), ExitStack()
        self.start()

    def start(self) -> None:
        """The API runs again; whoever calls reaches it."""
        self.app = create_app(self.settings)
        url = self._api.enter_context(serving(self.app))
        self.cable.target = int(url.rpartition(":")[2])
        self.cable.mend()

    def stop(self) -> None:
        """The API ends; nobody answers."""
        self.cable.cut()
        self._api.close()

    def start_worker(self) -> None:
        """From now on jobs are worked on."""
        worker = PollingWorker(self.settings, CORE)
        thread = threading.Thread(target=worker.run)
        thread.start()
        self._worker.callback(thread.join)
        self._worker.callback(worker.stopping.set)

    def client(self, **arguments) -> Client:
        """A client of this service; it closes by itself."""
        return self._clients.enter_context(Client(self.url, **arguments))

    def file(self, name: str = "ann.mp4", **orders) -> Path:
        """A file that the API takes for media, and the stub core for its orders."""
        path = self.folder / name
        path.write_bytes(json.dumps(orders).encode("utf-16"))
        return path

    def ready_subject(self, client: Client) -> Subject:
        """A subject of which videos can be made; the worker must run."""
        return client.wait(client.subjects.create(self.file(), consent=CONSENT), timeout=300)

    def ready_video(self, client: Client, **orders) -> Video:
        """A video that can be downloaded; the worker must run."""
        video = client.videos.create(self.ready_subject(client), self.file("say.wav", **orders))
        return client.wait(video, timeout=300)

    def close(self) -> None:
        """The end of everything."""
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
        patch.setattr("adnerf_client.waiting.LONGEST_LOOK_S", 0.2)  # this work takes no minutes
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
    """Real requests, of which it keeps a list; answers to those that `loses` names get lost on their way, once each."""

    def __init__(self):
        self.sent: list[httpx.Request] = []
        self.answers: list[httpx.Response] = []
        self.loses: list[str] = []
        self._real = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends it."""
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
        """Closes its connections."""
        self._real.close()


@pytest.fixture
def wire():
    return Wire()
