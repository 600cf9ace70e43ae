"""How the service is: for supervisors, for Prometheus, and for people who follow a problem's `type`."""

from __future__ import annotations

import shutil
from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse

from api import documents, schemas
from api.deps import Reading, SettingsDep
from api.errors import ERRORS_PAGE, PROBLEMS
from storage.models import now
from worker import service

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is the process alive?")
def healthz() -> schemas.Health:
    """The same as long as the process answers; nothing else is asked."""
    return schemas.Health(status="ok")


@router.get("/readyz", summary="Can requests be served?", responses=documents.problems())
def readyz(session: Reading, settings: SettingsDep) -> schemas.Ready:
    """Asks the database and the disk; 503 where one does not answer. Workers and queue are information."""
    figures = service.queue_figures(session)
    return schemas.Ready(
        status="ready",
        free_bytes=shutil.disk_usage(settings.data_dir).free,
        workers=service.workers_here(settings),
        queued=sum(figure.jobs for figure in figures if figure.state == "queued"),
        running=sum(figure.jobs for figure in figures if figure.state == "running"),
    )


@router.get("/metrics", summary="Figures for Prometheus", response_class=PlainTextResponse)
def metrics(session: Reading) -> PlainTextResponse:
    """Jobs by kind and state, and how long the oldest queued job of each kind has been waiting."""
    figures = service.queue_figures(session)
    lines = ["# HELP adnerf_jobs Jobs by kind and state.", "# TYPE adnerf_jobs gauge"]
    lines += [f'adnerf_jobs{{kind="{one.kind}",state="{one.state}"}} {one.jobs}' for one in figures]
    lines += [
        "# HELP adnerf_queue_oldest_age_seconds Age of the oldest queued job.",
        "# TYPE adnerf_queue_oldest_age_seconds gauge",
    ]
    for one in figures:
        if one.state == "queued":
            age = (now() - one.oldest_queued_at).total_seconds()
            lines.append(f'adnerf_queue_oldest_age_seconds{{kind="{one.kind}"}} {age:.3f}')
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


@router.get(ERRORS_PAGE, include_in_schema=False)
def errors() -> HTMLResponse:
    """What each problem means and what to do about it: where the `type` of a problem leads."""
    rows = "".join(
        f'<tr id="{code}"><th>{code}<td>{kind.status}<td>{escape(kind.title)}<td>{escape(kind.remedy)}'
        for code, kind in PROBLEMS.items()
    )
    style = "body{font:1em sans-serif;margin:2em} th,td{text-align:left;padding:.3em 1em} :target{background:#fd8}"
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>Problems</title><style>{style}</style>"
    return HTMLResponse(f"{head}<h1>Problems</h1><table>{rows}</table></html>")


@router.get("/", include_in_schema=False)
def root() -> RedirectResponse:
    """To the documentation."""
    return RedirectResponse("/docs")
