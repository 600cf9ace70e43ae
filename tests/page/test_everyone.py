"""The page for those who have no mouse, a small screen, a dark room, or a screen reader."""

import re

from playwright.sync_api import expect

from tests.page.acts import COLORS, CONSENT, RULES, arrive, assert_accessible, assert_fits, ready_subject, speak
from tests.page.conftest import opened

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}


def focused(page):
    """The name of what has the focus, as it is read out."""
    return page.evaluate(
        "(e => e.ariaLabel || e.labels?.[0]?.innerText || e.innerText || e.tagName)(document.activeElement)"
    ).strip()


def background(page):
    """The brightness behind the text, 0..255."""
    color = "(of => getComputedStyle(of).backgroundColor)(document.%s)"
    body, whole = (page.evaluate(color % place) for place in ("body", "documentElement"))
    return max(map(int, re.findall(r"\d+", whole if body == "rgba(0, 0, 0, 0)" else body)[:3]))


def tab_to(page, name, most=40):
    """Presses Tab until what is called `name` has the focus, which must be seen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if re.match(name, focused(page)):
            outline = page.evaluate(
                "(e => getComputedStyle(e.matches('.drop input') ? e.parentElement : e).outlineStyle)(document.activeElement)"
            )
            assert outline != "none", name
            return
    raise AssertionError(f"{name} is not reached by Tab")


def test_by_keyboard_alone(page, footage, say):
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.reload()  # the address is still that of the view
    expect(page.get_by_role("link", name=re.compile("Add (a|your first) person"))).to_be_visible()
    expect(page.locator("main")).not_to_have_attribute("aria-busy", "true")
    tab_to(page, "Add (a|your first) person")
    page.keyboard.press("Enter")
    arrive(page, "Add a person")
    tab_to(page, "Drop a video here")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(footage("joy"))
    expect(page.get_by_role("button", name="Choose another")).to_be_focused()
    tab_to(page, "Name")
    tab_to(page, "Consent")
    page.keyboard.type(CONSENT)
    tab_to(page, "Standard")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_label("Draft")).to_be_checked()
    tab_to(page, "Upload and train")
    page.keyboard.press("Enter")
    arrive(page, "joy")
    expect(page.get_by_role("button", name="Make the video")).to_be_visible()

    tab_to(page, "Drop an audio file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(say)
    expect(page.get_by_role("button", name="Choose another")).to_be_focused()
    tab_to(page, "Settings")
    page.keyboard.press("Enter")
    tab_to(page, "Left–right")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("slider", name="Left–right")).to_have_attribute("aria-valuetext", "1° right")
    tab_to(page, "Make the video")
    page.keyboard.press("Enter")
    arrive(page, "say")
    expect(page.locator("video.player")).to_be_visible()

    tab_to(page, "Share")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Share")).to_be_focused()  # back where it was
    tab_to(page, "Delete")
    page.keyboard.press("Enter")
    arrive(page, "joy")
    tab_to(page, "Undo", most=80)
    page.keyboard.press("Enter")
    arrive(page, "say")


def test_on_a_phone_in_the_dark(browser, service, footage, say):
    with opened(browser, service, color_scheme="dark", reduced_motion="reduce", **PHONE) as page:
        subject = ready_subject(page, footage("kim-with-a-name-that-is-long-enough-to-be-a-nuisance-on-small-screens"))
        video = speak(page, say)
        for address in ("/", "/#/people", "/#/new", "/#/videos", "/#/trash", "/#/verify", subject, video):
            page.goto(address)
            expect(page.locator("main")).not_to_have_attribute("aria-busy", "true")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            assert_fits(page)
            assert_accessible(page)


def test_what_happens_is_said(page, footage):
    said = page.evaluate_handle(
        "() => { const texts = []; const place = document.querySelector('#said');"
        " new MutationObserver(() => texts.push(place.textContent)).observe(place, {childList: true, characterData: true});"
        " return texts; }"
    )
    ready_subject(page, footage("lea", steps=5, pause=0.3, train={"steps": 15, "pause": 0.3}))
    texts = said.json_value()
    assert {"Add a person", "Training the head", "Ready"} <= set(texts), texts


def test_the_pages_for_programmers_are_accessible_and_dark_in_the_dark(browser, service):
    with opened(browser, service, color_scheme="dark") as page:
        document = page.request.get("/openapi.json").json()  # of which a part looks like the whole, and is drawn sooner
        document["paths"] = {path: document["paths"][path] for path in ("/v1/subjects", "/v1/subjects/{subject_id}")}
        page.route("**/openapi.json", lambda route: route.fulfill(json=document))
        page.goto("/docs")
        page.locator(".opblock-summary-control").first.click()  # unfolds an operation
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            expect(page.locator("html")).to_have_class("dark-mode" if scheme == "dark" else "")
            assert_accessible(page, RULES if scheme == "light" else COLORS)
        assert background(page) < 40
        page.goto("/errors")
        few = "all => all.slice(6).forEach((each) => each.remove())"  # all look like these
        page.locator("section").evaluate_all(few)
        assert_accessible(page)
        assert background(page) < 40
        page.goto("/static/licences.html")
        assert background(page) < 40
        page.set_viewport_size({"width": 360, "height": 740})
        assert_fits(page)
