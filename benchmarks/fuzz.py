"""Runs Schemathesis over the whole OpenAPI document: random and invalid requests, and long chains of valid ones.

    python -m benchmarks.fuzz [--requests 10000] [--seed 1] [--json out.json]

The real application runs in this process, with a database, a store and a key of its own. A fake worker ends jobs, with success or
failure, so that subjects and videos become ready in the meantime; a fake resolver knows every host name. Every response gets all
checks of Schemathesis: no 5xx, status and body as in the document, bad requests refused and good ones accepted, keys required,
deleted resources gone. Rounds with successive seeds run until there are enough requests. Exit status 1: a check failed.
"""

from __future__ import annotations

import argparse
import io
import ipaddress
import json
import random
import socket
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import schemathesis
from fastapi import FastAPI
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from schemathesis.config._checks import (
    MISSING_REQUIRED_HEADER_EXPECTED_STATUSES,
    NEGATIVE_DATA_REJECTION_EXPECTED_STATUSES,
)
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import FatalError, NonFatalError, PhaseFinished, ScenarioFinished

from adnerf_core.config import RenderOptions
from api.app import create_app
from api.routes import verify
from api.services import samples, subjects, videos
from benchmarks.fuzz_refusals import accepted_refusal
from storage.database import migrations
from storage.database.engine import Database
from storage.database.models import Job
from storage.errors import Unauthorized
from storage.settings import Settings
from storage.tables import api_keys, jobs, voices
from storage.tables.voices import AnnouncedVoice

FILES = {
    "film": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(2000),
    "sound": b"RIFF\x24\x20\x00\x00WAVEfmt \x10\x00\x00\x00" + bytes(2000),
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
}
"""Files that the API accepts by their first bytes (api/requests/file_type.py)."""
schemathesis.openapi.format("binary", st.one_of(st.sampled_from(list(FILES.values())), st.binary()))
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")  # tus

OWNER = "fuzz"
PUBLIC_ADDRESS = "93.184.215.14"
"""Address that every host name resolves to. It has to be public, or webhooks would refuse it; nothing connects to it."""
INITIAL_SUBJECTS = 6
"""Number of ready subjects, each with a video, at the start of a round."""
EXAMPLES, STEPS = 40, 8
"""Number of random requests for each operation in one round, and of requests in the longest chain."""
REFUSAL_STATUSES = {
    "missing_required_header": [*MISSING_REQUIRED_HEADER_EXPECTED_STATUSES, "412"],
    "negative_data_rejection": [*NEGATIVE_DATA_REJECTION_EXPECTED_STATUSES, "412", "413"],
}
"""Statuses that are accepted for bad requests, by check: the usual ones, 412 of tus (no version is named), and 413 (too large)."""
MEMORY = Path("/dev/shm")
"""Folder of the database and the files, if it exists: a file system in memory, because nothing has to survive a power cut."""
ERROR = {"code": "no_face_found", "message": "There is no face.", "remedy": "Show one."}
PICTURE = b"\xff\xd8\xff\xe0 a picture"
LIMITS = {"yaw_deg": [-12.0, 12.0], "pitch_deg": [-9.0, 9.0], "roll_deg": [-15.0, 15.0]}


@dataclass
class FuzzResults:
    """Results of all rounds.

    Attributes:
        requests: number of requests, by operation.
        statuses: number of responses, by operation and status.
        checks: number of checks.
        accepted_refusals: number of refusals that VALID_BUT_REFUSED allows, by reason.
        failures: failed checks, by check, operation and message.
    """

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    checks: int = 0
    accepted_refusals: Counter[str] = field(default_factory=Counter)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)

    def record(self, event: Any) -> None:
        """Adds one event of Schemathesis's engine."""
        if isinstance(event, (NonFatalError, FatalError)):
            error = event.exception if isinstance(event, FatalError) else event.value
            self._fail(type(error).__name__, getattr(event, "label", "engine"), str(error), "")
        if not isinstance(event, ScenarioFinished):
            return
        for case_id, interaction in event.recorder.interactions.items():
            label = event.recorder.cases[case_id].value.operation.label
            self.requests[label] += 1
            if interaction.response is not None:
                self.statuses[label, interaction.response.status_code] += 1
        for case_id, checks in event.recorder.checks.items():
            self.checks += len(checks)
            for check in checks:
                if check.status == Status.FAILURE and check.failure_info is not None:
                    info = check.failure_info
                    label = event.recorder.cases[case_id].value.operation.label
                    interaction = event.recorder.interactions.get(case_id)
                    answer = "" if interaction is None or interaction.response is None else interaction.response.text
                    message = f"{info.failure.title}: {info.failure.message}"
                    self._fail(check.name, label, message, info.code_sample, answer)

    def _fail(self, check: str, operation: str, message: str, example: str, answer: str = "") -> None:
        failure = {
            "check": check,
            "operation": operation,
            "message": message[:1000],
            "example": example[:2000],
            "answer": answer[:500],
            "times": 0,
        }
        entry = self.failures.setdefault(f"{check} {operation} {message[:60]}", failure)
        entry["times"] += 1
        if entry["times"] == 1:
            print(f"  found: {check} {operation}: {message[:500]}\n  {answer[:500]}", flush=True)


