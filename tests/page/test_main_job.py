"""The main job as a person does it: footage in, watched; speech in; a video out."""

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from storage.local_token import load_or_create
from tests.page.acts import (
    assert_accessible,
    confirm,
    make_subject,
    make_video,
    ready_subject,
    settings,
    shape,
    speak,
    working,
)
from tests.page.conftest import opened, running
from tests.page.core import order, write_tone


def test_by_mouse_with_a_recording(page, footage):
    page.get_by_role("link", name="People").click()
    page.get_by_role("link", name="Add a person").click()
    page.get_by_role("button", name="Upload and train").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose a video first")
    page.get_by_label("Drop a video here").set_input_files(footage("ann", steps=5, train={"steps": 5}))
    expect(page.get_by_label("Name")).to_have_value("ann")
    page.get_by_role("button", name="Upload and train").click()
    expect(page.get_by_role("alert")).to_contain_text("Write who agreed")
    expect(page.get_by_label("Consent")).to_be_focused()
    assert_accessible(page)
    page.get_by_label("Consent").fill("Ann agreed, 2 May")
    page.get_by_role("button", name="Upload and train").click()

    expect(page.get_by_role("heading", name="ann", exact=True)).to_be_visible()
    expect(page.get_by_text("The face is rather small")).to_be_visible()
    expect(page.locator(".preview .still")).to_have_js_property("videoWidth", 96)  # a frame of the footage
    expect(page.get_by_text("Looks good", exact=False)).to_be_visible()
    assert_accessible(page)

    record = page.get_by_role("button", name="Record", exact=True)
    record.click()
    page.get_by_role("button", name="Stop recording").click()
    expect(page.get_by_role("alert")).to_contain_text("at least one second")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    record.click()
    expect(page.locator(".recorder .clock")).to_have_text("0:02")
    page.get_by_role("button", name="Stop recording").click()
    expect(page.locator(".sound audio")).to_be_visible()
    expect(page.locator("canvas.wave")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    settings(page)
    page.get_by_role("slider", name="Left–right").fill("10")
    expect(page.get_by_role("img", name=re.compile("10° right"))).to_be_visible()
    page.get_by_role("radio", name="Color").check()
    page.get_by_label("Color").last.fill("#102030")
    expect(page.locator("summary .set")).to_have_text("Portrait · #102030 · 10° right")
    page.get_by_role("button", name="Make the video").click()

    player = page.locator("video.player")
    expect(player).to_be_visible()
    expect(page.get_by_text("#102030")).to_be_visible()
    expect(page.get_by_text("10° right")).to_be_visible()
    player.evaluate("video => { video.muted = true; return video.play(); }")
    expect(player).not_to_have_js_property("currentTime", 0)
    assert_accessible(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename.endswith(".mp4")
    assert download.value.path().read_bytes()[4:8] == b"ftyp"


def test_the_whole_frame_is_played_in_its_shape_and_a_portrait_on_request(page, ann, say):
    page.goto(ann)
    whole = speak(page, say)
    player = page.locator("video.player")
    assert shape(player) == pytest.approx(170 / 96, rel=0.01)
    expect(player).to_have_css("object-fit", "contain")
    expect(page.get_by_text("170 × 96, MP4")).to_be_visible()
    expect(player).to_have_js_property("videoWidth", 170)
    assert shape(player) == pytest.approx(170 / 96, rel=0.01)  # the same as before anything was loaded

    page.goto(ann)
    settings(page)
    expect(page.get_by_text("1280 × 720")).to_be_visible()
    page.get_by_role("radio", name=re.compile("Portrait")).check()
    portrait = speak(page, say)
    expect(page.locator(".facts")).to_contain_text("Portrait")
    assert shape(player) == pytest.approx(1, rel=0.01)

    page.goto(ann)
    settings(page)
    page.get_by_role("radio", name=re.compile("Whole frame")).check()
    page.get_by_role("slider", name="Left–right").fill("10")
    make_video(page, say)
    expect(page.get_by_role("alert")).to_contain_text("only be changed in a portrait")

    page.goto(f"/#/compare/{whole.split('/')[-1]}/{portrait.split('/')[-1]}")
    expect(page.locator("video")).to_have_count(2)
    left, right = page.locator("video").all()
    assert (shape(left), shape(right)) == (pytest.approx(170 / 96, rel=0.01), pytest.approx(1, rel=0.01))


def test_a_video_is_watched_while_it_is_rendered(browser, footage, tmp_path):
    """With a key, which no `<video>` can send."""
    write_tone(tmp_path / "say.wav", 6)
    with running(tmp_path / "data", open_mode="token") as url, opened(browser, url) as page:
        page.goto(f"/#token={load_or_create(tmp_path / 'data')}")
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        ready_subject(page, footage("kim"))
        make_video(page, order(tmp_path / "say.wav", frame_pause=0.06))
        preview = page.locator("video.watched")
        expect(preview).to_be_visible()
        expect(page.get_by_text("not signed yet")).to_be_visible()
        page.wait_for_function("() => document.querySelector('video.watched')?.currentTime > 0.5")
        assert preview.evaluate("video => [video.videoWidth, video.videoHeight]") == [170, 96]
        assert preview.get_attribute("poster").startswith("blob:"), "a picture before the first second"
        assert_accessible(page)
        player = page.locator("video.player")
        expect(player).to_be_visible()
        expect(preview).to_have_count(0)
        expect(player).to_have_js_property("videoWidth", 170)
        expect(page.get_by_text("Signed and watermarked")).to_be_visible()
        expect(player).not_to_have_js_property("currentTime", 0)  # it goes on where the preview was


def test_a_video_without_speech_loops(page, ann):
    page.goto(ann)
    page.get_by_role("button", name="Without speech").click()
    length = page.get_by_label("Length in seconds")
    expect(length).to_be_focused()
    length.fill("90")
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_role("alert")).to_contain_text("1 to 60 seconds")
    length.fill("1.5")
    assert_accessible(page)
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_role("heading", name="Silent")).to_be_visible()
    expect(page.locator("video.player")).to_have_js_property("loop", True)
    expect(page.locator(".facts")).to_contain_text("silent, loops")


