"""The commands for users of a service: their output and their exit statuses."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from adnerf.__main__ import main
from adnerf_client.errors import AdnerfError
from adnerf_client.models import Job, Verification
from api.services import samples
from tests.adnerf_core.files.clock import clip
from tests.client.conftest import CONSENT, a_service

ROOT = Path(__file__).parents[2]


@pytest.fixture
def adnerf(service, monkeypatch, capfd):
    """`adnerf words...` in this process: (exit status, stdout, stderr)."""
    monkeypatch.setenv("ADNERF_URL", service.url)
    monkeypatch.chdir(service.folder)

    def run(*words):
        status = main([str(word) for word in words])
        return status, *capfd.readouterr()

    return run


def started(service, *words):
    """`adnerf words...` as a process of its own."""
    command = [sys.executable, "-m", "adnerf", *(str(word) for word in words)]
    environment = {**os.environ, "ADNERF_URL": service.url, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        cwd=service.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests in the background of a shell ignore Ctrl-C, and child processes would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_the_main_job_by_commands(service, adnerf):
    service.start_worker()
    service.file("ann.mp4", train={"previews": True})
    status, out, err = adnerf(
        "subjects", "create", "ann.mp4", "--name", "Ånn", "--consent", CONSENT, "--wait", "--json"
    )
    subject = json.loads(out)
    assert (status, subject["name"], subject["state"], subject["quality"]["psnr"]) == (0, "Ånn", "ready", 30.0)
    assert "preprocess 100%" in err and "train 100%" in err

    service.file("say.wav")
    status, out, err = adnerf("videos", "create", subject["id"], "say.wav", "-o", "said.webm", "--yaw", "5", "--json")
    video = json.loads(out)
    assert (status, video["options"]["format"], video["options"]["view"]["yaw_deg"]) == (0, "webm", 5.0)
    assert (service.folder / "said.webm").stat().st_size == video["size_bytes"] and "render 100%" in err

    status, out, _ = adnerf("videos", "download", video["id"])
    assert (status, (service.folder / f"{video['id']}.webm").exists()) == (0, True)
    status, out, _ = adnerf("subjects", "list")
    assert status == 0 and subject["id"] in out and "Ånn" in out and "ready" in out
    status, out, _ = adnerf("subjects", "show", subject["id"])
    assert "psnr" in out and "30" in out and "succeeded" not in err and "preprocess" in out
    status, out, _ = adnerf("jobs", "list", "--subject", subject["id"], "--json")
    assert [job["kind"] for job in json.loads(out)] == ["render", "train", "preprocess"]
    assert adnerf("jobs", "watch", video["id"])[0] == 0
    assert adnerf("subjects", "preview", subject["id"], "-o", "p.jpg")[0] == 0
    assert (service.folder / "p.jpg").read_bytes().startswith(b"picture")
    status, out, _ = adnerf("subjects", "delete", subject["id"], "--json")
    assert (status, json.loads(out)) == (0, {"deleted": [subject["id"]]})
    assert json.loads(adnerf("videos", "list", "--json")[1]) == []


def test_a_silent_portrait_by_command(service, adnerf):
    service.start_worker()
    service.file("ann.mp4")
    subject = json.loads(adnerf("subjects", "create", "ann.mp4", "--consent", CONSENT, "--wait", "--json")[1])
    words = ["--duration-s", "2", "--frame", "portrait", "--motion", "0.5", "--size", "128", "-o", "idle.mp4", "--json"]
    status, out, _ = adnerf("videos", "create", subject["id"], *words)
    video = json.loads(out)
    assert (status, video["idle_s"], video["duration_s"], video["frame"]) == (0, 2.0, 2.0, "portrait")
    assert {name: video["options"][name] for name in ("frame", "motion", "size")} == {
        "frame": "portrait",
        "motion": 0.5,
        "size": 128,
    }
    assert (service.folder / "idle.mp4").stat().st_size == video["size_bytes"]
    status, _, err = adnerf("videos", "create", subject["id"], "--duration-s", "2", "--frame", "full", "--yaw", "5")
    assert status == 1 and "/options/frame" in err and "`view`" in err


def test_a_script_by_command(service, adnerf):
    service.start_worker()
    service.file("ann.mp4")
    subject = json.loads(adnerf("subjects", "create", "ann.mp4", "--consent", CONSENT, "--wait", "--json")[1])
    (service.folder / "say.txt").write_text('{"steps": 1}')
    words = [
        "--script",
        "@say.txt",
        "--voice",
        "stub-ada",
        "--metadata",
        "order=7=8",
        "--title",
        "Hi",
        "--aspect",
        "1:1",
    ]
    status, out, _ = adnerf("videos", "create", subject["id"], *words, "--captions", "srt", "-o", "hi.mp4", "--json")
    video = json.loads(out)
    assert (status, video["title"], video["metadata"], video["options"]["aspect"]) == (0, "Hi", {"order": "7=8"}, "1:1")
    assert (service.folder / "hi.srt").read_text().startswith("1\n00:00:00,100")
    assert "stub-ada" in adnerf("voices", "list")[1] and "Hi" in adnerf("videos", "list", "--title", "h")[1]
    assert "Hello again" in adnerf("videos", "rename", video["id"], "Hello again")[1]
    assert adnerf("voices", "sample", "stub-ada")[0] == 0 and (service.folder / "stub-ada.wav").exists()


def test_the_sample_person_by_command(service, adnerf):
    """Its footage lies there already: making it takes half a minute."""
    made = service.settings.data_dir / "samples" / samples.FILES["person"]
    made.parent.mkdir()
    made.write_bytes(service.file().read_bytes())
    status, out, _ = adnerf("subjects", "create", "--sample", "--consent", CONSENT, "--json")
    assert (status, json.loads(out)["name"]) == (0, "Sample person")
    with pytest.raises(SystemExit):
        adnerf("subjects", "create", "ann.mp4", "--sample", "--consent", CONSENT)


def test_a_failed_job_ends_with_status_1_and_its_remedy(service, adnerf):
    service.start_worker()
    service.file("empty.mp4", at={"1": "refuse"})
    status, out, err = adnerf("subjects", "create", "empty.mp4", "--consent", CONSENT, "--wait")
    assert status == 1 and "no_face_found" in err and "Record one person" in err
    status, out, err = adnerf("jobs", "list", "--json")
    (job,) = json.loads(out)
    status, out, err = adnerf("jobs", "watch", job["id"], "--json")
    assert status == 1 and json.loads(out)["error"]["code"] == "no_face_found"


def test_waiting_with_a_timeout_ends_with_status_3(service, adnerf):
    service.file("ann.mp4")
    status, out, err = adnerf("subjects", "create", "ann.mp4", "--consent", CONSENT, "--timeout", "0.3", "--json")
    subject = json.loads(out)
    assert status == 3 and f"adnerf jobs watch {subject['id']}" in err
    status, out, err = adnerf("jobs", "watch", subject["id"], "--timeout", "0.3", "--json")
    assert (status, json.loads(out)["id"]) == (3, subject["id"])
    status, out, _ = adnerf("jobs", "cancel", subject["jobs"][0]["id"])
    assert status == 0 and "cancelled" in out
    status, _, err = adnerf("jobs", "watch", subject["id"])
    assert status == 1 and "cancelled" in err
    assert adnerf("jobs", "cancel", subject["jobs"][0]["id"])[0] == 1
    assert "queued" in adnerf("jobs", "retry", subject["jobs"][0]["id"])[1]


def test_ctrl_c_ends_the_waiting_while_the_work_continues(service, client):
    subject = client.subjects.create(service.file(), consent=CONSENT)
    watching = started(service, "jobs", "watch", subject.id)
    assert "preprocess" in watching.stderr.readline()
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=120)
    assert watching.returncode == 3 and f"adnerf jobs watch {subject.id}" in err and "Traceback" not in err
    assert client.subjects.get(subject).jobs[0].state == "queued"


def test_bars_are_for_terminals(service, client):
    """On a terminal there are bars; they do not mix with the JSON on stdout."""
    service.start_worker()
    subject = client.subjects.create(service.file(), consent=CONSENT)
    shown, terminal = pty.openpty()
    command = [sys.executable, "-m", "adnerf", "jobs", "watch", subject.id, "--json", "--url", service.url]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    watching = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    chunks: list[bytes] = []
    reader = threading.Thread(target=_read, args=(shown, chunks))
    reader.start()
    out, _ = watching.communicate(timeout=120)
    reader.join()
    os.close(shown)
    assert watching.returncode == 0 and json.loads(out)["state"] == "ready"
    screen = b"".join(chunks).decode()
    assert "━" in screen and "train" in screen and "100%" in screen


def _read(terminal, chunks):
    while True:
        try:
            chunks.append(os.read(terminal, 4096))
        except OSError:  # the other end is closed
            return


def test_errors_end_with_status_1_and_a_message(service, adnerf):
    status, out, err = adnerf("subjects", "show", "sub_nobody", "--json")
    error = json.loads(out)["error"]
    assert (status, error["code"], error["status"]) == (1, "not_found", 404) and "Traceback" not in err
    assert adnerf("subjects", "create", "nobody.mp4", "--consent", CONSENT)[0] == 1
    status, _, err = adnerf("subjects", "list", "--url", "nonsense")
    assert status == 1 and "http://127.0.0.1:8000" in err
    status, _, err = adnerf("jobs", "watch", "upl_1")
    assert status == 1 and "sub_" in err


@pytest.mark.parametrize(
    "words",
    [
        ["subjects"],
        ["subjects", "create", "a.mp4"],
        ["subjects", "create", "--consent", "Ann"],
        ["videos", "create", "sub_1", "a.wav", "--upload", "upl_1"],
        ["videos", "create", "sub_1", "a.wav", "--duration-s", "5"],
        ["videos", "create", "sub_1", "--upload", "upl_1", "--duration-s", "5"],
        ["videos", "create", "sub_1"],
        ["videos", "create", "sub_1", "a.wav", "--yaw", "left"],
        ["jobs", "fly"],
    ],
)
def test_a_wrong_command_line_ends_with_status_2(adnerf, words):
    with pytest.raises(SystemExit) as ended:
        adnerf(*words)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("words", "options", "picture"),
    [
        ([], {}, None),
        (["-o", "a.webm", "--background", "transparent"], {"format": "webm", "background": {"kind": "transparent"}}, None),
        (["-o", "a.webm", "--format", "mp4", "--pose", "still"], {"format": "mp4", "pose": "still"}, None),
        (["--background", "#20a0FF"], {"background": {"kind": "color", "color": "#20a0FF"}}, None),
        (["--background", "wall.png", "--label"], {"label": True, "background": {"kind": "image"}}, Path("wall.png")),
        (["--label", "Made by AI", "--yaw", "-5"], {"label": "Made by AI", "view": {"yaw_deg": -5.0}}, None),
        (["--label", "--seed", "1"], {"label": True, "seed": 1}, None),
        (["--aspect", "9:16", "--fit", "contain", "--sides", "#102030", "--captions", "burn"],
         {"aspect": "9:16", "fit": "contain", "sides": "#102030", "captions": {"burn": {}}}, None),
        (["--zoom", "1.5", "--x", "-0.1", "--size", "64", "--seed", "0"],
         {"view": {"zoom": 1.5, "x": -0.1}, "size": 64, "seed": 0}, None),
    ],
)  # fmt: skip
def test_the_request_for_a_video(words, options, picture, monkeypatch):
    requests = []

    def create(_videos, subject, audio, **request):
        requests.append((subject, audio, request["options"], request["background"]))
        raise AdnerfError("enough")

    monkeypatch.setattr("adnerf_client.resources.Videos.create", create)
    assert main(["videos", "create", "sub_1", "a.wav", *words]) == 1
    assert requests == [("sub_1", Path("a.wav"), options, picture)]


def test_uploads_by_commands(service, adnerf):
    service.file("ann.mp4")
    status, out, err = adnerf("uploads", "create", "ann.mp4", "--json")
    upload = json.loads(out)
    assert (status, upload["state"]) == (0, "complete") and f"adnerf uploads resume {upload['id']}" in err
    assert upload["id"] in adnerf("uploads", "list")[1]
    status, out, _ = adnerf(
        "subjects", "create", "--upload", upload["id"], "--consent", CONSENT, "--name", "Ann", "--json"
    )
    assert (
        status == 0
        and json.loads(adnerf("uploads", "show", upload["id"], "--json")[1])["used_by"] == json.loads(out)["id"]
    )
    assert adnerf("uploads", "delete", upload["id"])[0] == 0


def test_consent_by_names_the_person_in_the_record(service, adnerf):
    service.file("ann.mp4")
    _, out, _ = adnerf("subjects", "create", "ann.mp4", "--consent", CONSENT, "--consent-by", "Ånn", "--json")
    record = json.loads(adnerf("subjects", "consent", json.loads(out)["id"], "--json")[1])
    assert (record["text"], record["by"], record["may_improve_others"]) == (CONSENT, "Ånn", False)


def test_a_person_may_improve_others_by_commands(service, adnerf):
    service.file("ann.mp4")
    _, out, _ = adnerf("subjects", "create", "ann.mp4", "--consent", CONSENT, "--may-improve-others", "--json")
    subject = json.loads(out)["id"]
    assert json.loads(out)["consent"]["may_improve_others"]
    revoked = adnerf("subjects", "consent", subject, "--may-not-improve-others", "--json")[1]
    assert not json.loads(revoked)["may_improve_others"]


@pytest.mark.parametrize("small", [True, False], ids=["in the form", "as an upload"])
def test_spoken_consent_by_commands(tmp_path, empty_database, monkeypatch, capfd, small):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("adnerf_client.made.RESUMABLE_FROM", 1 << 20 if small else 1000)
    spoken = clip(tmp_path / "yes.mp4", "-pix_fmt", "yuv420p")
    with a_service(tmp_path, empty_database, consent_clip="required") as service:
        monkeypatch.setenv("ADNERF_URL", service.url)
        service.file("ann.mp4")
        assert main(["subjects", "create", "ann.mp4", "--consent", CONSENT]) == 1
        assert "consent_clip" in capfd.readouterr().err
        assert main(["subjects", "create", "ann.mp4", "--consent", CONSENT, "--consent-clip", "yes.mp4", "--json"]) == 0
        subject = json.loads(capfd.readouterr().out)
        assert main(["subjects", "consent", subject["id"], "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["clip_sha256"] == hashlib.sha256(spoken.read_bytes()).hexdigest()
        assert main(["subjects", "consent-clip", subject["id"], "--out", "kept.mp4"]) == 0
        assert (tmp_path / "kept.mp4").read_bytes() == spoken.read_bytes()
        assert len(list(service.client().uploads.list())) == (0 if small else 1)


def test_a_verification_is_shown_as_text(capsys):
    from adnerf.output import Output

    body = {"id": "ver_1", "state": "succeeded", "created_at": "2026-01-01T00:00:00Z", "made_here": False}
    body["credentials"] = {"present": True, "valid": True, "ours": False}
    body["credentials"]["problems"] = [{"code": "untrusted", "detail": "nobody knows them"}]
    body["video"] = {"id": "vid_1", "links": {"self": "/v1/videos/vid_1"}}
    Output(as_json=False).show(Verification.model_validate(body))
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["credentials.problems", "untrusted: nobody knows them"] in lines
    assert ["video.id", "vid_1"] in lines and not any("links" in name for name, _ in lines)


def test_progress_is_described_in_words():
    from adnerf.output import describe, time_left

    job = {"id": "job_1", "kind": "train", "state": "queued", "subject_id": "s", "created_at": "2026-01-01T00:00:00Z"}
    words = [
        Job.model_validate({**job, **more})
        for more in (
            {"queue_position": 3},
            {"state": "running", "stage": "head", "eta_s": 61},
            {"state": "running", "eta_s": 7322},
            {"state": "cancelled"},
            {"state": "succeeded"},
        )
    ]
    assert [describe(job) for job in words] == [
        "train (place 3 in the queue)",
        "train: head",
        "train",
        "train (cancelled)",
        "train",
    ]
    assert [time_left(job) for job in words] == ["", "about 1:01 left", "about 2:02:02 left", "", ""]


def test_the_program_in_the_readme_runs(service):
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(program.strip().splitlines()) <= 10
    service.start_worker()
    service.file("me.mp4")
    service.file("say.wav")
    environment = {**os.environ, "ADNERF_URL": service.url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", program]
    ran = subprocess.run(command, cwd=service.folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "1.0 s of Ann, held-out PSNR 30.0 dB" and "train" in ran.stdout
    assert b"before" in (service.folder / "said.mp4").read_bytes()


def test_a_file_name_that_is_not_utf_8(adnerf, service):
    name = os.fsdecode(b"caf\xe9.mp4")
    service.file(name)
    status, out, _ = adnerf("subjects", "create", name, "--consent", CONSENT, "--json")
    assert status == 0 and json.loads(out)["name"] == "caf?"
    status, _, err = adnerf("subjects", "create", os.fsdecode(b"none\xe9.mp4"), "--consent", CONSENT, "--json")
    assert status == 1 and "none?.mp4 cannot be read" in err
