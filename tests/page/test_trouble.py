"""What goes wrong, and what people are told and can do."""

import re
import time
from contextlib import closing

import pytest
from playwright.sync_api import expect

from storage.database.engine import Database
from storage.local_token import load_or_create
from storage.settings import Settings
from storage.tables import api_keys
from tests.page.acts import (
    assert_accessible,
    assert_one_line,
    begin,
    confirm,
    make_subject,
    ready_subject,
    sent_from,
    speak,
    working,
)
from tests.page.conftest import opened, running

PIECE = 8 << 20


def test_footage_that_cannot_work_says_why_and_what_to_do(page, footage):
    make_subject(page, footage("eve", at={"0": "refuse"}))
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("No face in 290 of 300 frames.")
    expect(problem).to_contain_text("Record one person, facing the camera")
    expect(page.get_by_text("The face is rather small")).to_be_visible()
    assert_accessible(page)
    expect(page.get_by_role("link", name="Upload other footage")).to_be_visible()


def test_cancelled_and_taken_up_again(page, footage):
    make_subject(page, footage("fay", train={"steps": 60, "pause": 0.1}))
    expect(working(page, "Training the head")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Progress is saved")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("button", name="Make the video")).to_be_visible()


def test_an_upload_is_paused_cut_reloaded_and_still_arrives(page, footage):
    video = footage("gus", size=3 * PIECE)
    offsets = []
    page.on("request", lambda sent: sent.method == "PATCH" and offsets.append(sent_from(sent.headers)))
    held = []

    def cut_after_the_first(route):
        if route.request.method != "PATCH" or sent_from(route.request.headers) < PIECE:
            route.fallback()
        elif held:
            route.abort("connectionreset")
        else:
            held.append(route)

    page.route("**/v1/uploads/*", cut_after_the_first)
    with page.expect_request(lambda sent: sent.method == "PATCH" and sent_from(sent.headers) >= PIECE):
        begin(page, video)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused: gus.mp4")).to_be_visible()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("Connection lost.", exact=False)).to_be_visible()

    page.on("dialog", lambda dialog: dialog.accept())  # the page warns before it is left
    page.reload()
    page.unroute_all()
    expect(page.get_by_text("gus.mp4 was partly uploaded.")).to_be_visible()
    expect(page.get_by_label("Consent")).to_have_value("Ann agreed to be shown, 2 May")
    offsets.clear()
    begin(page, video)
    page.wait_for_url("**/#/subjects/*")
    assert offsets[0] >= PIECE, "what had arrived was not sent again"
    expect(page.get_by_role("button", name="Make the video")).to_be_visible()


def test_what_does_not_exist_has_a_heading_and_a_way_out(page):
    page.goto("/#/subjects/sub_nope")
    expect(page.get_by_role("alert")).to_contain_text("does not exist or was deleted")
    expect(page.get_by_role("link", name="All people")).to_be_visible()
    assert_accessible(page)


def test_a_video_from_elsewhere_was_not_made_here(page, footage):
    page.get_by_role("navigation").get_by_role("link", name="Verify").click()
    page.get_by_label("Drop a video here").set_input_files(footage("hal"))
    expect(page.get_by_role("heading", name="No sign that it was made here")).to_be_visible()
    assert_accessible(page)


def test_a_service_that_is_away_is_said_and_comes_back(page):
    page.route("**/v1/subjects?*", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("Check that it is running")
    page.unroute_all(behavior="ignoreErrors")
    expect(page.get_by_role("alert")).to_have_count(0)  # by itself
    expect(page.get_by_role("link", name=re.compile("Add"))).not_to_have_count(0)


def test_workers_that_load_are_waited_for_and_those_for_trainings_missed_later(page):
    serves: list[str] = []
    ready = page.request.get("/readyz").json()
    page.route("**/readyz", lambda route: route.fulfill(json=ready | {"serves": serves}))
    banner = page.locator("#banner")
    expect(banner).to_have_text("Starting up…")
    serves += ["preprocess", "render"]
    expect(banner).to_be_hidden()
    page.clock.set_fixed_time(time.time() + 61)
    expect(banner).to_contain_text("Training is paused.")
    serves.clear()
    expect(banner).to_contain_text("Processing is paused.")


@pytest.fixture
def guarded(tmp_path):
    """A service that wants keys, and those of two owners: (URL, Ann's, Eve's)."""
    data = tmp_path / "data"
    with running(data) as url:
        database = Database(Settings(data_dir=data).database)
        with database.session() as session:
            ann, eve = (
                api_keys.create(session, owner=name, name="browser", scopes=["read", "write"])[1]
                for name in ("ann", "eve")
            )
        database.close()
        yield url, ann, eve


def test_an_administrator_opens_what_was_made_before_there_were_keys(browser, footage, tmp_path):
    with running(tmp_path) as url, opened(browser, url) as page:
        make_subject(page, footage("eve", track={"steps": 1}))
        with closing(Database(Settings(data_dir=tmp_path).database)) as database, database.session() as session:
            _, token = api_keys.create(session, owner="ann", name="first", scopes=["read", "write", "admin"])
        page.goto("/#/")
        page.reload()
        page.get_by_label("Key", exact=True).fill(token)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Open it").wait_for()
        assert_accessible(page)
        page.get_by_role("button", name="Open it").click()
        expect(page.get_by_role("dialog").get_by_label("Key", exact=True)).to_have_value(re.compile("^adnerf_"))
        assert_accessible(page)
        confirm(page, "Sign in")
        expect(page.locator("#owner")).to_have_text("local")
        page.goto("/#/people")
        expect(page.get_by_role("link", name=re.compile("eve"))).to_be_visible()
        expect(page.get_by_role("button", name="Open it")).to_have_count(0)


def test_the_printed_address_opens_a_service_that_requires_its_token(browser, tmp_path):
    with running(tmp_path, open_mode="token") as url:
        with opened(browser, url) as page:
            expect(page.get_by_label("Key", exact=True)).to_be_visible()  # without the token it asks
        with opened(browser, url) as page:
            page.goto(f"/#token={load_or_create(tmp_path)}")
            expect(page.get_by_role("button", name="Sign out")).to_be_visible()
            expect(page.get_by_label("Key", exact=True)).to_have_count(0)
            assert "token" not in page.url
            page.reload()  # the token stays for this tab
            expect(page.get_by_role("link", name="Add your first person")).to_be_visible()
            expect(page.get_by_label("Key", exact=True)).to_have_count(0)


def test_a_service_with_keys_asks_for_one_and_shows_all_with_it(browser, guarded, footage, say):
    url, token, others = guarded
    with opened(browser, url) as page:
        page.get_by_label("Key", exact=True).fill("adnerf_nonsense")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("That key was not accepted")
        assert_accessible(page)
        page.get_by_label("Key", exact=True).fill(token)
        page.get_by_role("button", name="Sign in").click()
        ready_subject(page, footage("ida"))
        expect(page.locator(".preview .still")).to_have_js_property("videoWidth", 96)
        expect(page.locator("#owner")).to_have_text("ann")
        page.set_viewport_size({"width": 390, "height": 844})
        assert_one_line(page)
        speak(page, say)
        expect(page.locator("video.player")).to_have_js_property("videoHeight", 96)
        assert "access=" in page.locator("video.player").get_attribute("src"), "it is streamed"
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        assert download.value.suggested_filename == "ida - say.mp4"
        video = page.url
        page.go_back()
        page.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            confirm(page, "Export")
        assert download.value.path().read_bytes().startswith(b"PK")
        page.goto(video)
        page.reload()
        expect(page.locator("video.player")).to_be_visible()
        for sent in (others, "adnerf-local-" + 64 * "0"):
            page.goto(f"/#token={sent}")
            page.reload()
            expect(page.locator("#owner")).to_have_text("ann")  # a link leads nobody into the space of another
            assert "token" not in page.url
        page.goto("/#/new")
        page.get_by_label(re.compile("consent", re.IGNORECASE)).first.fill("Ida agrees, and nobody else is to read it")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Key", exact=True)).to_be_visible()
        assert page.evaluate("Object.keys(sessionStorage).length + Object.keys(localStorage).length") == 0