def test_a_subject_of_an_earlier_version_says_how_to_get_the_whole_frame(page, footage, say):
    ready_subject(page, footage("old", train={"old": True}))
    settings(page)
    expect(page.get_by_text("Add it again from its footage")).to_be_visible()
    expect(page.get_by_role("radio", name=re.compile("Whole frame"))).to_have_count(0)


def test_a_reload_anywhere_keeps_its_place(page, footage):
    address = make_subject(page, footage("bob", train={"steps": 40, "pause": 0.1}))
    expect(working(page, "Training the head")).to_be_visible()
    page.reload()
    expect(working(page, "Training the head")).to_be_visible()
    assert page.url == address
    page.get_by_role("link", name="People").first.click()
    expect(page.get_by_role("link", name=re.compile("bob"))).to_contain_text("Training")
    page.go_back()
    expect(page.get_by_role("heading", name="bob", exact=True)).to_be_visible()


def test_two_videos_side_by_side(page, ann, say):
    for _ in range(2):
        page.goto(ann)
        speak(page, say)
    page.get_by_role("navigation").get_by_role("link", name="Videos").click()
    boxes = page.get_by_role("checkbox", name=re.compile("Ann Lee"))
    for k in range(2):
        boxes.nth(k).check()
    page.get_by_role("link", name="Compare the two").click()
    page.get_by_role("button", name="Play").click()
    left, right = page.locator("video").all()
    for player in (left, right):
        expect(player).to_have_js_property("ended", True)
    expect(right).to_have_js_property("muted", True)
    page.get_by_label("Video 2", exact=True).check()
    expect(right).to_have_js_property("muted", False)
    expect(left).to_have_js_property("muted", True)
    assert_accessible(page)


