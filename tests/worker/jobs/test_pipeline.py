"""Jobs run to their end, whatever the core does. In one process, with the stub core."""

from __future__ import annotations

import io
import threading
from contextlib import suppress

import pytest
from sqlalchemy import update

from adnerf_core.config import Background, RenderOptions, ViewChange
from adnerf_core.errors import MissingBackend, NotReady
from api.responses import serializers
from api.services import jobs as job_service
from api.services import subjects, videos
from storage.database.models import Job, Subject, now
from storage.errors import (
    BadCertificate,
    FullFrameUnavailable,
    MoveNotAllowed,
    NotFound,
    ObjectMissing,
    StoreAway,
    StoreFull,
)
from storage.tables import jobs
from tests.worker.stub_core import FULL_FRAME, LOADED, QUALITY, VIEW_LIMITS, VIEWS
from worker.jobs import pipeline

IMAGE = RenderOptions(background=Background(kind="image"))


def work_in_background(house):
    worker = house.worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    return worker, thread


def test_the_chosen_sound_track_reaches_the_core(house):
    subject = house.submit_subject(audio_track=2)
    house.work()
    assert house.subject(subject).footage["audio_track"] == 2


def test_a_video_and_a_sound_become_a_talking_video(house):
    subject = house.submit_subject(train={"previews": True})
    assert (subject.state, [job.kind for job in subject.jobs]) == ("pending", ["preprocess"])
    house.work()
    subject = house.subject(subject)
    assert (subject.state, [job.state for job in subject.jobs]) == ("ready", ["succeeded", "succeeded"])
    assert subject.footage["frames"] == 300
    assert subject.quality == QUALITY | {"full_lpips": None, "region_lpips": None}
    assert (subject.view_limits, subject.views) == (VIEW_LIMITS, VIEWS)
    with house.store.open(house.read(subjects.subject_part, subject.id, "preview_key")) as picture:
        assert picture.read() == b"picture 2"
    with house.store.open(house.read(subjects.subject_part, subject.id, "report_key")) as report:
        assert report.read() == f"<p>{subject.name} is good</p>".encode()
    with house.store.open(house.read(subjects.subject_part, subject.id, "views_key")) as views:
        assert views.read() == b"views"

    asked = RenderOptions(view=ViewChange(yaw_deg=30, roll_deg=-3))
    video = house.submit_video(subject.id, background=b"a wall", options=asked, steps=2)
    house.work()
    video = house.read(videos.video_file, video.id)
    assert (video.view["yaw_deg"], video.view["roll_deg"]) == (VIEW_LIMITS["yaw_deg"][1], -3)
    assert (video.frames, video.duration_s, video.width, video.job.progress) == (25, 1.0, 64, 1.0)
    with house.store.open(video.file_key) as file:
        content = file.read()
    assert content == b'model says {"steps": 2} before a wall'
    assert video.size_bytes == len(content)


def test_a_subject_has_the_size_of_its_footage_and_its_videos_are_full_frames_unless_asked_otherwise(house):
    subject = house.ready_subject()
    assert subject.full_frame == FULL_FRAME
    whole, portrait = (
        house.submit_video(subject.id, options=RenderOptions(frame=frame)) for frame in (None, "portrait")
    )
    turned = house.submit_video(subject.id, options=RenderOptions(view=ViewChange(yaw_deg=5)))
    house.work()
    rendered = [(video.frame, video.width, video.height) for video in map(house.video, (whole, portrait, turned))]
    assert rendered == [("full", 1280, 720), ("portrait", 64, 64), ("portrait", 64, 64)]


def test_a_subject_that_was_trained_without_its_footage_has_portraits(house):
    subject = house.ready_subject(train={"old": True})
    assert (subject.state, subject.full_frame) == ("ready", None)
    with pytest.raises(FullFrameUnavailable, match="Create the subject again"):
        house.submit_video(subject.id, options=RenderOptions(frame="full"))
    video = house.submit_video(subject.id)
    house.work()
    assert house.video(video).frame == "portrait"


@pytest.mark.parametrize(
    "asked",
    [{}, {"size": 64, "seed": 7, "label": True}, {"view": {"yaw_deg": 5.0}}, {"frame": "portrait", "motion": 0.5}],
)
def test_options_are_stored_without_defaults_so_that_the_previous_version_can_read_them(house, asked):
    """The previous version refuses names that it does not know, and its API reads the format."""
    subject = house.ready_subject()
    options = RenderOptions(**asked)
    video = house.submit_video(subject.id, options=options)
    assert video.options == asked | {"format": "mp4"}
    with house.database.session(write=False) as session:
        assert serializers.video(session, video).options == options
    house.work()
    assert house.video(video).state == "ready"


def test_a_video_without_speech_is_as_long_as_requested_and_can_be_retried(house):
    subject = house.ready_subject()
    video = house.submit_video(subject.id, background=b"a wall", options=IMAGE, idle_s=2.5)
    house.write(job_service.cancel_job, video.job.id)
    house.write(job_service.retry_job, house.settings, video.job.id)
    house.work()
    video = house.read(videos.video_file, video.id)
    assert (video.state, video.idle_s, video.duration_s, video.frames) == ("ready", 2.5, 2.48, 62)
    with house.store.open(video.file_key) as file:
        assert file.read() == b"model says {} before a wall"
    assert not [key for key in house.objects() if key.endswith("audio")]


