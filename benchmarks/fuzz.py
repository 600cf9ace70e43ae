"""Schemathesis over the whole OpenAPI document: what no client would send, and long chains of what clients do send.

    python -m benchmarks.fuzz [--requests 10000] [--seed 1] [--json out.json]

The real application is asked in this process, on a database and a store of its own, with a key; a stand-in for the workers
ends jobs, well or not, so that subjects and videos become ready while they are asked about, and a look-up that knows every
name stands in for the internet. Every answer is checked, with all of Schemathesis's checks: no 5xx, a status and a body as
the document says, bad requests refused and good ones taken in, keys asked for, what was deleted gone. Rounds are run with
one seed after the other until there were enough requests. Exit status 1: something was found.
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
from collections import Counter
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
from schemathesis.core.failures import Failure
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import FatalError, NonFatalError, PhaseFinished, ScenarioFinished
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData

from adnerf_core.config import RenderOptions
from api.app import create_app
from api.routes import verify
from api.services import subjects, videos
from storage.database import migrations
from storage.database.engine import Database
from storage.database.models import Job
from storage.errors import Unauthorized
from storage.settings import Settings
from storage.tables import api_keys, jobs

FILES = {
    "film": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(2000),
    "sound": b"RIFF\x24\x20\x00\x00WAVEfmt \x10\x00\x00\x00" + bytes(2000),
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
}
"""What the first look at a file takes for good (api/requests/file_type.py)."""
schemathesis.openapi.format("binary", st.one_of(st.sampled_from(list(FILES.values())), st.binary()))
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")  # tus

OWNER = "fuzz"
PUBLIC = "93.184.215.14"
"""What every name leads to here."""
FURNISHED = 6
"""Subjects, each with a video, that there are at the beginning."""
EXAMPLES, STEPS = 40, 8
"""Requests that are drawn for each operation in one round, and the longest chain."""
REFUSED = {
    "missing_required_header": [*MISSING_REQUIRED_HEADER_EXPECTED_STATUSES, "412"],
    "negative_data_rejection": [*NEGATIVE_DATA_REJECTION_EXPECTED_STATUSES, "412", "413"],
}
"""How bad requests may be refused: beside what is usual by tus's 412 (no version was named), and as too large."""
UNSAID = {
    "idempotency_key_reused": ("POST",),  # whoever draws at random draws a key twice
    "not_media": ("POST",),
    "not_an_image": ("POST /v1/videos",),
    "empty_file": ("POST",),
    "bad_request": ("POST /v1/uploads", "PATCH /v1/uploads"),  # an empty Upload-Checksum, drawn in spite of its pattern
    "checksum_mismatch": ("POST /v1/uploads", "PATCH /v1/uploads"),
    "file_too_large": ("POST /v1/uploads", "PATCH /v1/uploads"),  # more bytes than Upload-Length
    "url_refused": ("POST /v1/webhooks", "PATCH /v1/webhooks"),
}
"""Reasons for which a good request is refused although it is as the document says, because no schema could say so: the code,
and with what the operations begin."""
UNSAID_VALUES = {
    "POST /v1/keys": {"/expires_at"},  # in the past
    "POST /v1/keys/{key_id}/rotate": {"/expires_at"},
    "POST /v1/uploads": {"Upload-Metadata"},  # a key that comes twice
    # Both the file and an upload: `oneOf` says it, but Schemathesis's edge cases do not look there.
    "POST /v1/subjects": {"/upload_id"},
    "POST /v1/verify": {"/upload_id"},
    "POST /v1/videos": {"/upload_id", "/background", "/options/background", "/options/format"},  # what goes with what
}
"""Likewise of `validation_failed`: the values that may be pointed at."""
MEMORY = Path("/dev/shm")
"""Where, if it is there, the database and the files are: what is lost in a power cut does not matter here."""
ERROR = {"code": "no_face_found", "message": "There is no face.", "remedy": "Show one."}
PICTURE = b"\xff\xd8\xff\xe0 a picture"
LIMITS = {"yaw_deg": [-12.0, 12.0], "pitch_deg": [-9.0, 9.0], "roll_deg": [-15.0, 15.0]}


