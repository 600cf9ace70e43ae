"""What is seen: cards that hold what is in them, a view that is shown as it was set, files dropped beside their place."""

import base64
import re

import pytest
from playwright.sync_api import expect

from tests.page.acts import CONSENT, make_video, settings
from tests.page.conftest import opened

STATES = {"preprocessing": "Checking footage", "withdrawn": "Consent withdrawn"}
STICKS_OUT = """card => {
  const right = card.getBoundingClientRect().right;
  return [...card.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > right).map(e => e.outerHTML.slice(0, 200));
}"""
DROP = """(place, [kind, name, content]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([Uint8Array.from(atob(content), (each) => each.charCodeAt(0))], name));
  return place.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
}"""


def drop(place, name, content):
    """Drops a file; whether the browser would now leave the page for it."""
    encoded = base64.b64encode(content).decode()
    return [place.evaluate(DROP, [kind, name, encoded]) for kind in ("dragover", "drop")] != [False, False]


def test_a_card_holds_its_state_and_its_name(browser, service):
    subjects = [
        {
            "id": f"{state}{name}",
            "name": name,
            "state": "ready" if state == "withdrawn" else state,
            "quality": None,
            "consent": {"withdrawn_at": "2026-05-02T10:00:00Z" if state == "withdrawn" else None},
            "jobs": [],
            "links": {},
        }
        for state in STATES
        for name in ("speaker2", "Ann Lee of the evening news", "n" * 60)
    ]
    with opened(browser, service) as page:
        given = page.request.get("/v1/subjects?limit=100").json()
        page.route("**/v1/subjects?*", lambda route: route.fulfill(json=given | {"items": subjects}))
        page.goto("/#/people")
        for text in STATES.values():
            expect(page.get_by_text(text)).to_have_count(3)
        for width in (360, 390, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            for card in page.locator(".card").all():
                assert card.evaluate(STICKS_OUT) == []
            # A name breaks only where it must.
            lines = page.get_by_text("speaker2").evaluate_all(
                "all => all.map(e => { const r = document.createRange(); r.selectNodeContents(e); return r.getClientRects().length; })"
            )
            assert lines == [1, 1]
        page.unroute_all(behavior="ignoreErrors")  # the gallery asks again and again, also while it is closed


def test_a_view_is_shown_tilted_and_zoomed(page, ann, say):
    page.goto(ann)
    settings(page)
    page.get_by_role("radio", name=re.compile("^Portrait")).check()
    tile = page.locator(".portrait-of .person")
    flat = tile.bounding_box()
    page.get_by_role("slider", name="Zoom").fill("1.75")
    large = tile.bounding_box()
    assert large["width"] == pytest.approx(1.75 * flat["width"], rel=0.01)
    page.get_by_role("slider", name="Tilt").fill("15")
    matrix = tile.evaluate("e => { const m = new DOMMatrix(getComputedStyle(e).transform); return [m.a, m.b]; }")
    assert matrix == pytest.approx([1.75 * 0.9659, 1.75 * 0.2588], rel=0.01)  # clockwise
    make_video(page, say)
    expect(page.get_by_text("tilted 15° right, zoom 175 %")).to_be_visible()


def test_files_dropped_anywhere_are_taken_or_answered(page, footage):
    film = footage().read_bytes()
    page.goto("/#/new")
    expect(page.get_by_label("Drop a video here")).to_be_attached()
    name = page.get_by_label("Name")
    assert not drop(page.get_by_role("heading", name="Add a person"), "first.mp4", film)
    expect(name).to_have_value("first")
    assert not drop(page.locator(".footage video"), "second.mp4", film)
    expect(name).to_have_value("second")
    name.fill("Ann")
    assert not drop(page.locator("main"), "third.mp4", film)
    expect(page.locator(".footage")).to_contain_text("third.mp4")
    expect(name).to_have_value("Ann")
    page.get_by_role("link", name="Videos").click()
    expect(page.get_by_role("heading", name="Videos")).to_be_visible()
    assert not drop(page.locator("main"), "fourth.mp4", film)
    expect(page.locator("#banner")).to_contain_text("“fourth.mp4” was not used")
    page.go_back()  # what was chosen and typed is still there
    expect(page.locator(".footage")).to_contain_text("third.mp4")
    expect(name).to_have_value("Ann")


def test_another_file_after_one_that_was_refused(page, footage):
    page.goto("/#/new")
    page.route(
        "**/v1/uploads*", lambda route: route.fulfill(status=415, json={"detail": "This is no video.", "code": "bad"})
    )
    page.get_by_label("Drop a video here").set_input_files(footage("wrong"))
    page.get_by_label("Consent").fill(CONSENT)
    page.get_by_role("button", name="Upload and train").click()
    expect(page.get_by_role("alert")).to_contain_text("This is no video.")
    page.get_by_role("button", name="Choose another").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_label("Drop a video here")).to_be_focused()
    page.get_by_label("Drop a video here").set_input_files(footage("right"))
    expect(page.get_by_label("Name")).to_have_value("right")


def test_a_video_without_background_lies_on_a_chequerboard_beside_another(page, ann, say):
    page.goto(ann)
    settings(page)
    page.get_by_role("radio", name="Transparent").check()
    make_video(page, say)
    page.wait_for_url("**/#/videos/*")
    expect(page.locator("video.player.clear")).to_be_visible()
    clear = page.url.rpartition("/")[2]
    page.goto(ann)
    page.goto(f"/#/compare/{clear}/{clear}")
    expect(page.locator(".side video").first).to_have_css("background-image", re.compile("conic-gradient"))
