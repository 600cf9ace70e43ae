"""The demo: speech, mouth model, synthetic speaker, and a run through the service."""

from __future__ import annotations

import io
import os
import threading
from contextlib import closing, contextmanager
from itertools import pairwise, repeat
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from adnerf_client import Client, Job
from adnerf_core.config import PRESETS
from adnerf_core.face.trackers.facemesh import FaceMesh
from adnerf_core.files import ffmpeg
from adnerf_core.training import pose_refinement, torso_refinement
from api.app import create_app
from demo.__main__ import Timeline, contact_sheet, main
from demo.lips import mouth_track
from demo.portrait import Shape
from demo.scene import Scene, Stage
from demo.service import ServiceLost, service
from demo.speaker import ASTRONAUT, WIDEST, perform
from demo.speech import Phoneme, Speech, speak
from storage.database import migrations
from storage.database.engine import Database
from storage.settings import Settings
from tests.api.conftest import serving
from worker.jobs.core_functions import load_core
from worker.processes.polling import PollingWorker

TIME = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def sentence() -> Speech:
    """A short sentence as synthetic speech."""
    return speak("Mop a map.")


@pytest.fixture(scope="module")
def stage() -> Stage:
    """The drawn speaker in her room, 256 px."""
    return Stage(ASTRONAUT, Scene(256, 256), frames=1, seed=0)


def test_the_sound_of_speech_begins_with_the_first_phoneme(sentence):
    assert sentence.rate == 22050 and 0.05 < np.abs(sentence.samples).max() <= 1
    names = [p.name for p in sentence.phonemes if p.name]
    assert names[0] == "m" and names.count("p") == 2 and names.count("m") == 2
    starts = [p.start for p in sentence.phonemes]
    assert starts == sorted(starts) and starts[0] >= 0.25 and starts[-1] <= sentence.seconds
    loud = np.flatnonzero(np.abs(sentence.samples) > 0.02) / sentence.rate
    assert loud[0] == pytest.approx(next(p.start for p in sentence.phonemes if p.name), abs=0.06)


def test_speech_refuses_an_unknown_voice():
    with pytest.raises(ValueError, match="xx-nobody"):
        speak("Hello.", voice="xx-nobody")


def test_lips_close_on_m_and_open_on_a():
    phonemes = [Phoneme("m", 0.5), Phoneme("ɑː", 0.6), Phoneme("p", 0.9), Phoneme("uː", 1.0), Phoneme("", 1.3)]
    times = np.arange(0, 2, 0.01)
    opening, rounding = mouth_track(phonemes, times)
    at = dict(zip(np.round(times, 2), zip(opening, rounding, strict=True), strict=True))
    assert opening.min() >= 0 and opening.max() <= 1 and np.abs(rounding).max() <= 1
    assert at[0.51][0] < 0.02 and at[0.91][0] < 0.02 and at[0.71][0] > 0.8  # 40 ms before their sound
    assert at[1.11][1] > 0.8 and at[0.71][1] < 0.2
    assert at[0.0][0] < 0.1 and at[1.9][0] < 0.1


def test_equal_seeds_give_equal_motion(sentence):
    first, second, other = perform(sentence, 1), perform(sentence, 1), perform(sentence, 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first.yaw, other.yaw) and np.array_equal(first.opening, other.opening)
    assert (
        len(first.yaw) == round(sentence.seconds * 25) and 0 <= first.eyes.min() <= 1 and first.opening.max() <= WIDEST
    )


def test_the_background_does_not_move_with_the_head(stage):
    frames = [stage.draw(0, Shape(yaw=yaw, pitch=3, x=0.03, opening=0.1)) for yaw in (-8, 0, 8)]
    assert all(frame.shape == (256, 256, 3) and frame.dtype == np.uint8 for frame in frames)
    corners = [np.concatenate([frame[:60, :50], frame[:60, -50:]]) for frame in frames]
    assert np.array_equal(corners[0], corners[1]) and np.array_equal(corners[1], corners[2])
    face = [frame[70:150, 90:160].astype(float) for frame in frames]
    assert np.abs(face[0] - face[2]).mean() > 8


