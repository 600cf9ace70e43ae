import json

import pytest

from storage.database.models import Video
from tests.api.conftest import AUDIO, FULL_FRAME, PNG, VIDEO, check_problem

VIDEO_FIELDS = {
    "id", "subject_id", "state", "options", "view", "idle_s", "duration_s", "frame", "frames", "width", "height",
    "size_bytes", "trashed_until", "created_at", "job", "links", "title", "metadata", "script", "voice", "speed", "warnings",
}  # fmt: skip
FILM = bytes(range(256)) * 4000


@pytest.fixture
def subject(make):
    return make.ready_subject()


def post(client, subject, options=None, **files):
    data = {"subject_id": subject["id"]}
    if options is not None:
        data["options"] = options if isinstance(options, str) else json.dumps(options)
    return client.post("/v1/videos", data=data, files={"audio": ("say.wav", AUDIO)} | files)


def test_audio_becomes_a_pending_video_with_a_queued_job(client, make, subject):
    answer = post(client, subject)
    assert answer.status_code == 202
    video = answer.json()
    assert set(video) == VIDEO_FIELDS
    assert (video["state"], video["subject_id"]) == ("pending", subject["id"])
    assert answer.headers["location"] == f"/v1/videos/{video['id']}" == video["links"]["self"]
    assert int(answer.headers["retry-after"]) >= 1
    assert (video["job"]["kind"], video["job"]["state"], video["job"]["video_id"]) == ("render", "queued", video["id"])
    assert video["links"]["file"] is None
    assert client.get(video["links"]["self"]).json() == video
    with make.database.session(write=False) as session:
        row = session.get(Video, video["id"])
    with make.store.open(row.audio_key) as audio:
        assert audio.read() == AUDIO
    assert row.background_key is None


def test_all_options_are_stored_and_returned(client, subject):
    options = {
        "size": 256,
        "frame": "portrait",
        "pose": "still",
        "motion": 0.5,
        "view": {"yaw_deg": -30, "pitch_deg": 1.5, "roll_deg": 30, "zoom": 1.2, "x": 0.1, "y": -0.1},
        "background": {"kind": "transparent", "color": None},
        "format": "webm",
        "seed": 7,
        "label": "made by a machine",
        "aspect": "9:16",
        "fit": "contain",
        "sides": "#102030",
        "captions": {"file": "srt", "burn": {"size": "large", "position": "top", "color": "#ffff00", "box": False}},
    }
    assert post(client, subject, options).json()["options"] == options


def test_the_options_have_defaults(client, subject):
    options = post(client, subject, {}).json()["options"]
    assert options == post(client, subject).json()["options"]
    assert (options["pose"], options["format"], options["background"]["kind"]) == ("track", "mp4", "original")


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ("{", "/options"),
        ("[]", "/options"),
        ("null", "/options"),
        ("", "/options"),
        ({"colour": 1}, "/options/colour"),
        ({"size": 63}, "/options/size"),
        ({"size": 1921}, "/options/size"),
        ({"size": 1025, "frame": "portrait"}, "/options/size"),
        ({"size": 1025, "view": {"yaw_deg": 5}}, "/options/size"),
        ({"frame": "square"}, "/options/frame"),
        ({"frame": "full", "view": {"yaw_deg": 5}}, "/options/frame"),
        ({"frame": "full", "background": {"kind": "color", "color": "#204060"}}, "/options/frame"),
        ({"frame": "full", "motion": 0.5}, "/options/frame"),
        ({"motion": 1.6}, "/options/motion"),
        ({"size": "large"}, "/options/size"),
        ({"format": "avi"}, "/options/format"),
        ({"pose": "dance"}, "/options/pose"),
        ({"view": {"yaw_deg": 31}}, "/options/view/yaw_deg"),
        ({"view": {"yaw": 1}}, "/options/view/yaw"),
        ('{"view": {"zoom": NaN}}', "/options/view/zoom"),
        ('{"view": {"x": 1e999}}', "/options/view/x"),
        ({"background": {"kind": "transparent"}}, "/options/format"),
        ({"background": {"kind": "transparent"}, "format": "mp4"}, "/options/format"),
        ({"background": {"kind": "none"}}, "/options/background/kind"),
        ({"background": {"kind": "color"}}, "/options/background"),
        ({"background": {"kind": "color", "color": "red"}}, "/options/background/color"),
        ({"background": {"kind": "image"}}, "/background"),
        ({"seed": -1}, "/options/seed"),
        ({"label": 5}, "/options/label"),
        ({"label": {"text": "a"}}, "/options/label"),
        ({"label": "x" * 41}, "/options/label"),
        ({"label": "a\u202eb"}, "/options/label"),
        ({"label": "\u200b"}, "/options/label"),
        ("[" * 60_000, "/options"),
    ],
)
def test_errors_point_at_wrong_options(client, subject, options, pointer):
    body = check_problem(post(client, subject, options), "validation_failed")
    assert [entry["pointer"] for entry in body["errors"]] == [pointer]
    assert client.get("/v1/videos").json()["items"] == []


