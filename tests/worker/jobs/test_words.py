"""Scripts that are read, captions, and the pictures beside a video. In one process, with the stub core."""

from __future__ import annotations

from adnerf_core.config import RenderOptions
from api.services import subjects, videos
from storage.database.models import LOCAL
from storage.tables import jobs
from tests.worker.stub_core import READ

SCRIPT = '{"steps": 2}'
"""A script that the stub core reads as orders."""


def submit_script(house, subject, text=SCRIPT, **more):
    with house.database.session() as session:
        script = videos.Script(text, "stub-ada", 1.5)
        fields = {"owner": LOCAL, "subject_id": subject.id, "options": RenderOptions(), "audio": None, "script": script}
        return videos.submit_video(session, house.store, house.settings, **fields | more)


def test_a_script_is_read_and_its_sound_is_kept(house):
    subject = house.ready_subject()
    video = submit_script(house, subject)
    READ.clear()
    house.work()
    video = house.video(video)
    assert (video.state, READ, video.spoken) == ("ready", [("stub-ada", 1.5)], [[0.0, 0.8, SCRIPT]])
    with house.store.open(house.read(videos.video_part, video.id, "speech_key")) as speech:
        assert speech.read() == SCRIPT.encode()
    parts = [video.speech_key, video.thumbnail_key, video.clip_key, video.file_key]
    assert video.stored_bytes == len(SCRIPT) + sum(house.store.size(key) for key in parts)


def test_a_later_attempt_does_not_read_the_script_again(house):
    subject = house.ready_subject()
    video = submit_script(house, subject, '{"at": {"1": "crash"}}')
    READ.clear()
    house.work()
    assert (house.video(video).state, len(READ)) == ("failed", 1)
    house.write(lambda session, job_id, owner: jobs.retry(session, job_id), house.video(video).job.id)
    house.work()
    assert len(READ) == 1


def test_a_script_that_cannot_be_read_fails_with_the_reason(house):
    video = submit_script(house, house.ready_subject(), "there is nothing")
    house.work()
    assert house.job(house.video(video).job).error["code"] == "nothing_to_say"


def finished(house, subject, content, **captions):
    """A finished video with captions; `content` is a script, or orders in an audio."""
    options = RenderOptions(captions=captions)
    if isinstance(content, str):
        video = submit_script(house, subject, content, options=options)
    else:
        video = house.submit_video(subject.id, options=options, **content)
    house.work()
    video = house.video(video)
    assert video.state == "ready"
    return video


def test_captions_a_thumbnail_and_a_clip_are_stored_beside_the_video(house):
    subject = house.ready_subject()
    with house.store.open(house.read(subjects.subject_part, subject.id, "thumbnail_key")) as picture:
        assert picture.read().startswith(b"picture of")
    for kind, beginning in (("srt", "1\n00:00:00,100 --> "), ("vtt", "WEBVTT\n\n00:00:00.100 --> ")):
        video = finished(house, subject, {"steps": 1}, file=kind)
        with house.store.open(house.read(videos.video_part, video.id, "captions_key")) as captions:
            assert (
                captions.read().decode() == f"{beginning}{'00:00:01,000' if kind == 'srt' else '00:00:01.000'}\nheard\n"
            )
        with house.store.open(house.read(videos.video_part, video.id, "thumbnail_key")) as picture:
            assert picture.read() == b"picture of model"
        assert video.warnings is None
    assert finished(house, subject, SCRIPT, file="vtt").captions_key
    assert finished(house, subject, {"steps": 1}).captions_key is None


def test_speech_that_nobody_understands_is_a_warning(house):
    video = finished(house, house.ready_subject(), {"unheard": 1}, file="srt")
    assert video.captions_key is None
    (warning,) = video.warnings
    assert warning["code"] == "captions_unavailable" and "script" in warning["message"]
