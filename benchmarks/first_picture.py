"""Measures how soon a video can be watched: `python -m benchmarks.first_picture RUN [--size PX] [--rounds N] [--json FILE]`.

The API and a worker are processes of their own, on SQLite and a local store; the client has a key. The worker is warm: it has just made a
short video of the subject. Times are those from the start of the job until the client has the header and the first segment of the
stream, for which it asks again and again; the processor's time is that of the worker and its programs until then. Both are upper bounds on
a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from adnerf_core.files.run_dir import read_json
from api.services import subjects
from benchmarks.api_load import MP4_HEAD, ROOT, serving
from benchmarks.render import write_sound
from storage.database.engine import Database
from storage.objects.open_store import open_store
from storage.settings import Settings, environment_of
from storage.tables import api_keys, jobs
from tests.incoming import incoming
from worker.jobs.workspace import Workspace

RESULTS = Path(__file__).parent / "results" / "first_picture.json"
OWNER = "ann"
ASK_AGAIN_S = 0.02
"""Seconds between two requests for the playlist: what the client learns too late is at most this."""
PATIENCE_S = 120.0
"""Seconds after which a video without a stream counts as failed."""
SPEECH_S = {"first": 0.6, "short": 2.0, "long": 60.0}
"""Lengths of the recordings, s: that of the video before, one of a sentence, and one of which only a part is heard before the first picture."""
SCRIPT = "Hello, I am Ann. This is what I say."


def main() -> None:
    """Parses the command line, measures, and prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("--size", type=int, help="longest edge of the frames, px (default: the footage's)")
    parser.add_argument("--rounds", type=int, default=5, help="videos of each kind (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the figures (default: %(default)s)")
    args = parser.parse_args()
    figures = measure(args.run, args.size, args.rounds)
    table = Table("video", *next(iter(figures["videos"].values())))
    for name, values in figures["videos"].items():
        table.add_row(name, *map(str, values.values()))
    Console().print(table)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure(run: Path, size: int | None, rounds: int) -> dict[str, Any]:
    """Measures `rounds` videos of each kind of a run; returns the figures."""
    with TemporaryDirectory(prefix="first-picture-") as name:
        folder = Path(name)
        settings = Settings(data_dir=folder, rate_limit="off")
        sounds = {kind: write_sound(folder / f"{kind}.wav", seconds) for kind, seconds in SPEECH_S.items()}
        with serving(settings) as api, closing(Database(settings.database)) as database:
            subject_id = add_subject(settings, database, run)
            with database.session() as session:
                _, token = api_keys.create(session, owner=OWNER, name="benchmark", scopes=("read", "write"))
            with worker(settings) as process, client(str(api.client.base_url), token) as http:
                viewer = Viewer(http, process, {"subject_id": subject_id, "options": {"size": size}})
                viewer.make(sounds["first"])  # meanwhile the worker announces its voices
                kinds: dict[str, Callable[[], dict[str, float]]] = {
                    f"{SPEECH_S[kind]:g} s of speech": lambda sound=sound: viewer.watch(sound)
                    for kind, sound in sounds.items()
                    if kind != "first"
                }
                if http.get("/v1/voices").json()["items"]:
                    kinds["script of two sentences"] = lambda: viewer.watch(None)
                videos = {}
                for kind, watch in kinds.items():
                    seen = []
                    for _ in range(rounds):
                        viewer.make(sounds["first"])
                        seen.append(watch())
                    videos[kind] = _summary(seen)
    frame = read_json(run / "subject.json").get("footage") or {}
    machine = {"processors": os.cpu_count(), "load_average": round(os.getloadavg()[0], 1)}
    return {"machine": machine, "frame": {key: frame.get(key) for key in ("width", "height")}, "videos": videos}