@dataclass
class Found:
    """What came of it: requests by operation, their answers by status, and what was wrong with any of them."""

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    checks: int = 0
    unsaid: Counter[str] = field(default_factory=Counter)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, event: Any) -> None:
        """Counts one event of Schemathesis's engine."""
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
                    asked = event.recorder.interactions.get(case_id)
                    answer = "" if asked is None or asked.response is None else asked.response.text
                    message = f"{info.failure.title}: {info.failure.message}"
                    self._fail(check.name, label, message, info.code_sample, answer)

    def _fail(self, check: str, operation: str, message: str, example: str, answer: str = "") -> None:
        found = {
            "check": check,
            "operation": operation,
            "message": message[:1000],
            "example": example[:2000],
            "answer": answer[:500],
            "times": 0,
        }
        entry = self.failures.setdefault(f"{check} {operation} {message[:60]}", found)
        entry["times"] += 1
        if entry["times"] == 1:
            print(f"  found: {check} {operation}: {message[:500]}\n  {answer[:500]}", flush=True)


class Hands(threading.Thread):
    """Ends jobs as workers would, one in four badly; each subject and video gets the files that its answers lead to."""

    def __init__(self, app: FastAPI, seed: int):
        super().__init__(name="hands", daemon=True)
        self.database, self.store = app.state.database, app.state.store
        self.done = threading.Event()
        self._draw = random.Random(seed)

    def run(self) -> None:
        while not self.done.wait(0.01):
            job = self._claim()
            if job is None:
                continue
            if self._draw.random() < 0.25:
                with self.database.session() as session:
                    jobs.fail(session, job.id, job.attempt, ERROR)
            else:
                self._succeed(job)

    def furnish(self, settings: Settings) -> None:
        """Makes subjects that are ready, each with a video: what is drawn seldom gets so far. Call it before `start`."""
        for _ in range(FURNISHED):
            with self.database.session() as session, self.store.create_incoming() as film:
                film.write(FILES["film"])
                about = {"owner": OWNER, "name": "Ann", "preset": "draft", "consent": "Ann agreed"}
                subject = subjects.submit_subject(session, self.store, settings, video=film, **about)
            self._succeed(self._claim())
            self._succeed(self._claim())
            with self.database.session() as session, self.store.create_incoming() as sound:
                sound.write(FILES["sound"])
                about = {"owner": OWNER, "subject_id": subject.id, "options": RenderOptions()}
                videos.submit_video(session, self.store, settings, audio=sound, **about)
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
        elif job.kind == "render":
            film = self.store.put(f"subjects/{job.subject_id}/videos/{job.video_id}/1.mp4", io.BytesIO(bytes(5000)))
            measures = {"duration_s": 2.0, "frames": 50, "width": 128, "height": 128}
            values = {"file_key": film.key, "sha256": film.sha256, "size_bytes": film.size, **measures}
        with self.database.session() as session:
            jobs.succeed(session, job.id, job.attempt, **values)


def bearer(database: Database) -> type:
    """Schemathesis's way to a key: one that works, even after the one before it was revoked by a request."""

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


def unsaid(failure: Failure, case: schemathesis.Case, response: schemathesis.Response) -> str | None:
    """Of a good request that was refused: the reason, if it is one of UNSAID or of UNSAID_VALUES."""
    if isinstance(failure, EnsureResourceAvailability) and response.json()["code"] == "preview_not_ready":
        return "preview_not_ready"  # the subject is there, its picture is not yet
    if not isinstance(failure, RejectedPositiveData):
        return None
    label, problem = case.operation.label, response.json()
    if label.startswith(UNSAID.get(problem["code"], ())):
        return problem["code"]
    wrong = {entry.get("pointer") or entry.get("parameter") for entry in problem.get("errors", [])}
    return f"{label} {' '.join(sorted(wrong))}" if wrong and wrong <= UNSAID_VALUES.get(label, set()) else None