def test_only_what_is_needed_stays(house):
    subject = house.ready_subject()
    video = house.submit_video(subject.id)
    house.work()
    kinds = {key.split("/")[2] for key in house.objects()}
    assert kinds == {"source", "datasets", "runs", "reports", "views", "thumbnails", "videos"}
    with house.unzip(subject.run_key) as run:
        assert sorted(run.namelist()) == [
            "metrics.jsonl",
            "model.safetensors",
            "result.json",
            "run.json",
            "subject.json",
        ]
    assert list((house.settings.work / "jobs").iterdir()) == []
    house.write(videos.delete_video, house.store, video.id)
    assert "videos" not in {key.split("/")[2] for key in house.objects()}
    house.write(subjects.delete_subject, house.store, subject.id)
    house.work()
    assert house.objects() == []
    with pytest.raises(NotFound):
        house.subject(subject)


@pytest.mark.parametrize(
    ("action", "code"),
    {
        "refuse": "no_face_found",
        "crash": "internal_error",
        "fill_disk": "disk_full",
        "fill_memory": "out_of_memory",
        "fill_memory_of_torch": "out_of_memory",
    }.items(),
)
def test_whatever_the_core_raises_the_job_fails_with_a_reason(house, action, code):
    subject = house.submit_subject(at={"1": action})
    house.work()
    subject = house.subject(subject)
    (job,) = subject.jobs
    assert (subject.state, job.state, job.error["code"]) == ("failed", "failed", code)
    assert job.error["message"] and job.error["remedy"]
    assert "a bug" not in str(job.error)
    assert subject.footage["duration_s"] == 12.0
    assert house.ready_subject().state == "ready"


def test_a_run_that_comes_too_late_leaves_no_report(house, monkeypatch):
    subject = house.submit_subject()
    worker = house.worker()
    assert worker.run_next()
    put = worker.pipeline.store.put

    def cancel_then_put(key, file, **more):
        if "/reports/" in key:
            house.write(job_service.cancel_job, house.newest_job().id)
        return put(key, file, **more)

    monkeypatch.setattr(worker.pipeline.store, "put", cancel_then_put)
    assert worker.run_next()
    assert house.subject(subject).state == "cancelled"
    assert not [key for key in house.objects() if "/reports/" in key or "/runs/" in key]


def test_a_store_without_room_fails_the_job(house, monkeypatch):
    worker = house.worker()
    subject = house.submit_subject()

    def refuse(*_, **__):
        raise StoreFull("No space left in the object store.")

    monkeypatch.setattr(worker.pipeline.store, "put", refuse)
    assert worker.run_next()
    assert house.subject(subject).jobs[0].error["code"] == "disk_full"


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_training_without_its_checkpoint_begins_from_its_dataset(house, caplog, damage):
    subject = house.submit_subject(train={"steps": 4})
    assert house.worker().run_next()  # the preprocessing
    key = f"subjects/{subject.id}/checkpoints/lost.zip"
    if damage == "damaged":
        house.store.put(key, io.BytesIO(b"no archive"))
    with house.database.session() as session:
        session.get(Subject, subject.id).checkpoint_key = key
    house.work()
    subject = house.subject(subject)
    assert (subject.state, [job.attempt for job in subject.jobs]) == ("ready", [1, 1])
    assert house.steps_made(subject) == [0, 1, 2, 3]
    assert "begins again from its dataset" in caplog.text


def test_an_attempt_whose_number_comes_again_writes_no_object_of_the_one_before(house):
    subject = house.ready_subject()
    before = subject.dataset_key, subject.run_key
    with house.database.session() as session:  # as after a backup of the database was restored
        fresh = {"attempt": 0, "finished_at": None, "wake_at": now(), "max_attempts": 3}
        session.execute(update(Job).where(Job.kind == "train").values(state="queued", **fresh))
        session.execute(update(Subject).values(state="training", run_key=None))
    house.work()
    again = house.subject(subject)
    assert (again.state, again.jobs[1].attempt, again.dataset_key) == ("ready", 1, before[0])
    assert again.run_key != before[1] and {again.run_key, before[1]} <= set(house.objects())


def test_a_retry_goes_on_with_a_fresh_count(house):
    subject = house.submit_subject(train={"steps": 4, "at": {"2": "crash"}})
    house.work()
    training = house.subject(subject).jobs[1]
    assert (training.state, training.attempt) == ("failed", 1)
    house.write(job_service.retry_job, house.settings, training.id)
    house.work()
    assert (house.job(training).state, house.job(training).attempt) == ("failed", 2)
    checkpoint = house.subject(subject).checkpoint_key
    with house.unzip(checkpoint) as archive:
        assert archive.read("checkpoints/last.safetensors") == b"2"
        assert archive.read("metrics.jsonl").count(b"\n") == 2  # the first two steps were not made again
    assert [key for key in house.objects() if "checkpoints" in key] == [checkpoint]


