"""Sends bad files to the real service: `python -m benchmarks.badfiles [--only TEXT] [--every N] [--resume] [--json FILE]`.

Starts `adnerf serve` on a new folder, with the real core and a ready subject, and sends it every file of the corpus as reference
video, audio or background. Each file must be refused at once, or lead to a job that fails with a code and a remedy, or work. No
response may be a 5xx, the worker must not end, no file or address that a file refers to may be accessed, and the memory must stay
bounded. The order is random, from the seed, and the figures are written after each file: an interrupted run is a fair sample, and
`--resume` continues it. Prints the outcomes; the exit status is 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adnerf_core.files.run_dir import RunDir, read_json, write_json
from adnerf_core.training.train import train
from api.services import subjects
from benchmarks.badfiles import good
from benchmarks.badfiles.corpus import Case, cases
from benchmarks.badfiles.watch import Canaries, Memory, children, peak_mib, watching
from storage.database import migrations
from storage.database.engine import Database
from storage.database.models import LOCAL
from storage.objects.base import ObjectStore
from storage.objects.open_store import open_store
from storage.settings import Settings, environment_of
from storage.tables import jobs
from tests.adnerf_core.toy import SHORT, make_toy_dataset
from tests.servers import free_port
from worker.jobs.workspace import Workspace

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "badfiles.json"
TIMEOUT_S = 600.0
"""Longest duration of a request, a job and the start; it is much more than any file needs on a busy machine."""
MEMORY_MIB = 3072
"""Largest memory of one ffmpeg process, MiB: adnerf_core.files.ffmpeg_process.MEMORY_BYTES."""
SECRET = "canary-3f1d"
"""Content of a file that the service must not read; it must not appear in any response."""
UNFORESEEN_CODES = ("internal_error", "worker_lost", "time_limit")
"""Codes of failed jobs that mean a fault of the service instead of the file."""


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line, sends the files, and prints and writes the figures; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the files and of their order (default: %(default)s)"
    )
    parser.add_argument("--only", default="", help="send only the files whose role and name contain this text")
    parser.add_argument("--first", type=int, default=0, help="index of the first of these files (default: %(default)s)")
    parser.add_argument("--every", type=int, default=1, help="send only each N-th of them (default: all)")
    parser.add_argument(
        "--resume", action="store_true", help="keep the figures in FILE, and send only the files that are not in it"
    )
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the figures (default: %(default)s)")
    args = parser.parse_args(arguments)
    outcomes = read_outcomes(args.json, args.seed) if args.resume else []
    finished = {(outcome["role"], outcome["name"]) for outcome in outcomes}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="badfiles-")))
        secrets = hide(folder / "hidden")
        canaries = stack.enter_context(closing(Canaries(secrets)))
        corpus = [
            case
            for case in cases(args.seed, str(secrets[0]), canaries.address)
            if args.only in f"{case.role} {case.name}"
        ][args.first :: args.every]
        random.Random(args.seed).shuffle(corpus)
        canaries.accessed()  # making the corpus reads them
        service = stack.enter_context(serving(folder / "data", canaries))
        stack.enter_context(suppress(KeyboardInterrupt))  # Ctrl-C: the figures are those of the files sent so far
        for outcome in service.send_all([case for case in corpus if (case.role, case.name) not in finished]):
            outcomes.append(outcome)
            write_json(args.json, summary(outcomes, args.seed) | {"files": outcomes})
    if not outcomes:
        raise SystemExit("No file was sent.")
    figures = summary(outcomes, args.seed)
    show(figures, outcomes)
    return 1 if figures["broken"] else 0


def read_outcomes(path: Path, seed: int) -> list[dict[str, Any]]:
    """Returns the outcomes in the figures at `path`, none if the file does not exist; exits if they are of another seed."""
    figures = read_json(path) if path.exists() else {"seed": seed, "files": []}
    if figures["seed"] != seed:
        raise SystemExit(f"{path} has the figures of seed {figures['seed']}: use that seed, or another file.")
    return figures["files"]


def hide(folder: Path) -> list[Path]:
    """Creates the files that the service must not read, although bad files refer to them; the first one is valid audio."""
    folder.mkdir()
    for name, content in (("canary.wav", good.speech("a.wav")), ("canary.txt", SECRET.encode())):
        (folder / name).write_bytes(content)
    return [folder / "canary.wav", folder / "canary.txt"]


class Service:
    """A running service with a ready subject, and the observation of its processes.

    Attributes:
        process: the supervisor, whose children are the API and the worker.
        client: an HTTP client of the API.
        subject_id: the ready subject.
        canaries: files and an address that the service must not access.
        speech: valid audio for the videos with a bad background.
        worker: process id of the worker.
    """

    def __init__(self, process: subprocess.Popen, client: httpx.Client, subject_id: str, canaries: Canaries):
        self.process, self.client, self.subject_id, self.canaries = process, client, subject_id, canaries
        self.speech = good.speech("a.wav", seconds=0.3)
        self.worker = self._find_worker()

    def send_all(self, corpus: list[Case]) -> Iterator[dict[str, Any]]:
        """Sends the files one after the other; yields the outcome of each."""
        with watching(self.worker) as memory:
            for case in track(corpus, "sending", console=Console(stderr=True)):
                yield self.send(case, memory)

    def send(self, case: Case, memory: Memory) -> dict[str, Any]:
        """Sends one file and waits for the end of its job; returns the outcome, with the broken promises."""
        start = time.monotonic()
        response = self._post(case)
        outcome = {"role": case.role, "name": case.name, "bytes": len(case.content), "status": response.status_code}
        content, broken = response.json(), []
        if response.status_code == 202:
            job = self._wait_for_end(content["jobs"][0] if case.role == "video" else content["job"])
            content = job["error"] or {}
            outcome |= {"outcome": job["state"], "code": content.get("code")}
            if job["state"] == "failed" and (content["code"] in UNFORESEEN_CODES or not content["remedy"]):
                broken.append("unforeseen")
            if job["attempt"] != 1:
                broken.append("the worker was lost")
        else:
            outcome |= {"outcome": "refused", "code": content.get("code")}
            if response.status_code >= 500:
                broken.append("5xx")
        if self.canaries.accessed() or SECRET in json.dumps(content):
            broken.append("a forbidden file or address was accessed")
        if self.worker not in children(self.process.pid):
            broken.append("the worker is dead")
            self.worker = memory.pid = self._find_worker()
        ffmpeg_mib = memory.peak_since_last_call()
        outcome |= {"seconds": round(time.monotonic() - start, 2), "ffmpeg_mib": round(ffmpeg_mib, 1)}
        api = max((peak_mib(pid) for pid in children(self.process.pid) if pid != self.worker), default=0.0)
        outcome |= {"worker_mib": round(peak_mib(self.worker), 1), "api_mib": round(api, 1), "broken": broken}
        if outcome["ffmpeg_mib"] > MEMORY_MIB:
            broken.append("memory")
        return outcome

    def _post(self, case: Case) -> httpx.Response:
        if case.role == "video":
            form = {"consent": "nobody: a benchmark", "preset": "draft"}
            return self.client.post("/v1/subjects", data=form, files={"video": ("a.mp4", case.content)})
        form = {"subject_id": self.subject_id, "options": '{"size": 64}'}
        files = {"audio": ("a.wav", case.content)}
        if case.role == "background":
            files = {"audio": ("a.wav", self.speech), "background": ("a.png", case.content)}
        return self.client.post("/v1/videos", data=form, files=files)

    def _wait_for_end(self, job: dict[str, Any]) -> dict[str, Any]:
        end = time.monotonic() + TIMEOUT_S
        while job["state"] in ("queued", "running"):
            if time.monotonic() > end:
                job = self.client.post(job["links"]["cancel"]).json()
                return job | {"state": "failed", "error": {"code": "time_limit", "remedy": "It did not end."}}
            time.sleep(0.05)
            job = self.client.get(job["links"]["self"]).json()
        if job["kind"] == "preprocess" and job["state"] == "succeeded":  # a training would delay the next files
            self.client.delete(job["links"]["subject"])
        return job

    def _find_worker(self) -> int:
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            for pid in children(self.process.pid):
                if b"\0worker\0worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
            time.sleep(0.1)
        raise TimeoutError("there is no worker")


@contextmanager
def serving(data: Path, canaries: Canaries) -> Iterator[Service]:
    """Runs `adnerf serve` inside the block, on a new folder with a ready subject."""
    port = free_port()
    settings = Settings(data_dir=data, device="cpu", poll_s=0.05, address_rate_limit="1000000/minute")
    subject_id = make_subject(settings)
    command = [sys.executable, "-m", "worker", "serve", "--data-dir", str(data), "--port", str(port)]
    log = data / "serve.log"
    with (
        log.open("wb") as file,
        subprocess.Popen(command, cwd=ROOT, env=environment_of(settings), stderr=file) as process,
    ):
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_S) as client:
                await_ready(client)
                yield Service(process, client, subject_id, canaries)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            for line in log.read_text(errors="replace").splitlines():
                if "unforeseen" in line or "Traceback" in line:
                    print(line, file=sys.stderr)


def await_ready(client: httpx.Client) -> None:
    """Waits until the API answers. Raises TimeoutError."""
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        try:
            if client.get("/healthz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise TimeoutError("the service did not start")


def make_subject(settings: Settings) -> str:
    """Creates a ready subject from the synthetic toy dataset; returns its id."""
    settings.data_dir.mkdir(parents=True)
    store = open_store(settings)
    with closing(Database(settings.database)) as database:
        migrations.upgrade(database)
        with database.session() as session, store.create_incoming() as video:
            video.write(b"toy")
            form = {"name": "toy", "preset": "draft", "consent": "nobody: a toy", "video": video}
            subject_id = subjects.submit_subject(session, store, settings, owner=LOCAL, **form).id
        store_run(settings, store)
        for values in ({"dataset_key": "none"}, {"run_key": "run.zip"}):
            with database.session() as session:
                job = jobs.claim(session, "benchmark", lease_s=60)
                jobs.succeed(session, job.id, job.attempt, **values)
    return subject_id


def store_run(settings: Settings, store: ObjectStore) -> None:
    """Trains a run for a few steps and stores it as the object `run.zip`."""
    with tempfile.TemporaryDirectory() as folder:
        run = train(make_toy_dataset(Path(folder) / "toy"), RunDir(Path(folder) / "run"), SHORT)
        Workspace(settings.work, store).upload_folder(run.root, "run.zip")


def summary(outcomes: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Summarises the outcomes of all files."""
    counts = Counter(f"{each['outcome']}: {each['code']}" if each["code"] else each["outcome"] for each in outcomes)
    return {
        "machine": {"processors": os.cpu_count(), "python": platform.python_version()},
        "seed": seed,
        "sent": len(outcomes),
        "by_role": dict(Counter(each["role"] for each in outcomes)),
        "by_kind": dict(Counter(f"{each['role']} {each['name'].split(':')[0]}" for each in outcomes).most_common()),
        "outcomes": dict(counts.most_common()),
        "broken": [
            f"{each['role']} {each['name']}: {', '.join(each['broken'])}" for each in outcomes if each["broken"]
        ],
        "median_s": statistics.median(each["seconds"] for each in outcomes),
        "slowest_s": max(each["seconds"] for each in outcomes),
        "ffmpeg_peak_mib": max(each["ffmpeg_mib"] for each in outcomes),
        "worker_peak_mib": max(each["worker_mib"] for each in outcomes),
        "api_peak_mib": max(each["api_mib"] for each in outcomes),
    }


def show(figures: dict[str, Any], outcomes: list[dict[str, Any]]) -> None:
    """Prints the outcomes as a table, and the broken promises."""
    table = Table("outcome", "files", "slowest, s", "ffmpeg, MiB")
    for outcome, count in figures["outcomes"].items():
        same = [each for each in outcomes if outcome in (each["outcome"], f"{each['outcome']}: {each['code']}")]
        maxima = (max(each[key] for each in same) for key in ("seconds", "ffmpeg_mib"))
        table.add_row(outcome, str(count), *(f"{value:.1f}" for value in maxima))
    console = Console()
    console.print(table)
    console.print(f"{figures['sent']} files; ffmpeg at most {figures['ffmpeg_peak_mib']:.0f} MiB, ", end="")
    console.print(
        f"the worker {figures['worker_peak_mib']:.0f}, the API {figures['api_peak_mib']:.0f} MiB; {len(figures['broken'])} broken promises"
    )
    for line in figures["broken"]:
        console.print(f"  {line}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