def test_the_errors_of_all_branches_of_a_union_are_one_error(client, subject):
    (error,) = check_problem(post(client, subject, {"label": "x" * 41}), "validation_failed")["errors"]
    assert "boolean" in error["detail"] and "40 characters" in error["detail"]


@pytest.mark.parametrize(
    ("options", "possible"),
    [
        ({"format": "avi"}, "'mp4' or 'webm'"),
        ({"background": {"kind": "transparent"}}, "needs format `webm`"),
        ({"background": {"kind": "none"}}, "'original', 'color', 'image' or 'transparent'"),
    ],
)
def test_invalid_options_are_answered_with_the_valid_ones(client, subject, options, possible):
    assert possible in check_problem(post(client, subject, options), "validation_failed")["detail"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"view": {"zoom": 1.5}}, ["`view`"]),
        ({"background": {"kind": "transparent"}, "format": "webm", "motion": 0}, ["`background`", "`motion`"]),
    ],
)
def test_a_full_frame_with_options_of_a_portrait_is_refused_by_their_names(client, subject, options, named):
    body = check_problem(post(client, subject, {"frame": "full"} | options), "validation_failed")
    assert [entry["pointer"] for entry in body["errors"]] == ["/options/frame"]
    assert all(name in body["detail"] for name in [*named, "frame `portrait`"])
    for frame in (None, "portrait"):
        assert post(client, subject, {"frame": frame} | options).json()["options"]["frame"] == frame


def test_a_background_picture_needs_a_portrait(client, subject):
    body = check_problem(post(client, subject, {"frame": "full"}, background=("b.png", PNG)), "validation_failed")
    assert [entry["pointer"] for entry in body["errors"]] == ["/options/frame"]
    assert "`background`" in body["detail"]


def test_a_subject_tells_the_size_of_its_full_frame_and_a_video_what_was_rendered(client, make, subject):
    assert subject["full_frame"] == FULL_FRAME
    video = make.video(subject)
    assert (video["frame"], video["idle_s"]) == (None, None)
    make.succeed(frame="full", frames=50, duration_s=2.0, **FULL_FRAME)
    video = client.get(video["links"]["self"]).json()
    assert (video["frame"], video["width"], video["height"]) == ("full", 1280, 720)


@pytest.mark.parametrize(
    ("options", "said"), [({"frame": "full"}, "no full frame."), ({"size": 1025}, "at most 1024 px")]
)
def test_a_subject_of_an_earlier_version_has_portraits_only(client, make, settings, options, said):
    subject = make.ready_subject(full_frame=None)
    body = check_problem(post(client, subject, options), "full_frame_unavailable")
    assert said in body["detail"] and "Create the subject again" in body["remedy"]
    assert client.get("/v1/videos").json()["items"] == []
    assert [path.name for path in settings.objects.rglob("*") if path.is_file()] == ["source"]
    assert client.get(subject["links"]["self"]).json()["full_frame"] is None
    for each in (None, {"size": 1024}, {"frame": "portrait"}):
        assert post(client, subject, each).status_code == 202


def idle(client, subject, duration_s, **more):
    return client.post(
        "/v1/videos", files={"subject_id": (None, subject["id"]), "duration_s": (None, duration_s)} | more
    )


@pytest.mark.parametrize(("sent", "idle_s"), [("1", 1.0), ("60", 60.0), ("7.5", 7.5)])
def test_a_duration_in_place_of_audio_makes_a_video_without_speech(client, make, subject, sent, idle_s):
    answer = idle(client, subject, sent)
    assert answer.status_code == 202, answer.text
    video = answer.json()
    assert set(video) == VIDEO_FIELDS
    assert (video["state"], video["idle_s"], video["duration_s"]) == ("pending", idle_s, None)
    with make.database.session(write=False) as session:
        assert session.get(Video, video["id"]).audio_key == ""
    assert not [key for key in make.store.keys(older_than_s=-1.0) if "/videos/" in key]
    make.succeed(frame="full", frames=25, duration_s=1.0, **FULL_FRAME)
    assert client.get(video["links"]["self"]).json()["idle_s"] == idle_s
    assert client.delete(video["links"]["self"]).status_code == 204


