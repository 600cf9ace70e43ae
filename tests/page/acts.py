"""What tests do on the page again and again, as a person does it."""

from __future__ import annotations

import re
from pathlib import Path

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Locator, Page, expect

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLORS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
"""What can differ between two schemes of colors of one view."""
CONSENT = "Ann agreed to be shown, 2 May"


def begin(page: Page, footage: Path) -> None:
    """From the gallery: sends footage; ends where the upload begins."""
    page.goto("/#/new")
    page.get_by_label(re.compile("^(Drop|Choose) a video")).set_input_files(footage)
    page.get_by_label("Consent").fill(CONSENT)
    page.get_by_role("button", name="Upload and train").click()


def make_subject(page: Page, footage: Path) -> str:
    """Sends footage and waits until the page of the new subject is there; its address."""
    begin(page, footage)
    page.wait_for_url("**/#/subjects/*")
    return page.url


def ready_subject(page: Page, footage: Path) -> str:
    """The address of a subject that was just made and can speak."""
    address = make_subject(page, footage)
    expect(page.get_by_role("button", name="Make the video")).to_be_visible()
    return address


def make_video(page: Page, sound: Path) -> None:
    """On the page of a subject that is ready: makes a video of it, and does not wait for it."""
    page.get_by_label(re.compile("^(Drop|Choose) an audio file")).set_input_files(sound)
    # Until the sound is judged, the button below still moves.
    expect(page.get_by_role("button", name="Choose another")).to_be_visible()
    page.get_by_role("button", name="Make the video").click()


def speak(page: Page, sound: Path) -> str:
    """On the page of a subject that is ready: makes a video, and waits for it; its address."""
    make_video(page, sound)
    page.wait_for_url("**/#/videos/*")
    expect(page.locator("video.player")).to_be_visible()
    return page.url


def arrive(page: Page, heading: str) -> None:
    """Waits until the view with this heading is complete; the focus is at its beginning then."""
    expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
    expect(page.locator("main")).not_to_have_attribute("aria-busy", "true")


def working(page: Page, text: str) -> Locator:
    """What the progress of a job says."""
    return page.get_by_role("region", name="Progress").get_by_text(text)


def settings(page: Page) -> None:
    """Unfolds the settings of the form for a video."""
    page.get_by_text("Settings", exact=True).click()


def confirm(page: Page, action: str) -> None:
    """Presses the button that means it."""
    page.get_by_role("dialog").get_by_role("button", name=action).click()


def assert_accessible(page: Page, rules: dict = RULES) -> None:
    """Asserts that axe finds no violation of WCAG 2.2 A and AA, or of other `rules`."""
    if not page.evaluate("'axe' in window"):  # it stays for all views of the document
        page.evaluate(AXE_SCRIPT)
    options = rules | {"resultTypes": ["violations"]}  # of all others one example is enough
    found = page.evaluate("options => axe.run(options).then((results) => results.violations)", options)
    assert not found, [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found]


def assert_fits(page: Page) -> None:
    """Asserts that nothing has to be scrolled sideways."""
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], width


def assert_one_line(page: Page) -> None:
    """Asserts that the navigation is in one line."""
    tops = page.locator("header nav a").evaluate_all("links => links.map((link) => link.offsetTop)")
    assert len(set(tops)) == 1, tops


def shape(player: Locator) -> float:
    """Width by height of a player, as it is on the page."""
    box = player.bounding_box()
    return box["width"] / box["height"]


def sent_from(headers: dict[str, str]) -> int:
    """The offset that a PATCH of an upload names."""
    return int(re.fullmatch(r"\d+", headers["upload-offset"])[0])