def test_the_angles_of_a_shape_turn_the_head_in_the_right_direction(stage):
    tracker = FaceMesh()
    landmarks = {}
    for name, shape in {"still": Shape(), "yaw": Shape(yaw=8), "pitch": Shape(pitch=8), "roll": Shape(roll=8)}.items():
        for _ in range(5):  # the tracker smooths over time
            landmarks[name] = tracker(stage.draw(0, shape))
    tracker.close()
    nose = {name: points[1, :2] - points[[33, 263], :2].mean(0) for name, points in landmarks.items()}
    tilt = {
        name: np.degrees(np.arctan2(*(points[263, :2] - points[33, :2])[::-1])) for name, points in landmarks.items()
    }
    assert nose["yaw"][0] - nose["still"][0] > 2  # to its own left, the picture's right
    assert nose["pitch"][1] - nose["still"][1] < -1.5  # up
    assert tilt["roll"] - tilt["still"] == pytest.approx(8, abs=1.5)  # clockwise


def test_a_tracker_measures_the_true_motion_of_the_speaker(speaker_video):
    tracker = FaceMesh()
    tracked = [tracker(frame) for frame in ffmpeg.read_frames(speaker_video.path)]
    tracker.close()
    assert len(tracked) == len(speaker_video.truth.opening) == 225 and all(points is not None for points in tracked)
    points = np.array(tracked)
    unit = np.median(np.linalg.norm(points[:, 33] - points[:, 263], axis=1))
    opening = np.linalg.norm(points[:, 13] - points[:, 14], axis=1) / unit
    eyes = np.linalg.norm(points[:, 159] - points[:, 145], axis=1) / unit
    assert np.corrcoef(opening, speaker_video.truth.opening)[0, 1] > 0.85
    assert np.corrcoef(eyes, speaker_video.truth.eyes)[0, 1] > 0.8
    sound = ffmpeg.extract_audio(speaker_video.path)
    assert len(sound) == pytest.approx(9 * 16000, abs=16) and np.abs(sound).max() > 0.1


def job(**changes) -> Job:
    """Returns a queued training job with these fields changed."""
    fields = {"id": "job_1", "kind": "train", "state": "queued", "subject_id": "sub_1", "created_at": TIME}
    return Job.model_validate(fields | changes)


def test_a_service_that_does_not_start_is_reported(tmp_path):
    """The service does not start because its data folder is a file."""
    data = tmp_path / "data"
    data.write_text("a file")
    with pytest.raises(ServiceLost, match="log says why"), service(data, tmp_path / "log"):
        raise AssertionError("it started")
    assert (tmp_path / "log").stat().st_size > 0


def test_the_timeline_shows_stage_percentage_and_remaining_time():
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    timeline = Timeline(console)
    timeline.job(job(queue_position=2))
    assert "place 2" in timeline_text(timeline)
    timeline.job(job(state="running", stage="head", progress=0.42, eta_s=61.0))
    assert (
        "train: head" in timeline_text(timeline)
        and "42%" in timeline_text(timeline)
        and "1:01 left" in timeline_text(timeline)
    )
    ends = {"started_at": TIME, "finished_at": "2026-01-01T00:01:30.5Z"}
    timeline.job(job(state="succeeded", progress=1.0, **ends))
    assert "100%" in timeline_text(timeline) and "left" not in timeline_text(timeline)
    assert timeline.seconds["train"]["total"] == 90.5 and timeline.seconds["train"]["head"] >= 0


def timeline_text(timeline: Timeline) -> str:
    """Returns the text of the timeline."""
    console = Console(file=io.StringIO(), width=120)
    console.print(timeline.bars.get_renderable())
    return console.file.getvalue()


