"""Measures the page: `python -m benchmarks.page [--json FILE]`, in a real Chromium, with the real service and a core that does not compute.

* what a person does from an empty service to the first video, and what the browser asks for until then;
* requests and bytes until the first view can be used, at the first and at the second visit;
* the time until views can be used on slow lines, with a processor that is four times slower;
* heap, DOM nodes and listeners after a minute and after an hour beside a person in training, by the page's own clock, which runs faster;
* the same after a hundred changes of view;
* connections of six tabs that follow the same training, the time that Cancel takes in one of them, and until a seventh can be used.

Counts and bytes are the same on any machine; times depend on it, and are upper bounds on a busy one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import psutil
from playwright.sync_api import Browser, BrowserContext, CDPSession, Locator, Page, expect, sync_playwright
from rich.console import Console
from rich.table import Table

from api.services import samples
from tests.page import browser as chromium
from tests.page.acts import CONSENT
from tests.page.conftest import ARGUMENTS, TIMEOUT_MS, running
from tests.page.core import order, write_footage, write_tone

RESULTS = Path(__file__).parent / "results" / "page.json"
LINES = {
    "as it is": None,
    "slow 4G": {"latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8},
    "very slow": {"latency": 400, "downloadThroughput": 0.4e6 / 8, "uploadThroughput": 0.4e6 / 8},
}
"""By name: ms from a request to its answer, and bytes per second. "slow 4G" is Lighthouse's, the other what DevTools called slow 3G."""
CPU_SLOWER = 4
"""How many times slower the processor is on a slow line, as Lighthouse has it for a phone."""
MINUTE_S, HOUR_S = 60, 3600
ROUNDS = 20
"""How often all views are visited one after another."""
TABS = 6
"""Connections that a browser opens to one host: with more held for ever, no further tab loads."""
LONG = {"steps": 20_000, "pause": 0.1}
"""Orders of a training that outlasts the measurement."""
COUNTING = """
    let open = 0, waiting = [];
    const send = window.fetch;
    window.fetch = async (...request) => {
      open += 1;
      try { return await send(...request); } finally { if (!--open) waiting.splice(0).forEach((go) => go()); }
    };
    window.settled = () => (open ? new Promise((go) => waiting.push(go)) : null);
"""
"""Lets the measurement wait until no request is open: the page's clock runs faster than the service."""


