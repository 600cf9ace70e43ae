"""Bad files against the real service: `python -m benchmarks.badfiles [--only TEXT] [--every N] [--resume] [--json FILE]`.

Starts `adnerf serve` on a fresh folder, with the real core and a subject to render, and sends it every file of the corpus as
reference video, audio or background. Each must be refused at once, or end as a job with a code and a remedy, or simply work;
without an error 5xx, without the end of the worker, without any look into files and addresses that a file names, and in
bounded memory. They are sent in an order drawn from the seed, and the figures are written after each: those of a run that was
cut short are a fair sample, and `--resume` goes on with the rest. Prints what came of them; the exit status is 1 where a promise
was broken.
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
PATIENCE_S = 600.0
MEMORY_MIB = 3072
"""What one ffmpeg may take at most, MiB: adnerf_core.files.ffmpeg.MEMORY_BYTES."""
SECRET = "canary-3f1d"
UNFORESEEN = ("internal_error", "worker_lost", "time_limit")
"""Codes of jobs that tell of a fault here, not in the file."""


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line, sends the files, prints, and writes the figures; returns an exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (default: %(default)s)")
    parser.add_argument("--only", default="", help="files whose role and name hold this text")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them (default: %(default)s)")
    parser.add_argument("--every", type=int, default=1, help="each so manyth of them (default: all)")
    parser.add_argument(
        "--resume", action="store_true", help="keep the figures that stand in FILE, and send the others"
    )
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go (default: %(default)s)")
    given = parser.parse_args(arguments)
    found = earlier(given.json, given.seed) if given.resume else []
    known = {(each["role"], each["name"]) for each in found}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="badfiles-")))
        secrets = hide(folder / "hidden")
        canaries = stack.enter_context(closing(Canaries(secrets)))
        made = [
            case
            for case in cases(given.seed, str(secrets[0]), canaries.address)
            if given.only in f"{case.role} {case.name}"
        ][given.first :: given.every]
        random.Random(given.seed).shuffle(made)
        canaries.disturbed()
        running = stack.enter_context(serving(folder / "data", canaries))
        stack.enter_context(suppress(KeyboardInterrupt))  # then the figures are of those that were sent
        for each in running.send_all([case for case in made if (case.role, case.name) not in known]):
            found.append(each)
            write_json(given.json, summary(found, given.seed) | {"files": found})
    if not found:
        raise SystemExit("No file was sent.")
    figures = summary(found, given.seed)
    show(figures, found)
    return 1 if figures["broken"] else 0


def earlier(path: Path, seed: int) -> list[dict[str, Any]]:
    """What came of each file in a run with this seed whose figures stand in `path`; nothing where there are none."""
    figures = read_json(path) if path.exists() else {"seed": seed, "files": []}
    if figures["seed"] != seed:
        raise SystemExit(f"{path} has the figures of seed {figures['seed']}: give that seed, or another file.")
    return figures["files"]


def hide(folder: Path) -> list[Path]:
    """Files that no bad file may lead anybody to; the first is a good recording."""
    folder.mkdir()
    for name, content in (("canary.wav", good.speech("a.wav")), ("canary.txt", SECRET.encode())):
        (folder / name).write_bytes(content)
    return [folder / "canary.wav", folder / "canary.txt"]


class Service:
    """A running service, and what is seen of it."""

    def __init__(self, process: subprocess.Popen, client: httpx.Client, subject_id: str, canaries: Canaries):
        self.process, self.client, self.subject_id, self.canaries = process, client, subject_id, canaries
        self.speech = good.speech("a.wav", seconds=0.3)
        self.worker = self._find_worker()

    def send_all(self, made: list[Case]) -> Iterator[dict[str, Any]]:
        """What came of each, in their order."""
        with watching(self.worker) as memory:
            for case in track(made, "sending", console=Console(stderr=True)):
                yield self.send(case, memory)

    def send(self, case: Case, memory: Memory) -> dict[str, Any]:
        """Sends one file, and waits for the end of its job."""
        start = time.monotonic()
        answer = self._post(case)
        found = {"role": case.role, "name": case.name, "bytes": len(case.content), "status": answer.status_code}
        said, broken = answer.json(), []
        if answer.status_code == 202:
            job = self._ended(said["jobs"][0] if case.role == "video" else said["job"])
            said = job["error"] or {}
            found |= {"outcome": job["state"], "code": said.get("code")}
            if job["state"] == "failed" and (said["code"] in UNFORESEEN or not said["remedy"]):
                broken.append("unforeseen")
            if job["attempt"] != 1:
                broken.append("the worker was lost")
        else:
            found |= {"outcome": "refused", "code": said.get("code")}
            if answer.status_code >= 500:
                broken.append("5xx")
        if self.canaries.disturbed() or SECRET in json.dumps(said):
            broken.append("a file was read that was not given")
        if self.worker not in children(self.process.pid):
            broken.append("the worker is dead")
            self.worker = memory.pid = self._find_worker()
        found |= {"seconds": round(time.monotonic() - start, 2), "ffmpeg_mib": round(memory.take(), 1)}
        api = max((peak_mib(pid) for pid in children(self.process.pid) if pid != self.worker), default=0.0)
        found |= {"worker_mib": round(peak_mib(self.worker), 1), "api_mib": round(api, 1), "broken": broken}
        if found["ffmpeg_mib"] > MEMORY_MIB:
            broken.append("memory")
        return found

    def _post(self, case: Case) -> httpx.Response:
        if case.role == "video":
            form = {"consent": "nobody: a benchmark", "preset": "draft"}
            return self.client.post("/v1/subjects", data=form, files={"video": ("a.mp4", case.content)})
        form = {"subject_id": self.subject_id, "options": '{"size": 64}'}
        files = {"audio": ("a.wav", case.content)}
        if case.role == "background":
            files = {"audio": ("a.wav", self.speech), "background": ("a.png", case.content)}
        return self.client.post("/v1/videos", data=form, files=files)

    def _ended(self, job: dict[str, Any]) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while job["state"] in ("queued", "running"):
            if time.monotonic() > end:
                job = self.client.post(job["links"]["cancel"]).json()
                return job | {"state": "failed", "error": {"code": "time_limit", "remedy": "It did not end."}}
            time.sleep(0.05)
            job = self.client.get(job["links"]["self"]).json()
        if job["kind"] == "preprocess" and job["state"] == "succeeded":  # no training shall hold up the others
            self.client.delete(job["links"]["subject"])
        return job

    def _find_worker(self) -> int:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for pid in children(self.process.pid):
                if b"\0worker\0worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
            time.sleep(0.1)
        raise TimeoutError("there is no worker")


@contextmanager
def serving(data: Path, canaries: Canaries) -> Iterator[Service]:
    """`adnerf serve` on a new folder, with a subject of which videos can be made."""
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
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
                await_ready(client)
                yield Service(process, client, subject_id, canaries)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            for line in log.read_text(errors="replace").splitlines():
                if "unforeseen" in line or "Traceback" in line:
                    print(line, file=sys.stderr)


def await_ready(client: httpx.Client) -> None:
    """Returns when the API answers."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if client.get("/healthz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise TimeoutError("the service did not start")


