"""`adnerf jobs`: the work behind subjects and videos."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from adnerf.common import add_action, add_group, add_waiting, wait

if TYPE_CHECKING:
    from adnerf.output import Screen
    from adnerf_client import Client

COLUMNS = {
    "id": lambda job: job.id,
    "kind": lambda job: job.kind,
    "state": lambda job: job.state,
    "done": lambda job: f"{job.progress:.0%}",
    "made": lambda job: f"{job.created_at:%Y-%m-%d %H:%M}",
    "for": lambda job: job.video_id or job.subject_id,
}


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds `jobs` and its actions."""
    actions = add_group(commands, "jobs", "list, show, watch, cancel and retry jobs")
    listing = add_action(actions, "list", _list, "list jobs, newest first")
    listing.add_argument("--state", help="only those of this state, such as running")
    listing.add_argument("--kind", help="only those of this kind: preprocess, train or render")
    listing.add_argument("--subject", metavar="ID", help="only those of this subject and its videos")
    listing.add_argument("--video", metavar="ID", help="only that of this video")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="at most N (default: %(default)s)")
    add_action(actions, "show", _show, "show a job").add_argument("id")
    watch = add_action(actions, "watch", _watch, "wait for the end of a job, or of all jobs of a subject or video")
    watch.add_argument("id", help="of a job, subject or video")
    add_waiting(watch)
    add_action(actions, "cancel", _cancel, "cancel a job").add_argument("id")
    add_action(actions, "retry", _retry, "let a failed or cancelled job go on").add_argument("id")


def _list(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    found = client.jobs.list(
        state=options.state,
        kind=options.kind,
        subject_id=options.subject,
        video_id=options.video,
        limit=options.limit,
    )
    screen.show_list(found, COLUMNS)


def _show(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.jobs.get(options.id))


def _watch(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(wait(client, screen, client.get(options.id), options.timeout))


def _cancel(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.jobs.cancel(options.id))


def _retry(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.jobs.retry(options.id))