def main() -> None:
    """Parses the command line, measures, and prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the figures (default: %(default)s)")
    args = parser.parse_args()
    expect.set_options(timeout=TIMEOUT_MS)
    with TemporaryDirectory(prefix="page-") as folder, browser_of_this_machine() as browser:
        figures = measure(Path(folder), browser)
    show(figures)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(figures, indent=2) + "\n")


@contextmanager
def browser_of_this_machine() -> Iterator[Browser]:
    """A Chromium inside the block. Raises RuntimeError if there is none."""
    path = chromium.find()
    if path is None:
        raise RuntimeError(chromium.MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        yield browser
        browser.close()


def measure(folder: Path, browser: Browser) -> dict[str, Any]:
    """Makes all measurements; returns the figures."""
    files = {"person": write_footage(folder / "person.mp4"), "speech": write_tone(folder / "speech.wav", 2)}
    given = folder / "tried" / "samples"  # drawing the demo's takes half a minute
    given.mkdir(parents=True)
    for name, path in files.items():
        shutil.copy(path, given / samples.FILES[name])
    figures: dict[str, Any] = {
        "machine": {"processors": os.cpu_count(), "python": platform.python_version(), "chromium": browser.version}
    }
    figures["first_video"] = {}
    with running(folder / "tried") as url:
        figures["first_video"]["samples"] = first_video(browser, url, with_samples)
    with running(folder / "data") as url:
        figures["first_view"] = visits(browser, url)
        figures["first_video"]["own files"] = first_video(browser, url, lambda person: own_files(person, files))
        figures["views"] = views(browser, url)
        figures["usable_s"] = {name: usable(browser, url, line) for name, line in LINES.items()}
        training = order(Path(shutil.copy(files["person"], folder / "long.mp4")), train=LONG)
        figures["hour"] = hour(browser, url, training)
        figures["tabs"] = tabs(browser, url)
    figures["load_average"] = round(os.getloadavg()[0], 1)
    return figures


class Traffic:
    """What a page asks the network for.

    Attributes:
        requests: number of those that went over the network, not those that the browser's memory answered.
        bytes: of their answers, as they were sent, with headers.
    """

    def __init__(self, page: Page):
        self.requests = self.bytes = 0
        self._kept: set[str] = set()
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.requestServedFromCache", lambda event: self._kept.add(event["requestId"]))
        session.on("Network.responseReceived", self._received)
        session.on("Network.loadingFinished", self._finished)

    def _received(self, event: dict[str, Any]) -> None:
        response = event["response"]
        if response.get("fromDiskCache") or response["url"].startswith(("blob:", "data:")):
            self._kept.add(event["requestId"])

    def _finished(self, event: dict[str, Any]) -> None:
        if event["requestId"] not in self._kept:
            self.requests += 1
            self.bytes += round(event["encodedDataLength"])

    def figures(self) -> dict[str, float]:
        """Returns the figures until now."""
        return {"requests": self.requests, "kb": round(self.bytes / 1000, 1)}


class Person:
    """Somebody at the page, whose actions are counted.

    Attributes:
        page: what they look at.
        actions: clicks, fields and files, by kind.
    """

    def __init__(self, page: Page):
        self.page = page
        self.actions = {"clicks": 0, "fields": 0, "files": 0}

    def click(self, what: Locator) -> None:
        """Presses a button or follows a link."""
        self.actions["clicks"] += 1
        what.click()

    def fill(self, what: Locator, text: str) -> None:
        """Writes into a field."""
        self.actions["fields"] += 1
        what.fill(text)

    def choose(self, what: Locator, path: Path) -> None:
        """Chooses a file."""
        self.actions["files"] += 1
        what.set_input_files(path)


@contextmanager
def visit(browser: Browser, url: str, **options: Any) -> Iterator[BrowserContext]:
    """A fresh profile inside the block."""
    context = browser.new_context(base_url=url, locale="en-GB", **options)
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


def open_view(page: Page, address: str) -> None:
    """Opens a view and waits until it can be used."""
    page.goto(address)
    expect(page.locator("h1").first).to_be_attached()
    expect(page.locator("main")).not_to_have_attribute("aria-busy", "true")


def visits(browser: Browser, url: str) -> dict[str, dict[str, float]]:
    """Opens an empty service twice; returns the traffic of each visit."""
    figures = {}
    with visit(browser, url) as context:
        for name in ("first visit", "second visit"):
            page = context.new_page()
            traffic = Traffic(page)
            open_view(page, "/")
            figures[name] = traffic.figures()
            page.close()
    return figures


def first_video(browser: Browser, url: str, job: Callable[[Person], None]) -> dict[str, Any]:
    """Does `job` from the first view on; returns actions and traffic until the video can be played."""
    with visit(browser, url) as context:
        page = context.new_page()
        traffic, person = Traffic(page), Person(page)
        open_view(page, "/")
        job(person)
        page.wait_for_url("**/#/videos/*")
        expect(page.locator("video.player")).not_to_have_js_property("readyState", 0)
        actions = {"actions": sum(person.actions.values())} | person.actions
        return actions | traffic.figures()


def own_files(person: Person, files: dict[str, Path]) -> None:
    """The main job with footage and speech of one's own; name, quality and settings stay as they are proposed."""
    page = person.page
    person.click(page.get_by_role("link", name="Add your first person"))
    person.choose(page.get_by_label("Drop a video here"), files["person"])
    person.fill(page.get_by_label("Consent"), CONSENT)
    person.click(page.get_by_role("button", name="Upload and train"))
    person.choose(page.get_by_label("Drop an audio file"), files["speech"])
    expect(page.get_by_role("button", name="Choose another")).to_be_visible()
    person.click(page.get_by_role("button", name="Make the video"))


def with_samples(person: Person) -> None:
    """The main job with the samples."""
    page = person.page
    person.click(page.get_by_role("button", name="Try it with a sample person"))
    person.click(page.get_by_role("button", name="Use sample speech"))
    expect(page.get_by_role("button", name="Choose another")).to_be_visible()
    person.click(page.get_by_role("button", name="Make the video"))


def addresses(browser: Browser, url: str) -> dict[str, str]:
    """Returns the addresses of views, with the person and the video that were made, by their names."""
    with visit(browser, url) as context:
        made = context.request.get("/v1/videos").json()["items"][0]
    return {
        "make a video": "/#/",
        "people": "/#/people",
        "person": f"/#/subjects/{made['subject_id']}",
        "videos": "/#/videos",
        "video": f"/#/videos/{made['id']}",
    }


def views(browser: Browser, url: str) -> dict[str, dict[str, float]]:
    """Visits all views again and again in one tab; returns what the page holds after the first round and after the last."""
    order_of_visits, figures = addresses(browser, url), {}
    with visit(browser, url) as context:
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Performance.enable")
        for number in range(1, ROUNDS + 1):
            for address in order_of_visits.values():
                open_view(page, address)
            if number in (1, ROUNDS):
                figures[f"after {number * len(order_of_visits)} views"] = held(session)
    return figures


