"""Routes about the service itself: health checks, metrics, and the page that explains problems."""

from __future__ import annotations

import shutil
import time

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from prometheus_client.exposition import choose_encoder

from api.monitoring.readiness import REQUIRED, Readiness
from api.openapi import responses
from api.problems import page
from api.problems.problems import ERRORS_PAGE, Problem
from api.schemas.health import Health, Part, Ready
from storage.database.engine import Database
from storage.settings import Settings
from storage.tables import service_stats, workers

router = APIRouter(tags=["health"])

KEPT_S = 1.0
"""Seconds for which an answer of /readyz serves everybody; load balancers ask every few seconds."""


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Health:
    """Always `ok` while the process can answer; no other part is checked, and no thread is needed."""
    return Health(status="ok")


@router.get("/readyz", summary="Can requests be served?", responses=responses.problems())
async def readyz(request: Request) -> Ready:
    """Checks every part. If the database or the object store is down, the answer is 503, with all parts in `parts`.

    Without workers or the queue's broker the service is `degraded`: it accepts requests, and their jobs wait.
    """
    # Strangers may ask as often as they like: all share one computation, and wait for it without holding a thread.
    state = request.app.state
    async with state.ready_lock:
        if time.monotonic() - state.ready_at >= KEPT_S:
            state.ready = await to_thread.run_sync(_ready, state.readiness, state.database, state.settings)
            state.ready_at = time.monotonic()
    return state.ready.response() if isinstance(state.ready, Problem) else state.ready


def _ready(readiness: Readiness, database: Database, settings: Settings) -> Ready | Problem:
    """Checks every part now; returns the answer."""
    parts = {name: Part(ok=part.ok, detail=part.detail) for name, part in readiness.parts().items()}
    down = [name for name in REQUIRED if not parts[name].ok]
    if down:
        message = f"Down: {', '.join(down)}."
        return Problem("unavailable", message, headers={"Retry-After": "5"}, parts=parts)
    with database.session(write=False) as session:
        active = service_stats.queue(session)
        alive = workers.alive(session, within_s=settings.worker_silence_s)
    return Ready(
        status="ready" if all(part.ok for part in parts.values()) else "degraded",
        parts=parts,
        free_bytes=shutil.disk_usage(settings.data_dir).free,
        workers=len(alive),
        serves=[kind for kind, queue in workers.QUEUES.items() if any(queue in worker.queues for worker in alive)],
        queued=sum(figure.jobs for figure in active if figure.state == "queued"),
        running=sum(figure.jobs for figure in active if figure.state == "running"),
    )


@router.get("/metrics", summary="Figures for Prometheus", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Queues, jobs, workers, readiness and requests; docs/operations.md explains which figures to watch."""
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(request.app.state.metrics), media_type=media_type)


@router.get(ERRORS_PAGE, include_in_schema=False)
def errors() -> HTMLResponse:
    """Explains each problem; the `type` of a problem links to its section."""
    return HTMLResponse(page.page(), headers={"Content-Security-Policy": page.POLICY})