class Viewer:
    """A client that makes videos of a subject and watches them.

    Args:
        http: sends requests with the key.
        process: the worker.
        fields: of every request for a video.
    """

    def __init__(self, http: httpx.Client, process: psutil.Process, fields: dict[str, Any]):
        self.http, self.process, self.fields = http, process, fields

    def make(self, sound: Path) -> None:
        """Makes a whole video."""
        self._until(self._submit(sound), lambda video: video["state"] == "ready")

    def watch(self, sound: Path | None) -> dict[str, float]:
        """Makes a video until its first segment is there, of `sound` or else of SCRIPT, and cancels it.

        Returns:
            `asked_s` and `started_s`, seconds until then since the request and since the start of the job; `cpu_s`, of the worker since the
            request.
        """
        before, asked = cpu_s(self.process), time.time()
        video = self._submit(sound)
        playlist = f"{video}/stream.m3u8"
        while (answer := self.http.get(playlist)).status_code == 404:
            time.sleep(ASK_AGAIN_S)
            if time.time() > asked + PATIENCE_S:
                raise RuntimeError(f"no stream of the video: {self.http.get(video).text}")
        for name in re.findall(r"stream/[0-9]+/(?:init.mp4|0.m4s)", answer.raise_for_status().text):
            self.http.get(f"{video}/{name}").raise_for_status()
        seen, spent = time.time(), cpu_s(self.process) - before
        job = self.http.get(video).json()["job"]
        started = datetime.fromisoformat(job["started_at"]).timestamp()
        self.http.post(job["links"]["cancel"])
        self._until(video, lambda video: video["state"] in ("cancelled", "ready"))
        return {"started_s": seen - started, "asked_s": seen - asked, "cpu_s": spent}

    def _submit(self, sound: Path | None) -> str:
        """Asks for a video; returns its path."""
        if sound is None:
            answer = self.http.post("/v1/videos", json=self.fields | {"script": SCRIPT})
        else:
            with sound.open("rb") as file:
                fields = self.fields | {"options": json.dumps(self.fields["options"])}
                answer = self.http.post("/v1/videos", data=fields, files={"audio": file})
        return answer.raise_for_status().json()["links"]["self"]

    def _until(self, path: str, is_done: Callable[[dict[str, Any]], bool]) -> None:
        while not is_done(video := self.http.get(path).raise_for_status().json()):
            if video["state"] == "failed":
                raise RuntimeError(f"the video failed: {video['job']['error']}")
            time.sleep(0.1)


def add_subject(settings: Settings, database: Database, run: Path) -> str:
    """Makes a run a ready subject of OWNER; returns its id."""
    store, value = open_store(settings), read_json(run / "subject.json")
    with database.session() as session:
        video = incoming(store, MP4_HEAD + bytes(4096))
        subject = subjects.submit_subject(
            session,
            store,
            settings,
            owner=OWNER,
            name="Ann",
            preset="draft",
            consent="nobody: a benchmark",
            video=video,
        )
        subject_id = subject.id
    key = f"subjects/{subject_id}/runs/1.zip"
    Workspace(settings.work, store).upload_folder(run, key, skip=("checkpoints", "previews"))
    full = value.get("footage") and {edge: value["footage"][edge] for edge in ("width", "height")}
    for values in ({"dataset_key": key}, {"run_key": key, "view_limits": value["view_limits"], "full_frame": full}):
        with database.session() as session:
            job = jobs.claim(session, "benchmark", lease_s=60)
        with database.session() as session:
            jobs.succeed(session, job.id, job.attempt, **values)
    return subject_id


@contextmanager
def worker(settings: Settings) -> Iterator[psutil.Process]:
    """Runs a worker for renderings inside the block."""
    command = [sys.executable, "-m", "worker", "worker", "--unsupervised", "--queues", "gpu_render"]
    with subprocess.Popen(command, cwd=ROOT, env=environment_of(settings), stderr=subprocess.DEVNULL) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


@contextmanager
def client(url: str, token: str) -> Iterator[httpx.Client]:
    """A client with a key."""
    with httpx.Client(base_url=url, timeout=60, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as http:
        yield http


def cpu_s(process: psutil.Process) -> float:
    """Returns the CPU time of a process and of all that it has started, s."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _summary(seen: list[dict[str, float]]) -> dict[str, float]:
    """Returns the median of each figure, and the longest time since the start of a job."""
    median = {name: round(statistics.median(each[name] for each in seen), 2) for name in seen[0]}
    return median | {"longest_started_s": round(max(each["started_s"] for each in seen), 2)}


if __name__ == "__main__":
    main()