def usable(browser: Browser, url: str, line: dict[str, float] | None) -> dict[str, dict[str, float]]:
    """Returns the seconds until views can be used over a line, at the first visit and at the second, by view."""
    figures = {}
    for view, address in addresses(browser, url).items():
        with visit(browser, url) as context:
            figures[view] = {name: seconds(context, address, line) for name in ("first visit", "second visit")}
    return figures


def seconds(context: BrowserContext, address: str, line: dict[str, float] | None) -> float:
    """Returns the seconds until a new tab at `address` can be used."""
    page = context.new_page()
    session = context.new_cdp_session(page)
    if line is not None:
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", {"offline": False, **line})
        session.send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWER})
    start = time.perf_counter()
    open_view(page, address)
    spent = time.perf_counter() - start
    page.close()
    return round(spent, 2)


def hour(browser: Browser, url: str, training: Path) -> dict[str, dict[str, float]]:
    """Follows a training for an hour of the page's clock; returns what the page holds after a minute and at the end."""
    with visit(browser, url) as context:
        context.add_init_script(COUNTING)
        page = context.new_page()
        traffic = Traffic(page)
        page.clock.install()
        page.goto("/#/new")
        page.get_by_label("Drop a video here").set_input_files(training)
        page.get_by_label("Consent").fill(CONSENT)
        page.get_by_role("button", name="Upload and train").click()
        page.wait_for_url("**/#/subjects/*")
        expect(page.get_by_role("region", name="Progress").get_by_text("Training the head")).to_be_visible()
        session = context.new_cdp_session(page)
        session.send("Performance.enable")
        figures, passed = {}, 0
        for name, end in (("after a minute", MINUTE_S), ("after an hour", HOUR_S)):
            for _ in range(end - passed):
                page.clock.run_for(1000)
                page.evaluate("settled()")
            passed = end
            figures[name] = held(session) | traffic.figures()
        return figures


def held(session: CDPSession) -> dict[str, float]:
    """Returns what a page holds after a collection of garbage."""
    for _ in range(2):  # what the first one finalises, the second one frees
        session.send("HeapProfiler.collectGarbage")
    found = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    return {
        "heap_mb": round(found["JSHeapUsedSize"] / 1e6, 2),
        "nodes": int(found["Nodes"]),
        "listeners": int(found["JSEventListeners"]),
    }


def tabs(browser: Browser, url: str) -> dict[str, float]:
    """Opens TABS tabs beside the training of `hour`; returns the connections they hold, and the seconds that Cancel and one more tab take."""
    port = urlsplit(url).port
    with visit(browser, url) as context:
        subject = context.request.get("/v1/subjects?state=training").json()["items"][0]
        address = f"/#/subjects/{subject['id']}"
        pages = [context.new_page() for _ in range(TABS)]
        for page in pages:
            open_view(page, address)
        counted = []
        for _ in range(20):
            time.sleep(0.1)
            counted.append(connections(port))
        start = time.perf_counter()
        open_view(context.new_page(), address)
        seventh_s = time.perf_counter() - start
        start = time.perf_counter()
        pages[0].get_by_role("button", name="Cancel").click()
        expect(pages[0].locator("main .head .chip")).to_have_text("Cancelled")
        cancel_s = time.perf_counter() - start
        expect(pages[-1].locator("main .head .chip")).to_have_text("Cancelled")
        told_s = time.perf_counter() - start
    return {
        "tabs": TABS,
        "connections_at_most": max(counted),
        "seventh_tab_s": round(seventh_s, 2),
        "cancel_s": round(cancel_s, 2),
        "told_in_the_last_tab_s": round(told_s, 2),
    }


def connections(port: int) -> int:
    """Returns the number of connections that processes of a browser have to a port of this machine."""
    found = (each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED and each.pid)
    return sum("chrom" in psutil.Process(each.pid).name() for each in found if each.raddr.port == port)


def show(figures: dict[str, Any]) -> None:
    """Prints the figures as tables."""
    console = Console()
    table = Table("view", *(f"{line}, {name}" for line in LINES for name in ("first", "second")), title="usable, s")
    for view in figures["usable_s"]["as it is"]:
        table.add_row(view, *(f"{value:.1f}" for line in LINES for value in figures["usable_s"][line][view].values()))
    console.print(table)
    for name in ("machine", "load_average", "first_view", "first_video", "views", "hour", "tabs"):
        console.print(f"{name}: {figures[name]}", highlight=False)


if __name__ == "__main__":
    main()
