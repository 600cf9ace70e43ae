"""The true frame of the preview; videos that are shared, deleted and brought back; footage that the camera records."""

import re

import pytest
from playwright.sync_api import expect

from tests.page.acts import (
    CONSENT,
    arrive,
    assert_accessible,
    assert_fits,
    confirm,
    ready_subject,
    settings,
    shape,
    speak,
)
from tests.page.conftest import opened, running


def color_above(frame):
    """The colour of the topmost row of an image, as `[r, g, b]`."""
    return frame.evaluate(
        "image => { const c = new OffscreenCanvas(image.naturalWidth, image.naturalHeight).getContext('2d');"
        " c.drawImage(image, 0, 0); return [...c.getImageData(4, 2, 1, 1).data].slice(0, 3); }"
    )


def test_the_preview_is_a_frame_that_the_service_has_rendered(page, ann):
    page.goto(ann)
    frame = page.locator(".preview img.true")
    expect(frame).to_be_visible()
    expect(frame).to_have_js_property("naturalWidth", 170)
    expect(page.get_by_text("Preview: a frame as in the video")).to_be_visible()
    settings(page)
    page.get_by_role("radio", name="Color").check()
    page.get_by_label("Color").last.fill("#c02040")
    expect(frame).to_be_hidden()  # the rough preview has the colour at once
    expect(page.locator(".portrait-of")).to_have_css("background-color", "rgb(192, 32, 64)")
    expect(frame).to_be_visible()
    assert color_above(frame) == pytest.approx([192, 32, 64], abs=6)
    assert_accessible(page)


def test_what_is_deleted_comes_back(page, footage, say):
    address = ready_subject(page, footage("bea"))
    video = speak(page, say)
    page.get_by_role("button", name="Delete").click()
    toast = page.locator(".toast")
    expect(toast).to_contain_text("1 video is in the trash")
    assert toast.bounding_box()["y"] + toast.bounding_box()["height"] <= page.locator("main").bounding_box()["y"]
    expect(page.get_by_role("button", name="Make the video")).to_be_visible()
    assert_accessible(page)
    toast.get_by_role("button", name="Undo").click()
    expect(page.locator("video.player")).to_be_visible()
    assert page.url == video
    expect(toast).to_have_count(0)

    page.goto(address)
    page.get_by_role("button", name="Delete").click()
    expect(toast).to_contain_text("bea is in the trash, with all videos")
    expect(page).to_have_url(re.compile("#/people$"))
    expect(page.get_by_role("link", name=re.compile("bea"))).to_have_count(0)
    page.goto(video)
    expect(page.get_by_text("In the trash.")).to_be_visible()
    expect(page.locator("video.player")).to_have_count(0)
    page.get_by_role("navigation").get_by_role("link", name="People").click()
    page.get_by_role("link", name="Trash").click()
    line = page.locator(".line", has_text="bea")
    expect(line).to_contain_text("with 1 video")
    expect(line).to_contain_text("tomorrow")
    assert_accessible(page)
    line.get_by_role("button", name="Restore: bea").click()
    expect(line).to_have_count(0)
    page.goto(address)
    page.get_by_role("button", name="Delete").click()
    arrive(page, "People")
    page.goto("/#/trash")
    line.get_by_role("button", name="Delete now: bea").click()
    confirm(page, "Delete now")
    expect(line).to_have_count(0)
    page.goto(address)
    expect(page.get_by_role("alert")).to_contain_text("does not exist or was deleted")


def test_a_video_is_shared_embedded_and_closed_again(page, browser, service, ann, say):
    page.goto(ann)
    speak(page, say)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Share").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Valid for").select_option("30")
    dialog.get_by_role("button", name="Create a link").click()
    url = dialog.get_by_label("Link", exact=True).input_value()
    expect(dialog.get_by_text("only answers this computer")).to_be_visible()
    assert_accessible(page)
    dialog.get_by_role("button", name="Copy embed code").click()
    expect(dialog.get_by_text("Copied.")).to_be_visible()
    code = page.evaluate("navigator.clipboard.readText()")

    with opened(browser, service) as other:
        other.goto(url)
        player = other.locator("video")
        expect(player).not_to_have_js_property("readyState", 0)
        assert shape(player) == pytest.approx(170 / 96, rel=0.02)  # no bars beside it
        other.set_viewport_size({"width": 1200, "height": 400})
        assert shape(player) == pytest.approx(170 / 96, rel=0.02)
        expect(other.get_by_text("AI-generated video")).to_be_visible()
        assert_accessible(other)
        other.route("**/page-that-embeds", lambda route: route.fulfill(content_type="text/html", body=code))
        other.goto("/page-that-embeds")
        expect(other.frame_locator("iframe").locator("video")).not_to_have_js_property("readyState", 0)
        other.goto(url)
        player.evaluate("video => { video.loop = video.muted = true; return video.play(); }")
        dialog.get_by_role("button", name="Revoke").click()
        expect(dialog.get_by_label("Link", exact=True)).to_have_count(0)
        expect(
            other.get_by_text("expired or was revoked")
        ).to_be_visible()  # in the middle of watching, from the browser's memory
        expect(player).to_have_count(0)
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)


