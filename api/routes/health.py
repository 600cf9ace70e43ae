"""How the service is: for supervisors, for Prometheus, and for people who follow a problem's `type`."""

from __future__ import annotations

import shutil

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from prometheus_client.exposition import choose_encoder

from api.deps import ReadinessDep, ReadSession, SettingsDep
from api.monitoring.readiness import REQUIRED
from api.openapi import responses
from api.problems import page
from api.problems.problems import ERRORS_PAGE, Problem
from api.schemas import resources
from storage.tables import service_stats, workers

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is the process alive?")
def healthz() -> resources.Health:
    """The same as long as the process answers; nothing else is asked."""
    return resources.Health(status="ok")


@router.get("/readyz", summary="Can requests be served?", responses=responses.problems())
def readyz(readiness: ReadinessDep, session: ReadSession, settings: SettingsDep) -> resources.Ready:
    """Asks every part. 503 names those that are down in `parts`, where the database, the store or the queue is one.

    Without workers the service is `degraded`: what is sent is taken in, and waits.
    """
    parts = {name: resources.Part(ok=part.ok, detail=part.detail) for name, part in readiness.parts().items()}
    down = [name for name in REQUIRED if not parts[name].ok]
    if down:
        message = f"Down: {', '.join(down)}."
        raise Problem("unavailable", message, headers={"Retry-After": "5"}, parts=parts)
    active = service_stats.queue(session)
    alive = workers.alive(session, within_s=settings.worker_silence_s)
    return resources.Ready(
        status="ready" if parts["workers"].ok else "degraded",
        parts=parts,
        free_bytes=shutil.disk_usage(settings.data_dir).free,
        workers=len(alive),
        queued=sum(figure.jobs for figure in active if figure.state == "queued"),
        running=sum(figure.jobs for figure in active if figure.state == "running"),
    )


@router.get("/metrics", summary="Figures for Prometheus", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Queues, jobs, workers, parts that are up, and requests; docs/operations.md tells what to watch."""
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(request.app.state.figures), media_type=media_type)


@router.get(ERRORS_PAGE, include_in_schema=False)
def errors() -> HTMLResponse:
    """What each problem means and what to do about it: where the `type` of a problem leads."""
    return HTMLResponse(page.page(), headers={"Content-Security-Policy": page.POLICY})
