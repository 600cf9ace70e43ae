"""A worker of an older version beside today's, on the same database, store, broker and data folder."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from benchmarks.chaos.attempts import Interrupted, all_counted, blameless
from benchmarks.chaos.clients import running_service
from benchmarks.chaos.core import read_journal
from benchmarks.chaos.empty_database import files, ready_video, state
from benchmarks.chaos.faults import claimer, interrupting
from benchmarks.chaos.handling import is_ready
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.service import ROOT, Servers
from benchmarks.chaos.storm import check_objects
from storage.cleanup import GRACE_S
from storage.database.models import Job

MIGRATIONS = "alembic/versions"
LONG = {"steps": 30, "pause": 0.1}
"""Orders for the stub core: a job that is interrupted in the middle."""


def older_worker(backends: Servers, folder: Path, *, subjects: int, kills: int, **settings: Any) -> Outcome:
    """Runs a worker of the version before the newest migration beside one of today's, and kills the one that runs a job, `kills` times.

    The older one must remove nothing from the store, although all objects are older than the cleanup's grace period when it
    starts, and every job must succeed, whichever of both runs it.
    """
    outcome = Outcome("older version")
    tree = folder / "older"
    commit = extract_older(tree)
    if commit is None:
        outcome.figures = {"skipped": "there is no history of this repository, so there is no older version"}
        return outcome
    interrupted: list[Interrupted] = []
    with running_service(backends, folder / "service", **settings) as (service, client):
        service.beat()
        service.worker("worker-new")
        videos = [ready_video(service, client) for _ in range(2)]
        before = files(service)
        backends.clocks.leap(GRACE_S + 60.0)
        service.worker("worker-old", tree=tree)
        service.until(lambda: is_ready(service, "worker-old"))
        for number in range(subjects):
            subject = service.until(lambda: client.subject(**LONG, train=LONG))
            if number < kills:
                (job, *_) = service.until(lambda: service.jobs(Job.state == "running"))
                program = next(one for one in service.programs.values() if one.owns(claimer(job)))
                with interrupting(service, "kill worker", program, interrupted):
                    program.kill()
            service.until(lambda subject=subject: state(client, subject["id"]) == "ready")
        videos.append(ready_video(service, client))
        erased = before - files(service)
        jobs = service.jobs()
        unjust = blameless(all_counted(service, [job.id for job in jobs]), interrupted)
        outcome.figures = {
            "older_version": commit[:12],
            "faults": min(kills, subjects),
            "jobs": len(jobs),
            "lost": sum(job.state != "succeeded" for job in jobs),
            "published_twice": service.moves("succeed") - len(jobs),
            "attempts_of_the_older": len({(step.job_id, step.attempt) for step in read_journal(tree / "journal")}),
            "attempts_of_the_newer": len({(step.job_id, step.attempt) for step in service.steps()}),
            "videos_served": client.fetch_own(),
            "objects_removed": len(erased),
            "attempts_counted_without_fault_of_the_job": len(unjust),
        }
        check_objects(outcome, service)
    figures = outcome.figures
    outcome.check(figures["lost"] == 0, "jobs were lost")
    outcome.check(figures["published_twice"] == 0, "results were published twice")
    outcome.check(figures["videos_served"] == len(videos) and not client.ledger.damaged, "a video is not served")
    outcome.check(not erased, f"removed from the store: {sorted(map(str, erased))[:5]}")
    outcome.check(not unjust, f"attempts counted that were not the job's fault: {unjust[:5]}")
    outcome.check(figures["attempts_of_the_older"] > 0, "the older worker ran no job: nothing was tested")
    return outcome


def extract_older(folder: Path) -> str | None:
    """Writes the source tree of the version before the newest migration to `folder`.

    Returns:
        Its commit; None if the history of this repository is not there.
    """
    newest = max((ROOT / MIGRATIONS).glob("*.py")).name
    added = git("log", "-1", "--diff-filter=A", "--format=%H", "--", f"{MIGRATIONS}/{newest}")
    commit = added and git("rev-parse", "--verify", "--quiet", f"{added.decode().strip()}^")
    if not commit:
        return None
    archive = git("archive", commit.decode().strip())
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder)  # from this repository: `filter` came with Python 3.11.4
    return commit.decode().strip()


def git(*arguments: str) -> bytes | None:
    """Returns the output of a git command in this repository; None if it fails or there is no git."""
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