def test_the_contact_sheet_has_different_frames(tmp_path, speaker_video):
    sheet = contact_sheet(speaker_video.path, tmp_path / "sheet.png", columns=3, rows=2)
    picture = cv2.imread(str(sheet))
    assert picture.shape == (512, 768, 3)
    tiles = [picture[y : y + 256, x : x + 256].astype(float) for y in (0, 256) for x in (0, 256, 512)]
    assert all(tile.mean() > 50 for tile in tiles)
    assert min(np.abs(a - b).mean() for a, b in pairwise(tiles)) > 0.5


def test_invalid_files_are_refused_before_the_service_starts(tmp_path, capsys):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    assert main(["--video", str(text), "--out", str(tmp_path / "out")]) == 1
    assert "not_media" in capsys.readouterr().out and not (tmp_path / "out").exists()


def test_the_service_is_started_used_and_stopped(tmp_path, capsys):
    """Footage without a face leads to a failed job, and no process of the service is left."""
    video = tmp_path / "room.mp4"
    frame = np.full((128, 128, 3), 90, np.uint8)
    ffmpeg.write_wav(tmp_path / "hiss.wav", np.random.default_rng(0).normal(0, 0.1, 16000 * 9).astype(np.float32))
    ffmpeg.write_video(video, repeat(frame, 225), audio=tmp_path / "hiss.wav")
    assert main(["--video", str(video), "--audio", str(tmp_path / "hiss.wav"), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().out
    assert "no_face_found" in printed and "Record one person" in printed
    running = [Path(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]
    assert not [path for path in running if path.exists() and str(tmp_path).encode() in path.read_bytes()]


TINY = PRESETS["draft"].model_copy(
    update={
        "size": 64,
        "audio_steps": 150,
        "head_steps": 200,
        "torso_steps": 60,
        "rays": 1024,
        "field": PRESETS["draft"].field.model_copy(update={"planes": (16, 48), "torso_planes": (16, 48)}),
    }
)


def test_the_demo_makes_a_video_from_footage(tmp_path, monkeypatch, capsys, speaker_video):
    """Runs the whole demo with the real core, API and worker; only the training is shortened."""

    @contextmanager
    def service_here(data: Path, log: Path):
        settings = Settings(data_dir=data)
        data.mkdir()
        with closing(Database(settings.database)) as database:
            migrations.upgrade(database)
        worker = PollingWorker(settings, load_core())
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            with serving(create_app(settings)) as url, Client(url) as client:
                yield client
        finally:
            worker.stopping.set()
            thread.join()

    monkeypatch.setattr("demo.__main__.service", service_here)
    monkeypatch.setitem(PRESETS, "draft", TINY)
    # The defaults are for larger images and would take most of the time.
    monkeypatch.setattr(pose_refinement, "RAYS", 128)
    monkeypatch.setattr(torso_refinement, "PIXELS", 64)
    words = speak("Mama, papa, pop a map.")
    say = tmp_path / "say.wav"
    ffmpeg.write_wav(say, words.samples, words.rate)
    out = tmp_path / "out"
    assert main(["--video", str(speaker_video.path), "--audio", str(say), "--out", str(out)]) == 0

    printed = capsys.readouterr().out
    for word in ("talking.mp4", "preprocess", "train", "render", "head", "psnr", "lip_sync"):
        assert word in printed
    frames = list(ffmpeg.read_frames(out / "talking.mp4"))
    assert frames[0].shape == (256, 256, 3) and len(frames) == pytest.approx(words.seconds * 25, abs=1)
    assert len(ffmpeg.extract_audio(out / "talking.mp4")) == pytest.approx(len(frames) * 640, abs=16)
    footage = list(ffmpeg.read_frames(speaker_video.path))
    error = np.mean((np.mean(frames, axis=0) - np.mean(footage, axis=0)) ** 2)
    assert 10 * np.log10(255**2 / error) > 25  # most of the frame is the footage; a video without the person has 10 dB
    assert (out / "talking.png").stat().st_size > 5000