def test_a_video_without_speech_can_have_a_picture_behind_it(client, make, subject):
    video = idle(client, subject, "3", background=("b.png", PNG)).json()
    assert video["options"]["background"]["kind"] == "image"
    with make.database.session(write=False) as session:
        row = session.get(Video, video["id"])
    with make.store.open(row.background_key) as picture:
        assert (picture.read(), row.stored_bytes) == (PNG, len(PNG))


@pytest.mark.parametrize("wrong", ["0.9", "60.1", "-5", "nan", "inf", "ten", "", "1e999", "5_0", "+5"])
def test_the_duration_has_a_range(client, subject, wrong):
    body = check_problem(idle(client, subject, wrong), "validation_failed")
    assert [entry["pointer"] for entry in body["errors"]] == ["/duration_s"]


def test_either_speech_or_a_duration(client, subject):
    audio = {"audio": ("say.wav", AUDIO)}
    for other in (audio, {"upload_id": (None, "upl_0")}, audio | {"upload_id": (None, "upl_0")}):
        body = check_problem(idle(client, subject, "5", **other), "validation_failed")
        assert [entry["pointer"] for entry in body["errors"]] == ["/duration_s"]
        assert "either speech or `duration_s`" in body["detail"]
    neither = client.post("/v1/videos", files={"subject_id": (None, subject["id"])})
    body = check_problem(neither, "validation_failed")
    assert [entry["pointer"] for entry in body["errors"]] == ["/audio"]
    assert all(each in body["detail"] for each in ("`audio`", "`upload_id`", "`duration_s`"))
    assert client.get("/v1/videos").json()["items"] == []


def test_a_request_that_is_wrong_by_itself_is_422_although_the_subject_is_not_ready(client, make):
    fields = {"subject_id": (None, make.subject()["id"])}
    both = {"audio": ("say.wav", AUDIO), "upload_id": (None, "upl_0")}
    for sources in ({}, both, both | {"duration_s": (None, "5")}):
        check_problem(client.post("/v1/videos", files=fields | sources), "validation_failed")
    check_problem(client.post("/v1/videos", files=fields | {"duration_s": (None, "5")}), "subject_not_ready")


def test_a_failed_video_without_speech_is_tried_again_as_it_was_requested(client, make, subject):
    video = idle(client, subject, "4").json()
    make.fail("out_of_memory")
    assert client.post(video["job"]["links"]["retry"]).status_code == 200
    video = client.get(video["links"]["self"]).json()
    assert (video["state"], video["idle_s"]) == ("pending", 4.0)


def test_a_background_picture_is_stored_and_implies_its_kind(client, make, subject):
    for options in (None, {"background": {"kind": "image"}}):
        video = post(client, subject, options, background=("../beach.png", PNG)).json()
        assert video["options"]["background"]["kind"] == "image"
        with make.database.session(write=False) as session:
            key = session.get(Video, video["id"]).background_key
        with make.store.open(key) as picture:
            assert picture.read() == PNG


@pytest.mark.parametrize(
    ("files", "options", "code"),
    [
        ({"background": ("b.png", PNG)}, {"background": {"kind": "original"}}, "validation_failed"),
        ({"background": ("b.png", AUDIO)}, None, "not_an_image"),
        ({"background": ("b.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")}, None, "not_an_image"),
        ({"background": ("b.png", b"")}, None, "empty_file"),
        ({"background": ("b.png", PNG + bytes(50_000))}, None, "file_too_large"),
        ({"audio": ("a.wav", b"")}, None, "empty_file"),
        ({"audio": ("a.wav", PNG)}, None, "not_media"),
        ({"audio": ("a.wav", AUDIO + bytes(100_000))}, None, "file_too_large"),
        ({"video": ("a.mp4", VIDEO)}, None, "validation_failed"),
    ],
)
def test_wrong_files_are_refused_and_not_stored(client, settings, subject, files, options, code):
    check_problem(post(client, subject, options, **files), code)
    assert client.get("/v1/videos").json()["items"] == []
    assert [path.name for path in settings.objects.rglob("*") if path.is_file()] == ["source"]


