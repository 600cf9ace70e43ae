"""The HTTP service: `create_app` is the factory, for `uvicorn --factory api.app:create_app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio import Semaphore
from fastapi import FastAPI

from api.deps import WRITERS
from api.middleware import security_headers
from api.middleware.access import AccessMiddleware
from api.middleware.etag import ETagMiddleware
from api.middleware.json_body import JsonBodyMiddleware
from api.middleware.rate_limit import RateLimiter
from api.middleware.request_log import RequestLogMiddleware, RequestMetrics
from api.middleware.tus import TusMiddleware
from api.monitoring import metrics
from api.monitoring.readiness import Readiness
from api.openapi import responses
from api.problems import problems
from api.requests import idempotency
from api.responses.job_events import JobEventHub
from api.routes import consents, docs, health, jobs, keys, owners, page, subjects, uploads, verify, videos, webhooks
from storage import settings as environment
from storage.objects.open_store import open_store
from storage.settings import Settings
from worker.broker import open_database
from worker.webhooks.signing import check_settings

DESCRIPTION = """
A reference video of someone speaking makes a **subject**; a subject and an audio make a **video** of that person saying
it. Both are answered at once with 202 and worked on by **jobs**, which tell state, stage, progress, time left and place
in the queue. Errors are `application/problem+json` (RFC 9457) with a stable `code` and what to do about it.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application on `settings` (default: from the environment). The database must have its tables."""
    settings = settings or environment.load()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    check_settings(settings)
    app = FastAPI(
        title="adnerf",
        version=version("adnerf"),
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,  # api/routes/docs.py has it
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.database = open_database(settings)
    app.state.store = open_store(settings)
    app.state.writers = Semaphore(WRITERS)
    app.state.readiness = Readiness(settings, app.state.database, app.state.store)
    app.state.watch = JobEventHub(app.state.database)
    app.state.figures = metrics.registry(settings, app.state.database, app.state.readiness)
    app.add_middleware(JsonBodyMiddleware)
    app.add_middleware(ETagMiddleware)
    app.add_middleware(AccessMiddleware, database=app.state.database, rates=RateLimiter(settings))
    app.add_middleware(RequestLogMiddleware, figures=RequestMetrics(app.state.figures))
    app.add_middleware(TusMiddleware)
    security_headers.install(app, settings)
    problems.install(app)
    idempotency.install(app)
    for routes in (subjects, consents, videos, verify, jobs, uploads, webhooks, keys, owners, health):
        app.include_router(routes.router)
    page.install(app)
    docs.install(app)
    responses.customize_openapi(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.watch.close()
    app.state.readiness.close()
    app.state.database.close()