def test_a_video_says_what_became_of_it(page, footage, say, tmp_path):
    subject = ready_subject(page, footage("eve"))
    slow = order(Path(shutil.copy(say, tmp_path / "slow.wav")), steps=200, pause=0.1)
    make_video(page, slow)
    state = page.locator("main .head .chip")
    expect(state).to_have_text("Rendering")
    page.get_by_role("button", name="Cancel").click()
    expect(state).to_have_text("Cancelled")
    expect(page.locator("main")).to_be_focused()  # the button is gone
    video = page.url
    page.goto(subject)
    page.get_by_role("button", name="Withdraw consent").click()
    confirm(page, "Withdraw")
    expect(page.get_by_text("no more videos of this person")).to_be_visible()
    page.goto(video)
    expect(state).to_have_text("Consent withdrawn")
    expect(page.get_by_text("no more videos of this person")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)


def test_renaming_withdrawing_deleting(page, footage, say):
    address = ready_subject(page, footage("dan"))
    page.get_by_role("button", name="Rename").click()
    name = page.get_by_label("Name")
    name.fill("Daniel")
    name.press("Enter")
    expect(page.get_by_role("heading", name="Daniel", exact=True)).to_be_visible()

    speak(page, say)
    expect(page.get_by_role("heading", name="say", exact=True)).to_be_visible()  # the name of the sound
    page.get_by_role("button", name="Rename the video").click()
    title = page.get_by_label("Title")
    expect(title).to_have_value("say")
    title.fill("gone again")
    title.press("Escape")
    page.get_by_role("button", name="Rename the video").click()
    title.fill("Hello: 1/2")
    assert_accessible(page)
    title.press("Enter")
    expect(page.get_by_role("heading", name="Hello: 1/2", exact=True)).to_be_visible()
    expect(page).to_have_title(re.compile("^Hello: 1/2"))
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "Daniel - Hello_ 1_2.mp4"
    page.get_by_role("button", name="Rename the video").click()
    page.request.patch(page.url.replace("/#/", "/v1/"), data={"title": "From elsewhere"})
    title.fill("Too late")
    title.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Somebody else has changed this")
    title.press("Escape")
    expect(page.get_by_role("heading", name="From elsewhere", exact=True)).to_be_visible()

    page.goto(address)
    page.get_by_role("button", name="Allow learning for others").click()
    page.get_by_role("button", name="Stop learning for others").click()
    expect(page.get_by_text("Not used to improve the lips of other people.")).to_be_visible()
    page.get_by_role("button", name="Withdraw consent").click()
    assert_accessible(page)
    page.get_by_label("Also delete").check()
    confirm(page, "Withdraw")
    expect(page.get_by_text("no more videos of this person")).to_be_visible()
    expect(page.locator(".line .chip")).to_have_text("Consent withdrawn", timeout=5000)  # before it is polled
    expect(page.locator(".line img")).to_be_hidden()
    expect(page.get_by_role("button", name="Make the video")).to_have_count(0)
    page.get_by_role("button", name="Delete").click()
    expect(page).to_have_url(re.compile(r"/#/people$"))
    page.goto(address)
    expect(page.get_by_text("In the trash.")).to_be_visible()
    expect(page.get_by_role("button", name="Withdraw consent")).to_have_count(0)


def test_a_script_is_read_by_a_voice_and_its_captions_are_shown(page, ann):
    page.goto(ann)
    page.get_by_role("button", name="Write a script").click()
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_role("alert")).to_contain_text("Write what is to be said first")
    expect(page.get_by_label("Voice", exact=True)).to_contain_text("Ada (en, CC0-1.0)")
    page.get_by_label("Script").fill("Hello, I am Ann.")
    settings(page)
    page.get_by_label("Shape").select_option("9:16")
    expect(page.get_by_label("Fit")).to_be_visible()
    page.get_by_label("Title").fill("Welcome")
    page.get_by_label("Captions").select_option("In the player")
    expect(page.locator("summary .set")).to_contain_text("9:16 · As filmed · Captions · Welcome")
    assert_accessible(page)
    page.get_by_role("button", name="Make the video").click()
    page.wait_for_url("**/#/videos/*")
    expect(page.locator("video.player track")).to_have_attribute("src", re.compile("/captions$"))
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()
    expect(page.get_by_text("a script, read by stub-ada")).to_be_visible()
    first_cue = """track => new Promise(done => {
        const look = () => track.track.cues?.length ? done(track.track.cues[0].text) : setTimeout(look, 50);
        look();
    })"""
    assert page.locator("video.player track").evaluate(first_cue) == "Hello"
