"""`adnerf jobs`: the commands for jobs, the units of work that make subjects and videos."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from adnerf.common import Id, Limit, Service, Timeout, command_group, service_command

COLUMNS = {
    "id": lambda job: job.id,
    "kind": lambda job: job.kind,
    "state": lambda job: job.state,
    "done": lambda job: f"{job.progress:.0%}",
    "made": lambda job: f"{job.created_at:%Y-%m-%d %H:%M}",
    "for": lambda job: job.video_id or job.subject_id,
}

app = command_group("List, show, watch, cancel and retry jobs.")


@service_command(app, "list")
def list_jobs(
    service: Service,
    state: Annotated[str | None, Option(help="Only jobs in this state, such as running.")] = None,
    kind: Annotated[str | None, Option(help="Only jobs of this kind: preprocess, train or render.")] = None,
    subject: Annotated[str | None, Option(metavar="ID", help="Only jobs of this subject and its videos.")] = None,
    video: Annotated[str | None, Option(metavar="ID", help="Only the job of this video.")] = None,
    limit: Limit = 50,
) -> None:
    """List jobs, newest first."""
    jobs = service.client.jobs.list(state=state, kind=kind, subject_id=subject, video_id=video, limit=limit)
    service.output.show_list(jobs, COLUMNS)


@service_command(app, "show")
def show(service: Service, job: Id) -> None:
    """Show a job."""
    service.output.show(service.client.jobs.get(job))


@service_command(app, "watch")
def watch(
    service: Service,
    resource: Annotated[str, Argument(metavar="ID", help="Id of a job, subject or video.", show_default=False)],
    timeout: Timeout = None,
) -> None:
    """Wait until a job, or all jobs of a subject or video, have ended."""
    service.output.show(service.wait(service.client.get(resource), timeout))


@service_command(app, "cancel")
def cancel(service: Service, job: Id) -> None:
    """Cancel a job."""
    service.output.show(service.client.jobs.cancel(job))


@service_command(app, "retry")
def retry(service: Service, job: Id) -> None:
    """Queue a failed or cancelled job again."""
    service.output.show(service.client.jobs.retry(job))
