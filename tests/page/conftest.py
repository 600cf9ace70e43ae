"""A service with the watchable core, and a browser to look at it with."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from api.app import create_app
from storage.database.engine import Database
from storage.settings import Settings
from tests.api.conftest import serving
from tests.page import browser as chromium
from tests.page.acts import CONSENT
from tests.page.core import CORE, order, write_footage, write_tone
from tests.tables import create_tables
from worker.processes.polling import PollingWorker

TIMEOUT_MS = 90_000
"""The machine may be busy; nothing here waits for time to pass."""
expect.set_options(timeout=TIMEOUT_MS)
ARGUMENTS = ("--use-fake-device-for-media-stream=fps=5", "--use-fake-ui-for-media-stream")
"""A microphone that beeps, a camera with few pictures to encode, and a person who allows both."""


@contextmanager
def running(data: Path, **settings) -> Iterator[str]:
    """The service and a worker in this process, on their data in `data`; yields the URL."""
    settings = Settings(data_dir=data, beat_s=0.1, poll_s=0.15, **settings)
    database = Database(settings.database)
    create_tables(database)
    database.close()
    worker = PollingWorker(settings, CORE)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        with serving(create_app(settings)) as url:
            yield url
    finally:
        worker.stopping.set()
        thread.join()


@pytest.fixture(scope="package")
def service(tmp_path_factory) -> Iterator[str]:
    """The URL of a service that all tests here share; each makes subjects of its own."""
    with running(tmp_path_factory.mktemp("service")) as url:
        yield url


@pytest.fixture(scope="package")
def ann(service, _footage) -> str:
    """The address of a person of `service` who is ready; tests make videos of her, and change nothing else."""
    with httpx.Client(base_url=service, trust_env=False) as client, _footage.open("rb") as video:
        sent = {"name": "Ann Lee", "consent": CONSENT}
        path = client.post("/v1/subjects", data=sent, files={"video": video}).json()["links"]["self"]
        while (subject := client.get(path).json())["state"] != "ready":
            assert subject["state"] != "failed", subject["jobs"]
            time.sleep(0.1)
    return f"/#/subjects/{subject['id']}"


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = chromium.find()
    if path is None:
        pytest.skip(chromium.MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        yield browser
        browser.close()


def profile(browser: Browser, url: str, **options) -> BrowserContext:
    """A fresh profile for the service at `url`."""
    context = browser.new_context(**{"base_url": url, "locale": "en-GB", "reduced_motion": "reduce", **options})
    context.set_default_timeout(TIMEOUT_MS)
    return context


@contextmanager
def opened(browser: Browser, url: str, **options) -> Iterator[Page]:
    """A fresh profile's page at `url`."""
    context = profile(browser, url, **options)
    with watched(context.new_page()) as page:
        page.goto("/")
        yield page
        context.close()


@contextmanager
def watched(page: Page) -> Iterator[Page]:
    """What the page throws, or breaks of its own policy, fails the test."""
    # Playwright asks for file choosers while somebody waits for one, and does not wait until the browser has heard of it:
    # a key pressed at once may open a chooser that nobody is told of. With this listener it has heard of it long before.
    page.on("filechooser", lambda chooser: None)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda said: broken.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    assert not broken, broken


@pytest.fixture(scope="package")
def _profile(browser, service) -> Iterator[BrowserContext]:
    context = profile(browser, service)
    yield context
    context.close()


@pytest.fixture
def page(_profile) -> Iterator[Page]:
    """A page at the start. The profile is that of other tests, whose files need not be sent again; what they kept in it is gone."""
    with watched(_profile.new_page()) as page:
        page.goto("/healthz")
        page.evaluate("localStorage.clear()")
        page.goto("/")
        yield page
        page.close()


@pytest.fixture(scope="package")
def say(tmp_path_factory) -> Path:
    """A second of sound."""
    return write_tone(tmp_path_factory.mktemp("sound") / "say.wav", 1)


@pytest.fixture(scope="package")
def _footage(tmp_path_factory) -> Path:
    return write_footage(tmp_path_factory.mktemp("footage") / "footage.mp4")


@pytest.fixture
def footage(_footage, tmp_path):
    """footage(name, **orders): a video file that orders the core to do this (see core.order)."""
    numbers = count()

    def make(name: str = "ann", size: int = 0, **orders) -> Path:
        path = tmp_path / str(next(numbers)) / f"{name}.mp4"
        path.parent.mkdir()
        content = _footage.read_bytes()
        path.write_bytes(content + bytes(max(0, size - len(content))))
        return order(path, **orders)

    return make
