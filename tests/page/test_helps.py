"""What the page does before anything is sent, and while one waits: files are judged, nothing is lost, somebody else's language is spoken."""

import re
import shutil

import numpy as np
import pytest
from playwright.sync_api import expect

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.files import ffmpeg
from api.services import samples
from tests.page.acts import assert_accessible, assert_fits, assert_one_line, make_subject, working
from tests.page.conftest import opened, running
from tests.page.core import face


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """Files that cannot be used, by what is wrong with them."""
    folder = tmp_path_factory.mktemp("wrong")
    files = {
        name: folder / name for name in ("empty.mp4", "notes.mp4", "silent.wav", "short.mp4", "mute.mp4", "quiet.wav")
    }
    files["empty.mp4"].touch()
    files["notes.mp4"].write_text("What we wanted to film\n")
    ffmpeg.write_wav(files["silent.wav"], np.zeros(2 * SAMPLE_RATE, np.float32))
    ffmpeg.write_video(files["short.mp4"], (face() for _ in range(FPS)), fps=FPS, audio=files["silent.wav"])
    ffmpeg.write_video(files["mute.mp4"], (face() for _ in range(9 * FPS)), fps=FPS)
    return files


def test_footage_is_judged_before_it_travels(page, wrong, footage):
    sent = []
    page.on("request", lambda request: request.method != "GET" and sent.append(request.url))
    page.goto("/#/new")
    place = page.get_by_label("Drop a video here")
    for name, answer in (
        ("empty.mp4", "This file is empty"),
        ("notes.mp4", "This is a text file, not a video"),
        ("silent.wav", "has no video"),
        ("short.mp4", "at least 8 sec"),
        ("mute.mp4", "no audio track"),
    ):
        place.set_input_files(wrong[name])
        expect(page.get_by_role("alert")).to_contain_text(answer)
    assert_accessible(page)
    place.set_input_files(footage("good"))
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator(".footage")).to_contain_text("96 × 96")
    assert not sent


def test_speech_is_judged_trimmed_and_kept_and_the_microphone_is_let_go(page, ann, say, wrong):
    page.goto(ann)
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_role("alert")).to_contain_text("Add speech first")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    page.get_by_label("Drop an audio file").set_input_files(wrong["silent.wav"])
    expect(page.get_by_role("alert")).to_contain_text("This audio is silent")

    page.evaluate(
        "() => { const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
        " navigator.mediaDevices.getUserMedia = async (wanted) => (window.heard = await ask(wanted)); }"
    )
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.locator(".recorder .clock")).to_have_text("0:01")
    page.get_by_role("link", name="People").first.click()
    expect(page.get_by_role("heading", name="People")).to_be_visible()
    assert page.evaluate("heard.getTracks().map((track) => track.readyState)") == ["ended"]
    page.goto(ann)
    expect(page.get_by_text("Your recording")).to_be_visible()  # what was said until then

    page.get_by_role("button", name="Record again").click()
    page.get_by_label("Drop an audio file").set_input_files(say)
    page.get_by_text("Trim", exact=True).click()
    page.get_by_label("End", exact=True).fill("0.6")
    page.get_by_role("button", name="Make the video").click()
    page.wait_for_url("**/#/videos/*")
    player = page.locator("video.player")
    expect(player).to_be_visible()
    expect(player).not_to_have_js_property("readyState", 0)
    assert player.evaluate("video => video.duration") == pytest.approx(0.6, abs=0.1)


def test_a_sample_person_is_one_click_away_on_an_empty_service(browser, footage, say, tmp_path, monkeypatch):
    """The samples lie there already: drawing them takes half a minute. Nobody has to speak a consent for the sample person."""
    (tmp_path / "data" / "samples").mkdir(parents=True)
    for name, path in (("person", footage()), ("speech", say)):
        shutil.copy(path, tmp_path / "data" / "samples" / samples.FILES[name])
    monkeypatch.setattr(samples, "available", lambda: True)
    with running(tmp_path / "data", consent_clip="required") as url, opened(browser, url) as page:
        page.get_by_role("button", name="Try it with a sample person").click()
        page.wait_for_url("**/#/subjects/*")  # without another click
        expect(page.get_by_role("heading", name="Sample person (animated photograph)", exact=True)).to_be_visible()
        page.get_by_role("button", name="Use sample speech").click()
        expect(page.get_by_role("button", name="Choose another")).to_be_visible()
        page.get_by_role("button", name="Make the video").click()
        page.wait_for_url("**/#/videos/*")
        expect(page.locator("video.player")).to_be_visible()
        expect(page.get_by_role("heading", name="Sample speech (synthetic)", exact=True)).to_be_visible()
        (subject,) = page.request.get("/v1/subjects").json()["items"]
        assert (subject["preset"], "Nobody was filmed" in subject["consent"]["text"]) == ("draft", True)
        page.goto("/#/new")
        expect(page.get_by_role("radio", name=re.compile("^Draft"))).to_be_visible()
        expect(page.get_by_text(re.compile("About .* on this server")).first).to_be_visible()


def test_the_tab_tells_how_far_it_is(page, footage):
    make_subject(page, footage("wim", train={"steps": 60, "pause": 0.1}))
    expect(working(page, "Training the head")).to_be_visible()
    expect(page).to_have_title(re.compile(r"\(\d+.?%\) wim"))
    expect(page.locator("link[rel=icon]")).to_have_attribute("href", re.compile("^data:image/png"))
    expect(page.get_by_text("ready in about")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    expect(working(page, "Training the head")).to_be_in_viewport()  # how far it is comes before the footage
    expect(page.locator(".player")).to_have_js_property("videoWidth", 96)  # the footage is shown at once
    page.get_by_role("button", name="Cancel").click()
    expect(page).to_have_title("wim – adnerf")


def test_a_service_that_goes_is_missed_at_once_and_its_return_noticed(page):
    page.goto("/#/people")
    expect(page.get_by_role("heading", name="People")).to_be_visible()
    page.route("**/*", lambda route: route.abort())
    expect(page.get_by_text("The service does not answer")).to_be_visible(timeout=3000)
    page.unroute_all(behavior="ignoreErrors")
    expect(page.get_by_text("The service does not answer")).to_be_hidden(timeout=5000)


@pytest.mark.parametrize(("locale", "title"), [("en-GB", "People"), ("de-CH", "Personen"), ("zh-CN", "人物")])
def test_the_page_speaks_the_browser_s_language(browser, service, locale, title):
    with opened(browser, service, locale=locale, viewport={"width": 320, "height": 700}) as page:
        for address in ("/#/new", "/#/videos", "/"):
            page.goto(address)
            expect(page.locator("main")).not_to_have_attribute("aria-busy", "true")
            assert_fits(page)
            assert_one_line(page)
        expect(page.get_by_role("link", name=title, exact=True)).to_be_visible()
        assert page.evaluate("document.documentElement.lang") == locale[:2]
