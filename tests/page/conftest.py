"""A service with the watchable core, and a browser to look at it with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from api.app import create_app
from storage.database.engine import Database
from storage.settings import Settings
from tests.api.conftest import serving
from tests.page import browser as chromium
from tests.page.core import CORE, order, write_footage, write_tone
from tests.tables import create_tables
from worker.processes.polling import PollingWorker

TIMEOUT_MS = 90_000
"""The machine may be busy; nothing here waits for time to pass."""
expect.set_options(timeout=TIMEOUT_MS)
ARGUMENTS = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""A microphone that beeps, and a person who allows it."""


@contextmanager
def running(data: Path, **settings) -> Iterator[str]:
    """The service and a worker in this process, on their data in `data`; yields the URL."""
    settings = Settings(data_dir=data, beat_s=0.1, poll_s=0.05, **settings)
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
def browser() -> Iterator[Browser]:
    path = chromium.find()
    if path is None:
        pytest.skip(chromium.MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, **options) -> Iterator[Page]:
    """A fresh profile's page at `url`. What the page throws, or breaks of its own policy, fails the test."""
    context = browser.new_context(**{"base_url": url, "locale": "en-GB", "reduced_motion": "reduce", **options})
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    # Playwright asks for file choosers while somebody waits for one, and does not wait until the browser has heard of it:
    # a key pressed at once may open a chooser that nobody is told of. With this listener it has heard of it long before.
    page.on("filechooser", lambda chooser: None)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda said: broken.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto("/")
    yield page
    context.close()
    assert not broken, broken


@pytest.fixture
def page(browser, service) -> Iterator[Page]:
    """A page at the gallery."""
    with opened(browser, service) as page:
        yield page


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
