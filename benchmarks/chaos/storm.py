"""The storm: kill -9 of every part at random, while clients send, wait and download. What was promised must hold."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.chaos.clients import Crowd, Ledger
from benchmarks.chaos.outcome import Outcome, spread
from benchmarks.chaos.stage import PATIENCE_S, RESTART_S, Servers, Stage, answers
from storage.database.models import Job

SHARES = {"worker": 0.25, "worker process": 0.2, "api": 0.2, "beat": 0.1, "redis": 0.12, "postgresql": 0.13}
"""What is killed how often. `worker`: Celery's main process, half of the time with all its processes; `worker process`:
the one that works. Workers are killed at work only."""
WORKERS = {"worker-1": "a", "worker-2": "a", "worker-3": "b"}
"""The workers, and the data folder (as good as a machine) of each."""
SUBJECT = {"steps": 30, "pause": 0.1, "train": {"steps": 60, "pause": 0.1}}
AUDIO = {"steps": 30, "pause": 0.1, "pad": "a" * 50_000}
END_STATES = ("succeeded", "failed", "cancelled")


class Interrupted(NamedTuple):
    """A job whose process was killed: by which kill, and when (s since 1970)."""

    target: str
    moment: float
    job_id: str
    attempt: int


@dataclass
class Storm:
    """Kills on one stage, and what was seen of their consequences."""

    stage: Stage
    url: str
    random: random.Random
    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARES, 0))
    interrupted: list[Interrupted] = field(default_factory=list)
    away: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SHARES})
    """Seconds from the kill of a part until the service was whole again, by its own word."""
    healing: dict[str, threading.Thread] = field(default_factory=dict)
    """What waits for a part to be up again."""

    def strike(self) -> None:
        """One kill, of something that is up; none where the chosen worker is not at work."""
        able = {name: share for name, share in SHARES.items() if not self._heals(name)}
        target = self.random.choices(list(able), list(able.values()))[0]
        if target.startswith("worker"):
            self._kill_worker(target)
        else:
            self._kill_part(target)

    def calm(self) -> None:
        """Waits until all that was killed is up again."""
        for thread in self.healing.values():
            thread.join()

    def _heals(self, target: str) -> bool:
        return target in self.healing and self.healing[target].is_alive()

    def _kill_worker(self, target: str) -> None:
        running = [] if self._heals("postgresql") else self.stage.jobs(Job.state == "running")
        program = self.stage.programs[self.random.choice(list(WORKERS))]
        hit = [job for job in running if program.owns(claimer(job))]
        if not hit:  # it is idle, or not up yet
            return
        if target == "worker":
            program.kill(whole=self.random.random() < 0.5)
        else:
            os.kill(claimer(hit[0]), signal.SIGKILL)
        self.kills[target] += 1
        self.interrupted += [Interrupted(target, time.time(), job.id, job.attempt) for job in hit]

    def _kill_part(self, target: str) -> None:
        server = {"redis": self.stage.servers.redis, "postgresql": self.stage.servers.postgresql}.get(target)
        begun = time.time()
        (server or self.stage.programs[target]).kill()
        self.kills[target] += 1

        def heal() -> None:
            if server is not None:
                time.sleep(RESTART_S)
                server.start()
            elif target == "beat":
                sign = self.stage.folder / "a" / "beat"
                self.stage.until(lambda: sign.exists() and sign.stat().st_mtime > begun)
            self.stage.until(lambda: answers(self.url))
            self.away[target].append(time.time() - begun)

        self.healing[target] = threading.Thread(target=heal, name=f"healing {target}")
        self.healing[target].start()


def claimer(job: Job) -> int:
    """The id of the process that works on the job."""
    return int(job.worker.split("-")[-2])


def storm(
    on: Servers,
    folder: Path,
    *,
    kills: int,
    pause_s: tuple[float, float],
    limit_s: float,
    clients: int = 4,
    seed: int = 1,
    subject: dict[str, Any] = SUBJECT,
    audio: dict[str, Any] = AUDIO,
    **settings: Any,
) -> Outcome:
    """So many kills, with a pause between them, for at most `limit_s`; then all that was promised is waited for."""
    stage = Stage(on, folder, **settings)
    crowd = None
    try:
        url = stage.api()
        stage.beat()
        for name, machine in WORKERS.items():
            stage.worker(name, machine=machine)
        crowd = Crowd(url, clients, subject=subject, audio=audio, videos=3)
        stage.until(lambda: stage.jobs(Job.state == "running"))
        seen = Storm(stage, url, random.Random(seed))
        begun = time.monotonic()
        while sum(seen.kills.values()) < kills and time.monotonic() - begun < limit_s:
            seen.strike()
            time.sleep(seen.random.uniform(*pause_s))
        lasted = time.monotonic() - begun
        seen.calm()
        with suppress(TimeoutError):  # a short storm can be over before any subject is ready
            stage.until(lambda: crowd.ledger.counts["files"])
        crowd.leave()
        settled = wait_for_all(stage)
        return judge(stage, seen, crowd, {"seconds": round(lasted), "seconds_until_all_had_ended": round(settled)})
    finally:
        if crowd is not None:
            crowd.close()
        stage.close()


def wait_for_all(stage: Stage) -> float:
    """Waits until no job is queued or running; returns the seconds that it took. What does not end is found later."""
    begun = time.monotonic()
    with suppress(TimeoutError):
        stage.until(lambda: not stage.jobs(Job.state.not_in(END_STATES)), seconds=2 * PATIENCE_S)
    return time.monotonic() - begun


def judge(stage: Stage, seen: Storm, crowd: Crowd, figures: dict[str, Any]) -> Outcome:
    """The promises, held against the database, the files and the journal."""
    outcome = Outcome("storm", {"kills": sum(seen.kills.values()), "kills_by_part": seen.kills} | figures)
    ledger = crowd.ledger
    again = crowd.fetch_all()
    rows = {job.id: job for job in stage.jobs()}
    audit(outcome, stage, rows, ledger)
    ready = [job for job in rows.values() if job.kind == "render" and job.state == "succeeded"]
    outcome.figures |= {
        "files_served": ledger.counts["files"],
        "damaged_files_served": len(ledger.damaged),
        "answers": ledger.counts["answered"],
        "answers_5xx": ledger.counts["refused"],
        "requests_broken_off": ledger.counts["broken"],
        "recovery_s": spread(recoveries(stage, seen)),
        "recovery_s_by_kill": {
            target: spread(recoveries(stage, seen, target)) for target in SHARES if target.startswith("worker")
        },
        "away_s": {target: spread(seconds) for target, seconds in seen.away.items() if seconds},
        "work": repeated(stage),
    }
    outcome.hold(not ledger.damaged, f"damaged: {ledger.damaged[:3]}")
    promised_ready = sum(job.id in ledger.promised for job in ready)
    outcome.hold(again >= promised_ready, f"{promised_ready - again} videos that are ready were not served")
    outcome.hold(again > 0, "no video was made")
    return outcome


def audit(outcome: Outcome, stage: Stage, rows: dict[str, Job], ledger: Ledger) -> None:
    """Whether every promised job has ended, once, and for a reason."""
    ended = {job_id: rows[job_id].state for job_id in ledger.promised if job_id in rows}
    lost = [job_id for job_id in ledger.promised if ended.get(job_id) not in END_STATES]
    trained = {job.subject_id for job in rows.values() if job.kind == "train"}
    preprocessed = [job for job in rows.values() if job.kind == "preprocess" and job.state == "succeeded"]
    lost += [f"training of {job.subject_id}" for job in preprocessed if job.subject_id not in trained]
    lost += [job.id for job in rows.values() if job.state not in END_STATES and job.id not in ledger.promised]
    failed = [job for job in rows.values() if job.state == "failed"]
    succeeded = [job for job in rows.values() if job.state == "succeeded"]
    published = stage.moves("succeed")
    outcome.figures |= {
        "answered_202": len(ledger.promised),
        "answered_202_by_kind": dict(Counter(ledger.promised.values())),
        "jobs": len(rows),
        "finished": len(succeeded),
        "failed_with_reason": dict(Counter(job.error["code"] for job in failed if job.error)),
        "lost": len(lost),
        "published_twice": published - len(succeeded),
        "jobs_with_several_attempts": sum(job.attempt > 1 for job in rows.values()),
    }
    outcome.hold(not lost, f"lost: {lost[:5]}")
    outcome.hold(published == len(succeeded), f"{published} results for {len(succeeded)} jobs")
    outcome.hold(all(job.error for job in failed), "a job failed without a reason")


def recoveries(stage: Stage, seen: Storm, target: str | None = None) -> list[float]:
    """Seconds from each kill of a worker until its job was worked on again; without jobs that were not taken up again."""
    starts: dict[str, list[tuple[int, float]]] = {}
    for step in stage.steps():
        attempts = starts.setdefault(step.job_id, [])
        if not attempts or attempts[-1][0] < step.attempt:
            attempts.append((step.attempt, step.moment))
    found = []
    for kill in seen.interrupted:
        if target in (None, kill.target):
            later = [moment for attempt, moment in starts.get(kill.job_id, []) if attempt > kill.attempt]
            found += [later[0] - kill.moment] if later else []
    return found


def repeated(stage: Stage) -> dict[str, Any]:
    """Steps that were begun, and how many of them had been begun before, by the first stage of each kind of job."""
    times = Counter((step.job_id, step.stage, step.number) for step in stage.steps())
    figures: dict[str, Any] = {"steps": times.total(), "again": times.total() - len(times)}
    figures["share"] = round(figures["again"] / max(1, figures["steps"]), 4)
    for stage_name in ("track", "head", "render"):
        of_stage = [count for (_, name, _), count in times.items() if name == stage_name]
        figures[f"share_{stage_name}"] = round((sum(of_stage) - len(of_stage)) / max(1, sum(of_stage)), 4)
    return figures