class FakeWorker(threading.Thread):
    """Ends jobs like a worker, one in four with a failure; stores the files that the links of subjects and videos lead to."""

    def __init__(self, app: FastAPI, seed: int):
        super().__init__(name="fake worker", daemon=True)
        self.database, self.store = app.state.database, app.state.store
        self.done = threading.Event()
        self._draw = random.Random(seed)

    def run(self) -> None:
        """Ends one job after the other until `done` is set."""
        while not self.done.wait(0.01):
            job = self._claim()
            if job is None:
                continue
            if self._draw.random() < 0.25:
                with self.database.session() as session:
                    jobs.fail(session, job.id, job.attempt, ERROR)
            else:
                self._succeed(job)

    def create_subjects(self, settings: Settings) -> None:
        """Creates ready subjects, each with a video, because random requests seldom get so far. Must be called before `start`."""
        for _ in range(INITIAL_SUBJECTS):
            with self.database.session() as session, self.store.create_incoming() as film:
                film.write(FILES["film"])
                fields = {"owner": OWNER, "name": "Ann", "preset": "draft", "consent": "Ann agreed"}
                subject = subjects.submit_subject(session, self.store, settings, video=film, **fields)
            self._succeed(self._claim())
            self._succeed(self._claim())
            with self.database.session() as session, self.store.create_incoming() as sound:
                sound.write(FILES["sound"])
                fields = {"owner": OWNER, "subject_id": subject.id, "options": RenderOptions()}
                videos.submit_video(session, self.store, settings, audio=sound, **fields)
            self._succeed(self._claim())

    def _claim(self) -> Job | None:
        with self.database.session() as session:
            return jobs.claim(session, "fuzz", lease_s=600)

    def _succeed(self, job: Job) -> None:
        values: dict[str, Any] = {"dataset_key": "dataset"}
        if job.kind == "train":
            picture = self.store.put(f"subjects/{job.subject_id}/previews/1.jpg", io.BytesIO(PICTURE)).key
            report = self.store.put(f"subjects/{job.subject_id}/reports/1.html", io.BytesIO(b"<!doctype html>")).key
            values = {"run_key": "run", "preview_key": picture, "report_key": report, "view_limits": LIMITS}
            values["thumbnail_key"] = picture
            values["consent_clip_key"] = self.store.put(
                f"subjects/{job.subject_id}/consent_clip", io.BytesIO(bytes(5000))
            ).key
            values["full_frame"] = {"width": 1280, "height": 720}
        elif job.kind == "render":
            film = self.store.put(f"subjects/{job.subject_id}/videos/{job.video_id}/1.mp4", io.BytesIO(bytes(5000)))
            properties = {"frame": "full", "duration_s": 2.0, "frames": 50, "width": 1280, "height": 720}
            values = {"file_key": film.key, "sha256": film.sha256, "size_bytes": film.size, **properties}
            folder = f"subjects/{job.subject_id}/videos/{job.video_id}"
            for column, suffix in (("speech", "wav"), ("captions", "vtt"), ("thumbnail", "jpg"), ("clip", "clip")):
                values[f"{column}_key"] = self.store.put(f"{folder}/1.{suffix}", io.BytesIO(bytes(100))).key
        with self.database.session() as session:
            jobs.succeed(session, job.id, job.attempt, **values)


def bearer(database: Database) -> type:
    """Returns the class by which Schemathesis gets a valid key: it creates another one if a request has revoked the last."""

    class Bearer:
        token = ""

        def get(self, case: schemathesis.Case, context: schemathesis.AuthContext) -> str:
            try:
                with database.session(write=False) as session:
                    api_keys.find(session, self.token)
            except Unauthorized:
                with database.session() as session:
                    _, self.token = api_keys.create(session, owner=OWNER, name="fuzz", scopes=api_keys.SCOPES)
            return self.token

        def set(self, case: schemathesis.Case, data: str, context: schemathesis.AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    return Bearer


def fuzz(app: FastAPI, results: FuzzResults, *, seed: int, examples: int = EXAMPLES, edges: bool = True) -> None:
    """Runs one round: examples, edge cases, random requests, and chains of them.

    Args:
        app: the application.
        results: gets the results added.
        seed: of all random choices.
        examples: random requests for each operation.
        edges: whether edge cases are sent too, about a hundred for each operation.
    """
    generation = {"max-examples": examples, "deterministic": False, "database": "none", "no-shrink": True}
    config = {
        "seed": seed,
        "continue-on-failure": True,
        "max-stream-events": 2,
        "request-timeout": 30,
        "generation": generation,
        "phases": {"coverage": {"enabled": edges}, "stateful": {"max-steps": STEPS}},
        "checks": {name: {"expected-statuses": statuses} for name, statuses in REFUSAL_STATUSES.items()},
    }
    app.openapi()  # takes seconds on a busy machine, and the loader waits for ten
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=schemathesis.Config.from_dict(config))
    schema.auth(refresh_interval=None)(bearer(app.state.database))

    videos_of, lost = defaultdict(set), set()

    @schema.hook
    def after_call(context, case, response) -> None:
        if response.status_code == 202 and case.operation.label == "POST /v1/videos":
            videos_of[response.json()["subject_id"]].add(response.json()["id"])
        elif response.status_code == 204 and case.operation.label == "DELETE /v1/subjects/{subject_id}":
            lost.update(videos_of[case.path_parameters["subject_id"]])

    @schema.hook
    def filter_failure(context, failure, case, response) -> bool:
        reason = accepted_refusal(failure, case, response, lost)
        results.accepted_refusals.update([reason] if reason else [])
        return reason is None

    worker = FakeWorker(app, seed)
    worker.create_subjects(app.state.settings)
    worker.start()
    try:
        for event in from_schema(schema).execute():
            results.record(event)
            if isinstance(event, PhaseFinished):
                print(f"  {event.phase.name.name}: {results.requests.total()} requests so far", flush=True)
    finally:
        worker.done.set()
        worker.join()