@pytest.mark.parametrize("kind", ["preprocess", "train", "render"])
def test_cancelling_a_running_job_stops_it_and_tidies_up(house, kind):
    endless = {"steps": 100_000, "pause": 0.01}
    if kind == "render":
        house.submit_video(house.ready_subject().id, **endless)
    else:
        house.submit_subject(**(endless if kind == "preprocess" else {"train": endless}))
    worker, thread = work_in_background(house)
    job = house.until(lambda: (job := house.newest_job()).kind == kind and job.progress > 0 and job)
    assert house.write(job_service.cancel_job, job.id).state == "cancelled"
    other = house.submit_subject()
    house.until(lambda: house.subject(other).state == "ready")
    worker.stopping.set()
    thread.join()
    assert house.job(job).state == "cancelled"
    assert list((house.settings.work / "jobs").iterdir()) == []
    assert house.owner(job).state == "cancelled"


@pytest.mark.parametrize("kind", ["train", "render"])
def test_deleting_what_is_in_work_stops_it_and_leaves_nothing(house, kind):
    endless = {"steps": 100_000, "pause": 0.01}
    if kind == "render":
        house.submit_video(house.ready_subject().id, **endless)
    else:
        house.submit_subject(train=endless | {"previews": True})
    worker, thread = work_in_background(house)
    job = house.until(lambda: (job := house.newest_job()).kind == kind and job.progress > 0 and job)
    house.write(subjects.delete_subject, house.store, job.subject_id)
    house.until(lambda: not list((house.settings.work / "jobs").iterdir()))
    worker.stopping.set()
    thread.join()
    assert house.objects() == []


def test_stopping_gives_the_job_back_without_counting(house):
    subject = house.submit_subject(train={"steps": 60, "pause": 0.01})
    worker, thread = work_in_background(house)
    job = house.until(lambda: (job := house.newest_job()).kind == "train" and job.progress > 0.2 and job)
    worker.stopping.set()
    thread.join(10)
    assert not thread.is_alive()
    given_back = house.job(job)
    assert (given_back.state, given_back.attempt, given_back.max_attempts) == ("queued", 1, jobs.MAX_ATTEMPTS + 1)
    assert house.subject(subject).state == "training"
    house.work()
    assert house.subject(subject).state == "ready"
    assert house.steps_made(subject) == list(range(60))


def test_the_last_subject_stays_in_memory_until_another_job_needs_the_room(house):
    ada, bob = house.ready_subject(), house.ready_subject()
    LOADED.clear()
    for subject in (ada, ada, bob):
        house.submit_video(subject.id)
    worker = house.worker()
    while worker.run_next():
        pass
    loads = [run.name for run in LOADED if run is not None]
    assert [ada.run_key in name.replace("+", "/") for name in loads] == [True, False]
    assert LOADED[-1] is not None
    house.submit_video(bob.id, at={"1": "crash"})
    worker.run_next()
    assert LOADED[-1] is None  # a failed job keeps nothing
    house.submit_video(bob.id)
    worker.run_next()
    house.submit_subject()
    worker.run_next()
    assert LOADED[-1] is None  # nor does a subject stay in the way of training
    worker.close()


def test_a_late_result_is_thrown_away(house, monkeypatch):
    """The job is taken away between the last look and the last word: the object goes, nothing becomes visible."""
    video = house.submit_video(house.ready_subject().id)
    before = house.objects()
    worker = house.worker()
    put = worker.pipeline.store.put

    def cancel_then_put(*arguments, **more):
        with suppress(MoveNotAllowed):  # it was cancelled by the first object
            house.write(job_service.cancel_job, video.job.id)
        return put(*arguments, **more)

    monkeypatch.setattr(worker.pipeline.store, "put", cancel_then_put)
    assert worker.run_next()
    video = house.video(video)
    assert (video.state, video.file_key) == ("cancelled", None)
    assert house.objects() == before


@pytest.mark.parametrize(
    "error",
    [
        StoreAway("The object store does not answer.", details="http://10.1.2.3:9000/secret"),
        ObjectMissing("A stored file does not exist any more.", details="subjects/secret"),
        BadCertificate("The video cannot be signed.", details="secret"),
        MissingBackend("The model of hubert cannot be loaded.", details="secret"),
        NotReady("/srv/secret/run.json is missing or damaged (No such file)."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_paths_addresses_and_texts_of_libraries_go_to_the_log_and_not_to_clients(caplog, error):
    shown = pipeline.client_error(error)
    assert shown["code"] == error.code and shown["message"].endswith(".") and shown["remedy"]
    assert "secret" not in str(shown)
    assert "secret" in caplog.text


def test_an_unforeseen_error_is_explained_without_its_words(caplog):
    told = pipeline.client_error(KeyError("secret"))
    assert told["code"] == "internal_error"
    assert "secret" not in str(told)
    assert "secret" in caplog.text