def fuzz(app: FastAPI, found: Found, *, seed: int, examples: int = EXAMPLES, edges: bool = True) -> None:
    """One round: examples, edge cases (about a hundred for each operation), drawn requests, and chains of them."""
    drawn = {"max-examples": examples, "deterministic": False, "database": "none", "no-shrink": True}
    config = {
        "seed": seed,
        "continue-on-failure": True,
        "max-stream-events": 2,
        "request-timeout": 30,
        "generation": drawn,
        "phases": {"coverage": {"enabled": edges}, "stateful": {"max-steps": STEPS}},
        "checks": {name: {"expected-statuses": statuses} for name, statuses in REFUSED.items()},
    }
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=schemathesis.Config.from_dict(config))
    schema.auth(refresh_interval=None)(bearer(app.state.database))

    @schema.hook
    def filter_failure(context, failure, case, response) -> bool:
        reason = unsaid(failure, case, response)
        found.unsaid.update([reason] if reason else [])
        return reason is None

    hands = Hands(app, seed)
    hands.furnish(app.state.settings)
    hands.start()
    try:
        for event in from_schema(schema).execute():
            found.take(event)
            if isinstance(event, PhaseFinished):
                print(f"  {event.phase.name.name}: {found.requests.total()} requests so far", flush=True)
    finally:
        hands.done.set()
        hands.join()


def knows_every_name(host: str, port: int, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
    """In the place of the system's look-up: what every name leads to here. What is a number already stays what it is."""
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        address = PUBLIC
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]


@contextmanager
def new_app(folder: Path) -> Iterator[FastAPI]:
    """The application on a new database, without limits that would be in the way; nobody verifies here."""
    settings = Settings(
        data_dir=folder,
        rate_limit="off",
        address_rate_limit="off",
        max_video_bytes=1 << 20,
        max_audio_bytes=1 << 20,
        max_image_bytes=1 << 20,
        quota_verifications=1_000_000,
        webhook_key="k" * 32,
    )
    database = Database(settings.database)
    migrations.upgrade(database)
    with database.session() as session:  # from the first key on, the service answers requests from anywhere
        api_keys.create(session, owner=OWNER, name="first", scopes=api_keys.SCOPES)
    database.close()
    with (
        patch.object(verify, "WAIT_S", 0.0),
        patch.object(socket, "getaddrinfo", knows_every_name),
    ):
        app = create_app(settings)
        yield app
        app.state.database.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs rounds, prints a table; returns the exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000, help="at least so many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first round (default: %(default)s)")
    parser.add_argument(
        "--examples", type=int, default=EXAMPLES, help="drawn for each operation (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    given = parser.parse_args(arguments)
    found, begun, seed = Found(), time.process_time(), given.seed
    while found.requests.total() < given.requests:
        memory = MEMORY if MEMORY.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as folder, new_app(Path(folder)) as app:
            fuzz(app, found, seed=seed, examples=given.examples)
        print(f"seed {seed}: {found.requests.total()} requests, {len(found.failures)} kinds of failures", flush=True)
        seed += 1
    figures = {
        "requests": found.requests.total(),
        "checks": found.checks,
        "operations": len(found.requests),
        "seeds": [given.seed, seed - 1],
        "cpu_s": round(time.process_time() - begun),
        "statuses": {str(status): total for status, total in sorted(_by_status(found).items())},
        "refused_for_what_no_schema_can_say": dict(sorted(found.unsaid.items())),
        "failures": list(found.failures.values()),
    }
    _show(found, figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if found.failures else 0


def _by_status(found: Found) -> Counter[int]:
    totals: Counter[int] = Counter()
    for (_, status), count in found.statuses.items():
        totals[status] += count
    return totals


def _show(found: Found, figures: dict[str, Any]) -> None:
    table = Table(
        "operation", "requests", "answers", title=f"{figures['requests']} requests, {figures['checks']} checks"
    )
    for label, count in sorted(found.requests.items()):
        answers = {status: n for (operation, status), n in sorted(found.statuses.items()) if operation == label}
        table.add_row(label, str(count), "  ".join(f"{status}: {n}" for status, n in answers.items()))
    console = Console()
    console.print(table)
    for failure in figures["failures"]:
        console.print(f"[red]{failure['check']}[/] {failure['operation']} ({failure['times']} times)")
        console.print(failure["message"], failure["example"], "", sep="\n", markup=False)


if __name__ == "__main__":
    raise SystemExit(main())
