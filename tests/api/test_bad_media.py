"""Files that are not what they say, sent to a service with a real worker: refused, or a failed job that says why."""

from __future__ import annotations

import shutil
import signal
import struct
import subprocess
import sys
import time

import httpx
import pytest

from adnerf_core.files import ffmpeg
from api.app import create_app
from storage.settings import Settings, environment_of
from tests.api.conftest import Maker, check_problem, serving
from worker.jobs.workspace import Workspace

SPEECH = ("-f", "lavfi", "-i", "sine=300:duration={seconds}")
PICTURES = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=25:duration={seconds}")


@pytest.fixture(scope="module")
def files(tmp_path_factory, worker):
    """The bad files by name, made once."""
    folder = tmp_path_factory.mktemp("files")

    def make(name: str, *arguments: str, seconds: float = 1) -> bytes:
        command = [ffmpeg.ffmpeg_path(), "-loglevel", "error", *arguments, str(folder / name)]
        subprocess.run([each.format(seconds=seconds) for each in command], check=True, stdin=subprocess.DEVNULL)
        return (folder / name).read_bytes()

    film = make("film.mp4", *PICTURES, *SPEECH, "-pix_fmt", "yuv420p", seconds=10)
    minute = make("minute.aac", "-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono:d=60")
    (folder / "secret.wav").write_bytes(make("say.wav", *SPEECH))
    still = make("still.avi", "-f", "lavfi", "-i", "color=gray:s=160x144:d=0.2", "-c:v", "mjpeg")
    huge = still.replace(struct.pack("<ii", 160, 144), struct.pack("<ii", 16000, 16000))
    return {
        "no face": film,
        "cut off": film[: len(film) // 2],
        "huge": huge.replace(struct.pack(">HH", 144, 160), struct.pack(">HH", 16000, 16000)),
        "sound only": make("sound.m4a", *SPEECH, seconds=10),
        "pictures only": make("mute.mp4", *PICTURES, "-pix_fmt", "yuv420p", seconds=10),
        "half a second": make("half.wav", *SPEECH, seconds=0.5),
        "half a second of film": make("half.mp4", *PICTURES, *SPEECH, "-pix_fmt", "yuv420p", seconds=0.5),
        "a tenth of a second": make("tenth.wav", *SPEECH, seconds=0.1),
        "four hours of silence": minute * 240,
        "silent film": make("silent.mp4", *PICTURES, "-f", "lavfi", "-i", "anullsrc", "-t", "10", seconds=10),
        "noise": bytes(range(256)) * 400,
        "playlist": f"#EXTM3U\n#EXTINF:9,\n{folder}/secret.wav\n".encode(),
        "binary playlist": f"#EXTM3U\n#EXTINF:9,\n{folder}/secret.wav\n#\0\n".encode(),
        "text": b"hello, I am a film\n",
        "picture": make("picture.png", "-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1"),
        "empty": b"",
        "fine": make("fine.wav", *SPEECH),
    }


@pytest.fixture(scope="module")
def service(tmp_path_factory, empty_database, toy_run):
    """A service without worker, and a subject of which videos can be made."""
    data = tmp_path_factory.mktemp("data")
    shutil.copy(empty_database, data / "adnerf.db")
    settings = Settings(data_dir=data, device="cpu", poll_s=0.05)
    app = create_app(settings)
    with serving(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        make = Maker(client, app)
        subject = make.subject()
        Workspace(settings.work, make.store).upload_folder(toy_run.root, "run.zip")
        make.succeed(dataset_key="none")
        make.succeed(run_key="run.zip")
        client.subject_id = subject["id"]
        client.settings = settings
        yield client


@pytest.fixture(scope="module")
def worker(service):
    """The one worker process that meets all the bad files, and must be alive at the end."""
    command = [sys.executable, "-m", "worker", "worker", "--unsupervised"]
    process = subprocess.Popen(command, env=environment_of(service.settings))
    yield process
    assert process.poll() is None, "a bad file ended the worker"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


def finished(client, job: dict) -> dict:
    """The job once it is over."""
    end = time.monotonic() + 300
    while job["state"] in ("queued", "running"):
        assert time.monotonic() < end, f"still {job['state']}"
        time.sleep(0.1)
        job = client.get(job["links"]["self"]).json()
    return job


def send_video(client, content: bytes):
    files = {"video": ("film.mp4", content)}
    return client.post("/v1/subjects", data={"consent": "yes"}, files=files)


def send_audio(client, content: bytes):
    files = {"audio": ("say.wav", content)}
    return client.post("/v1/videos", data={"subject_id": client.subject_id}, files=files)


@pytest.mark.parametrize("send", [send_video, send_audio])
@pytest.mark.parametrize(
    ("name", "code"),
    [("empty", "empty_file"), ("text", "not_media"), ("playlist", "not_media"), ("picture", "not_media")],
)
def test_what_can_be_seen_at_once_is_refused_at_once(service, files, send, name, code):
    check_problem(send(service, files[name]), code)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("noise", "not_media"),
        ("binary playlist", "not_media"),
        ("cut off", "not_media"),
        ("huge", "media_too_large"),
        ("sound only", "no_video"),
        ("pictures only", "no_audio"),
        ("half a second", "no_video"),
        ("half a second of film", "too_short"),
        ("four hours of silence", "media_too_long"),
        ("silent film", "silent_audio"),
        ("no face", "no_face_found"),
    ],
)
def test_footage_that_cannot_work_fails_with_the_reason(service, files, name, code):
    answer = send_video(service, files[name])
    assert answer.status_code == 202
    subject = answer.json()
    job = finished(service, subject["jobs"][0])
    assert (job["state"], job["error"] and job["error"]["code"]) == ("failed", code), job
    assert job["error"]["message"] and job["error"]["remedy"]
    assert job["attempt"] == 1
    subject = service.get(subject["links"]["self"]).json()
    assert subject["state"] == "failed"
    assert [each["kind"] for each in subject["jobs"]] == ["preprocess"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("noise", "not_media"),
        ("binary playlist", "not_media"),
        ("cut off", "not_media"),
        ("pictures only", "no_audio"),
        ("huge", "media_too_large"),
        ("a tenth of a second", "audio_too_short"),
        ("four hours of silence", "media_too_long"),
    ],
)
def test_audio_that_cannot_work_fails_with_the_reason(service, files, name, code):
    answer = send_audio(service, files[name])
    assert answer.status_code == 202
    video = answer.json()
    job = finished(service, video["job"])
    assert (job["state"], job["error"] and job["error"]["code"]) == ("failed", code), job
    assert job["error"]["message"] and job["error"]["remedy"]
    assert service.get(video["links"]["self"]).json()["state"] == "failed"
    check_problem(service.get(f"{video['links']['self']}/file"), "video_not_ready")


def test_after_all_that_the_worker_still_makes_a_video(service, files):
    video = send_audio(service, files["fine"]).json()
    assert finished(service, video["job"])["state"] == "succeeded"
    video = service.get(video["links"]["self"]).json()
    assert (video["state"], video["frames"], video["duration_s"]) == ("ready", 25, 1.0)
    film = service.get(video["links"]["file"])
    assert len(film.content) == video["size_bytes"]
    assert film.content[4:8] == b"ftyp"