def resolve_any_name(host: str, port: int, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
    """Replaces socket.getaddrinfo: resolves every host name to PUBLIC_ADDRESS. Numeric addresses stay as they are."""
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        address = PUBLIC_ADDRESS
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]


@contextmanager
def new_app(folder: Path) -> Iterator[FastAPI]:
    """Yields the application with a new database, without rate limits. Requests do not wait for verifications: there is no inspector."""
    settings = Settings(
        data_dir=folder,
        rate_limit="off",
        address_rate_limit="off",
        max_video_bytes=1 << 20,
        max_audio_bytes=1 << 20,
        max_image_bytes=1 << 20,
        consent_clip="optional",
        max_consent_clip_bytes=1 << 20,
        quota_verifications=1_000_000,
        webhook_key="k" * 32,
    )
    database = Database(settings.database)
    migrations.upgrade(database)
    with database.session() as session:  # from the first key on, the service answers requests from anywhere
        api_keys.create(session, owner=OWNER, name="first", scopes=api_keys.SCOPES)
        voices.announce(session, [AnnouncedVoice("stub-ada", "Ada", "en", "stub", "CC0-1.0")])
        voices.store_sample(session, "stub-ada", b"RIFF")
    database.close()
    (folder / "samples").mkdir()
    for name in samples.FILES.values():  # making them takes half a minute
        (folder / "samples" / name).write_bytes(PICTURE)
    with (
        patch.object(verify, "WAIT_S", 0.0),
        patch.object(socket, "getaddrinfo", resolve_any_name),
    ):
        app = create_app(settings)
        yield app
        app.state.database.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, runs rounds, and prints a table; returns the exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000, help="least number of requests (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first round (default: %(default)s)")
    parser.add_argument(
        "--examples", type=int, default=EXAMPLES, help="random requests for each operation (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(arguments)
    results, start, seed = FuzzResults(), time.process_time(), args.seed
    while results.requests.total() < args.requests:
        memory = MEMORY if MEMORY.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as folder, new_app(Path(folder)) as app:
            fuzz(app, results, seed=seed, examples=args.examples)
        print(
            f"seed {seed}: {results.requests.total()} requests, {len(results.failures)} kinds of failures", flush=True
        )
        seed += 1
    figures = {
        "requests": results.requests.total(),
        "checks": results.checks,
        "operations": len(results.requests),
        "seeds": [args.seed, seed - 1],
        "cpu_s": round(time.process_time() - start),
        "statuses": {str(status): total for status, total in sorted(_by_status(results).items())},
        "refused_for_what_no_schema_can_say": dict(sorted(results.accepted_refusals.items())),
        "failures": list(results.failures.values()),
    }
    _show(results, figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if results.failures else 0


def _by_status(results: FuzzResults) -> Counter[int]:
    totals: Counter[int] = Counter()
    for (_, status), count in results.statuses.items():
        totals[status] += count
    return totals


def _show(results: FuzzResults, figures: dict[str, Any]) -> None:
    table = Table(
        "operation", "requests", "answers", title=f"{figures['requests']} requests, {figures['checks']} checks"
    )
    for label, count in sorted(results.requests.items()):
        answers = {status: n for (operation, status), n in sorted(results.statuses.items()) if operation == label}
        table.add_row(label, str(count), "  ".join(f"{status}: {n}" for status, n in answers.items()))
    console = Console()
    console.print(table)
    for failure in figures["failures"]:
        console.print(f"[red]{failure['check']}[/] {failure['operation']} ({failure['times']} times)")
        console.print(failure["message"], failure["example"], "", sep="\n", markup=False)


if __name__ == "__main__":
    raise SystemExit(main())
