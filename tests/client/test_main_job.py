"""The main job with the client: a subject, a video, a file."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from adnerf_client import Background, JobFailed, NotFound, Options, View
from adnerf_client import models as ours
from adnerf_client.errors import Invalid
from adnerf_client.models import BurntCaptions, Captions
from adnerf_core.config import RenderOptions
from api.schemas import base, resources
from tests.client.conftest import CONSENT

ROOT = Path(__file__).parents[2]


def test_a_subject_and_a_video_are_made_and_saved(service, client):
    service.start_worker()
    subject = client.subjects.create(service.file("änn.mp4"), consent=CONSENT, preset="draft")
    assert (subject.name, subject.state, subject.preset) == ("änn", "pending", "draft")
    reported, sent = [], []
    subject = client.wait(subject, progress=reported.append, timeout=300)
    assert subject.state == "ready" and subject.quality.psnr == 30.0 and subject.view_limits.yaw_deg == (-12.0, 14.0)
    assert [(job.kind, job.state) for job in subject.jobs] == [("preprocess", "succeeded"), ("train", "succeeded")]
    assert {job.id for job in reported} == {job.id for job in subject.jobs}
    assert [job.state for job in reported if job.ended] == ["succeeded", "succeeded"]

    background = service.folder / "wall.png"
    background.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    options = Options(view=View(yaw_deg=20), background=Background(kind="image"), seed=7)
    say = service.file("say.wav", words="guten Tag")
    video = client.videos.create(
        subject, say, options=options, background=background, progress=lambda *bytes_done: sent.append(bytes_done)
    )
    whole = say.stat().st_size + background.stat().st_size
    assert sent[-1] == (whole, whole) and sent == sorted(sent)
    video = client.wait(video, timeout=300)
    assert (video.options.seed, video.options.view.yaw_deg, video.view.yaw_deg) == (7, 20.0, 14.0)
    saved = client.videos.download(video, service.folder / "gesagt.mp4")
    assert "guten Tag".encode("utf-16-le") in saved.read_bytes() and video.size_bytes == saved.stat().st_size
    assert client.subjects.report(subject, service.folder / "r.html").read_text() == "<p>änn is good</p>"


def test_a_video_without_speech(service, client):
    service.start_worker()
    subject = service.ready_subject(client)
    assert (subject.full_frame.width, subject.full_frame.height) == (1280, 720)
    video = client.videos.create(subject, duration_s=2, options={"pose": "still"})
    assert (video.idle_s, video.duration_s, video.frame) == (2.0, None, None)
    video = client.wait(video, timeout=300)
    assert (video.duration_s, video.frames, video.frame, video.width, video.height) == (2.0, 50, "full", 1280, 720)
    portrait = client.wait(client.videos.create(subject, service.file("say.wav"), options={"frame": "portrait"}))
    assert (portrait.idle_s, portrait.frame) == (None, "portrait")


def test_speech_and_a_duration_exclude_each_other(service, client):
    for arguments in ({}, {"audio": service.file("a.wav"), "duration_s": 5}, {"upload_id": "upl_1", "duration_s": 5}):
        with pytest.raises(TypeError, match="either"):
            client.videos.create("sub_1", **arguments)
    with pytest.raises(Invalid) as caught:
        client.videos.create("sub_1", duration_s=61)
    assert [error["pointer"] for error in caught.value.errors] == ["/duration_s"]


def test_a_script_becomes_a_video_with_captions(service, client):
    service.start_worker()
    subject = service.ready_subject(client)
    (voice,) = client.voices.list()
    assert (voice.id, voice.licence, voice.default) == ("stub-ada", "CC0-1.0", True)
    script = '{"steps": 1}'  # the stub core reads it as orders
    options = Options(aspect="9:16", captions=Captions(file="srt"))
    video = client.videos.create(
        subject, script=script, speed=1.5, title="Hello", metadata={"order": "7"}, priority="low", options=options
    )
    assert (video.voice, video.speed, video.job.priority) == ("stub-ada", 1.5, "low")
    video = client.wait(video, timeout=300)
    assert (video.title, video.metadata, video.script, video.warnings) == ("Hello", {"order": "7"}, script, [])
    assert client.videos.audio(video, service.folder / "a.wav").read_text() == script
    assert '{"ste' in client.videos.captions(video, service.folder / "a.srt").read_text()
    assert client.videos.thumbnail(video, service.folder / "a.jpg").read_bytes().startswith(b"picture of")
    assert client.videos.preview_clip(video, service.folder / "c.mp4").read_bytes() == b"clip"
    assert client.subjects.thumbnail(subject, service.folder / "s.jpg").read_bytes().startswith(b"picture of")
    assert client.voices.sample(voice, service.folder / "v.wav").stat().st_size


def test_a_batch_and_the_filters_of_lists(service, client):
    service.start_worker()
    subject = service.ready_subject(client)
    right = {"subject_id": subject.id, "duration_s": 1, "title": "One of many"}
    first, wrong, second = client.videos.create_batch([right, right | {"duration_s": 0}, right | {"title": "Another"}])
    assert (first.status, wrong.video, wrong.problem["code"]) == (202, None, "validation_failed")
    ids = [each.video.id for each in (first, second)]
    assert [each.id for each in client.videos.list(ids=ids)] == ids[::-1]
    assert [each.id for each in client.videos.list(title="of MANY")] == [ids[0]]
    renamed = client.videos.update(ids[0], title="Other", metadata={"order": "8"})
    assert (renamed.id, renamed.title, renamed.metadata) == (ids[0], "Other", {"order": "8"})
    assert list(client.videos.list(created_before=first.video.created_at)) == []
    assert len(list(client.videos.list(created_after=first.video.created_at))) == 2


def test_lists_fetch_all_pages(service, client, monkeypatch):
    monkeypatch.setattr("adnerf_client.collection.PAGE", 2)
    made = [client.subjects.create(service.file(), consent=CONSENT, name=f"Ann {n}").id for n in range(5)]
    assert [each.id for each in client.subjects.list()] == made[::-1]
    assert [each.id for each in client.subjects.list(limit=3)] == made[:1:-1]
    assert list(client.subjects.list(state="ready")) == []
    assert [each.subject_id for each in client.jobs.list(subject_id=made[2], kind="preprocess")] == [made[2]]
    assert list(client.videos.list(subject_id=made[0])) == []


def test_rename_get_cancel_retry_and_delete(service, client):
    subject = client.subjects.create(service.file(), consent=CONSENT)
    assert client.subjects.rename(subject, "阿妮 😀").name == "阿妮 😀" == client.subjects.get(subject.id).name
    (job,) = subject.jobs
    assert client.jobs.cancel(job).state == "cancelled" and client.jobs.get(job).ended
    assert client.jobs.retry(job.id).state == "queued"
    assert client.get(subject.id) == client.subjects.get(subject) and client.get(job.id) == client.jobs.get(job)
    client.subjects.delete(subject)
    with pytest.raises(NotFound) as caught:
        client.subjects.get(subject)
    assert (caught.value.code, caught.value.status) == ("not_found", 404) and caught.value.request_id


def test_unusable_footage_raises_job_failed_with_the_remedy(service, client):
    service.start_worker()
    subject = client.subjects.create(service.file(at={"1": "refuse"}), consent=CONSENT)
    with pytest.raises(JobFailed) as caught:
        client.wait(subject, timeout=300)
    assert caught.value.code == "no_face_found" and "290 of 300" in caught.value.detail
    assert "Record one person" in caught.value.remedy and caught.value.job.kind == "preprocess"


@pytest.mark.parametrize(
    "name",
    [
        "Subject",
        "FullFrame",
        "Video",
        "Job",
        "JobError",
        "Footage",
        "Quality",
        "Upload",
        "Consent",
        "Page",
        "Voice",
        "VideoWarning",
    ],
)
def test_every_field_of_the_client_exists_in_the_service(name):
    theirs = getattr(base if name == "Page" else resources, name)
    assert set(getattr(ours, name).model_fields) <= set(theirs.model_fields)


def test_the_options_are_those_of_the_service():
    every = Options(
        frame="portrait",
        size=64,
        pose="still",
        motion=0.5,
        view=View(zoom=2),
        background=Background(kind="color", color="#204060"),
        format="webm",
        seed=3,
        aspect="4:5",
        fit="contain",
        sides="#000000",
        captions=Captions(file="vtt", burn=BurntCaptions(size="large", box=False)),
    )
    read = RenderOptions.model_validate_json(every.model_dump_json(exclude_none=True))
    assert read.model_dump(exclude_unset=True).keys() == every.model_fields_set
    assert RenderOptions.model_validate_json(Options().model_dump_json(exclude_none=True)) == RenderOptions()


def test_unknown_fields_and_states_of_a_newer_service_are_kept():
    job = ours.Job.model_validate(
        {
            "id": "job_1",
            "kind": "sing",
            "state": "dreaming",
            "subject_id": "sub_1",
            "created_at": "2026-01-01T00:00:00Z",
            "mood": "good",
        }
    )
    assert (job.kind, job.state, job.mood, job.ended) == ("sing", "dreaming", "good", False)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("name", ["README.md", "docs/operations.md"])
def test_the_requests_that_the_documents_show_are_accepted(client, service, name):
    """As somebody would type them, with the ids of a subject and a video in place of the dots."""
    (block,) = re.findall(r"```sh\n(API=.*?)```", (ROOT / name).read_text(), re.DOTALL)
    service.start_worker()
    service.file("me.mp4")
    video = service.ready_video(client)
    typed = block.replace("http://127.0.0.1:8000", service.url)
    typed = typed.replace("sub_...", video.subject_id).replace("vid_...", video.id)
    strict = 'set -e; curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
    ran = subprocess.run(["bash", "-c", strict + typed], cwd=service.folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (service.folder / "said.mp4").stat().st_size == video.size_bytes