def make_subject(settings: Settings) -> str:
    """A subject that is ready, made of a toy; the id."""
    settings.data_dir.mkdir(parents=True)
    store = open_store(settings)
    with closing(Database(settings.database)) as database:
        migrations.upgrade(database)
        with database.session() as session, store.create_incoming() as video:
            video.write(b"toy")
            form = {"name": "toy", "preset": "draft", "consent": "nobody: a toy", "video": video}
            subject_id = subjects.submit_subject(session, store, settings, owner=LOCAL, **form).id
        push_run(settings, store)
        for values in ({"dataset_key": "none"}, {"run_key": "run.zip"}):
            with database.session() as session:
                job = jobs.claim(session, "benchmark", lease_s=60)
                jobs.succeed(session, job.id, job.attempt, **values)
    return subject_id


def push_run(settings: Settings, store: ObjectStore) -> None:
    """A run that has hardly been trained, as the object `run.zip`."""
    with tempfile.TemporaryDirectory() as folder:
        run = train(make_toy_dataset(Path(folder) / "toy"), RunDir(Path(folder) / "run"), SHORT)
        Workspace(settings.work, store).push(run.root, "run.zip")


def summary(found: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """The figures of all files together."""
    outcomes = Counter(f"{each['outcome']}: {each['code']}" if each["code"] else each["outcome"] for each in found)
    return {
        "machine": {"processors": os.cpu_count(), "python": platform.python_version()},
        "seed": seed,
        "sent": len(found),
        "by_role": dict(Counter(each["role"] for each in found)),
        "by_kind": dict(Counter(f"{each['role']} {each['name'].split(':')[0]}" for each in found).most_common()),
        "outcomes": dict(outcomes.most_common()),
        "broken": [f"{each['role']} {each['name']}: {', '.join(each['broken'])}" for each in found if each["broken"]],
        "median_s": statistics.median(each["seconds"] for each in found),
        "slowest_s": max(each["seconds"] for each in found),
        "ffmpeg_peak_mib": max(each["ffmpeg_mib"] for each in found),
        "worker_peak_mib": max(each["worker_mib"] for each in found),
        "api_peak_mib": max(each["api_mib"] for each in found),
    }


def show(figures: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """Prints what came of the files."""
    table = Table("outcome", "files", "slowest, s", "ffmpeg, MiB")
    for outcome, count in figures["outcomes"].items():
        these = [each for each in found if outcome in (each["outcome"], f"{each['outcome']}: {each['code']}")]
        table.add_row(
            outcome, str(count), *(f"{max(each[what] for each in these):.1f}" for what in ("seconds", "ffmpeg_mib"))
        )
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