@pytest.mark.parametrize("wrong", ["sub_1", "", "../../..", "a/b/../../../..", "/etc", "x" * 99, "job_1"])
def test_an_unknown_subject_is_not_found_and_leaves_no_trace(client, settings, wrong):
    check_problem(post(client, {"id": wrong}), "not_found")
    assert not any(path.is_file() for path in settings.objects.rglob("*"))


def test_the_subject_must_be_named(client):
    answer = client.post("/v1/videos", files={"audio": ("say.wav", AUDIO)})
    assert check_problem(answer, "validation_failed")["errors"][0]["pointer"] == "/subject_id"


def test_a_subject_in_work_or_failed_is_not_ready(client, make):
    subject = make.subject()
    check_problem(post(client, subject), "subject_not_ready")
    make.fail("no_face_found")
    body = check_problem(post(client, subject), "subject_not_ready")
    assert "failed" in body["detail"]


def test_videos_are_listed_by_subject_and_state(client, make, subject):
    first, second = make.video(subject), make.video(subject)
    assert [each["id"] for each in client.get("/v1/videos").json()["items"]] == [second["id"], first["id"]]
    assert len(client.get("/v1/videos", params={"subject_id": subject["id"]}).json()["items"]) == 2
    assert client.get("/v1/videos?subject_id=sub_0").json()["items"] == []
    assert client.get("/v1/videos?state=ready").json()["items"] == []
    page = client.get("/v1/videos?limit=1").json()
    page = client.get("/v1/videos", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert [each["id"] for each in page["items"]] == [first["id"]]
    assert page["next_cursor"] is None


def test_a_video_in_work_has_no_file(client, make, subject):
    video = make.video(subject)
    path = f"{video['links']['self']}/file"
    check_problem(client.get(path), "video_not_ready")
    make.claim()
    assert client.get(video["links"]["self"]).json()["state"] == "rendering"
    check_problem(client.get(path), "video_not_ready")


def test_a_ready_video_has_its_measures_and_can_be_downloaded(client, make, subject):
    video = make.ready_video(subject, FILM)
    assert (video["state"], video["frames"], video["size_bytes"]) == ("ready", 50, len(FILM))
    answer = client.get(video["links"]["file"])
    assert answer.status_code == 200
    assert answer.content == FILM
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == str(len(FILM))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == f'attachment; filename="{video["id"]}.mp4"'
    head = client.head(video["links"]["file"])
    assert head.status_code == 200 and head.content == b""
    for name in ("etag", "content-length", "content-type", "accept-ranges", "content-disposition"):
        assert head.headers[name] == answer.headers[name]


def test_a_download_has_the_name_that_is_asked_for(client, make, subject):
    video = make.ready_video(subject, FILM)
    headers = client.get(video["links"]["file"], params={"name": 'Ann – "Grüße".mp4'}).headers
    plain = f'attachment; filename="{video["id"]}.mp4"'
    assert headers["content-disposition"] == f"{plain}; filename*=UTF-8''Ann%20%E2%80%93%20%22Gr%C3%BC%C3%9Fe%22.mp4"


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_the_file_name_and_media_type_match_the_format(client, make, subject, kind):
    video = make.ready_video(subject, FILM, options=json.dumps({"format": kind}))
    headers = client.get(video["links"]["file"], headers={"Range": "bytes=0-9"}).headers
    assert headers["content-type"] == f"video/{kind}"
    assert headers["content-disposition"] == f'attachment; filename="{video["id"]}.{kind}"'


def test_the_view_that_was_used_is_returned(client, make, subject):
    limits = subject["view_limits"]
    assert limits == {"yaw_deg": [-12.5, 13.0], "pitch_deg": [-9.0, 8.0], "roll_deg": [-15.0, 15.0]}
    asked = {"yaw_deg": 30.0, "pitch_deg": 0.0, "roll_deg": 0.0, "zoom": 1.0, "x": 0.0, "y": 0.0}
    video = make.ready_video(subject, FILM, options=json.dumps({"view": asked}))
    assert video["options"]["view"] == asked and video["view"] == asked | {"yaw_deg": 13.0}
    assert post(client, subject).json()["view"] is None


def test_deleting_removes_the_video_and_its_files_only(client, make, settings, subject):
    video = make.ready_video(subject, FILM)
    assert client.delete(video["links"]["self"]).status_code == 204
    check_problem(client.get(video["links"]["self"]), "not_found")
    check_problem(client.get(video["links"]["file"]), "not_found")
    assert [path.name for path in settings.objects.rglob("*") if path.is_file()] == ["source"]
    assert client.get(subject["links"]["self"]).json() == subject