def test_a_person_is_exported_and_imported(page, footage, tmp_path):
    ready_subject(page, footage("fay"))
    page.get_by_role("button", name="Export").click()
    expect(page.get_by_role("dialog")).to_contain_text("even if the consent is withdrawn later")
    with page.expect_download() as download:
        confirm(page, "Export")
    assert download.value.suggested_filename == "fay.zip"
    expect(page.locator("#said")).to_have_text("fay is being saved to the browser's downloads.")
    assert download.value.url.endswith("/export"), "it is not collected in the page's memory"
    download.value.save_as(tmp_path / "fay.zip")
    (tmp_path / "half.zip").write_bytes((tmp_path / "fay.zip").read_bytes()[:-100])

    def choose(name):
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Import an exported person").click()
        chooser.value.set_files(tmp_path / name)

    page.goto("/#/new")
    choose("half.zip")
    expect(page.get_by_role("alert")).to_contain_text("This file cannot be imported.")
    assert_accessible(page)
    choose("fay.zip")
    page.wait_for_url("**/#/subjects/*")
    expect(page.get_by_role("heading", name="fay", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Make the video")).to_be_visible()


def test_footage_is_recorded_with_the_camera(page):
    page.goto("/#/new")
    page.get_by_role("button", name="Record with the camera").click()
    panel = page.get_by_role("region", name="Recording with the camera")
    expect(panel.get_by_text("The North Wind and the Sun")).to_be_visible()
    expect(panel.locator("video")).not_to_have_js_property("videoWidth", 0)
    assert_accessible(page)
    panel.get_by_role("button", name="Start recording").click()
    expect(panel.locator(".countdown")).to_have_text(re.compile("[123]"))
    expect(panel.locator(".clock")).to_have_text(re.compile(r"0:0[1-7]"))
    panel.get_by_role("button", name="Stop recording").click()
    expect(panel.get_by_role("alert")).to_contain_text("at least 8 seconds")
    panel.get_by_role("button", name="Start recording").click()
    expect(panel.locator(".clock")).to_have_text(re.compile(r"0:(09|[1-5]\d)"))
    panel.get_by_role("button", name="Stop recording").click()
    expect(page.locator(".footage strong")).to_have_text("Recording.webm")
    expect(page.locator(".footage")).to_contain_text(re.compile(r"([89]|[1-5]\d) sec"))
    page.get_by_role("button", name="Choose another").click()
    expect(page.get_by_role("button", name="Record with the camera")).to_be_visible()


def test_spoken_consent_is_recorded_sent_and_shown(browser, footage, tmp_path):
    with running(tmp_path / "data", consent_clip="required") as url, opened(browser, url) as page:
        page.goto("/#/new")
        page.get_by_label("Drop a video here").set_input_files(footage("ann"))
        page.get_by_label("Consent", exact=True).fill(CONSENT)
        asked = page.get_by_role("group", name="Spoken consent")
        expect(asked).to_contain_text("I am ann, and I agree")
        page.get_by_label("Name", exact=True).fill("Ann Lee")
        expect(asked).to_contain_text("I am Ann Lee, and I agree")
        page.get_by_role("button", name="Upload and train").click()
        expect(page.get_by_role("alert")).to_contain_text("Record the spoken consent")
        asked.get_by_label("Drop a clip here").set_input_files(
            {"name": "yes.mp4", "mimeType": "", "buffer": b"I agree"}
        )
        expect(asked.get_by_role("alert")).to_contain_text("a text file, not a video")
        asked.get_by_role("button", name="Record the consent").click()
        expect(asked.locator(".camera-text")).to_contain_text("I am Ann Lee")
        assert_accessible(page)
        asked.get_by_role("button", name="Start recording").click()
        expect(asked.locator(".clock")).to_have_text(re.compile(r"0:(0[4-9]|[1-5]\d)"))
        asked.get_by_role("button", name="Stop recording").click()
        expect(asked.get_by_label("Spoken consent")).not_to_have_js_property("readyState", 0)
        expect(asked.get_by_role("button", name="Record again")).to_be_visible()
        expect(page.get_by_role("alert")).to_have_count(0)
        page.set_viewport_size({"width": 320, "height": 700})
        assert_fits(page)
        assert_accessible(page)
        page.get_by_role("button", name="Upload and train").click()
        page.wait_for_url("**/#/subjects/*")
        page.get_by_role("button", name="Watch the spoken consent").click()
        player = page.get_by_label("Spoken consent")
        expect(player).not_to_have_js_property("readyState", 0)
        assert player.evaluate("video => video.videoWidth > 0 && !video.error")
