"""The HTTP service: `create_app` is the factory, for `uvicorn --factory api.app:create_app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from api import documents, errors, metrics
from api.observe import Observer, RequestFigures
from api.readiness import Readiness
from api.routes import health, jobs, subjects, videos
from storage import settings as environment
from storage.objects import open_store
from storage.settings import Settings
from worker.broker import open_database

DESCRIPTION = """
A reference video of someone speaking makes a **subject**; a subject and an audio make a **video** of that person saying
it. Both are answered at once with 202 and worked on by **jobs**, which tell state, stage, progress, time left and place
in the queue. Errors are `application/problem+json` (RFC 9457) with a stable `code` and what to do about it.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application on `settings` (default: from the environment). The database must have its tables."""
    settings = settings or environment.load()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    app = FastAPI(title="adnerf", version=version("adnerf"), description=DESCRIPTION, lifespan=_lifespan)
    app.state.settings = settings
    app.state.database = open_database(settings)
    app.state.store = open_store(settings)
    app.state.readiness = Readiness(settings, app.state.database, app.state.store)
    app.state.figures = metrics.registry(settings, app.state.database, app.state.readiness)
    app.add_middleware(Observer, figures=RequestFigures(app.state.figures))
    errors.install(app)
    for routes in (subjects, videos, jobs, health):
        app.include_router(routes.router)
    documents.complete(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.readiness.close()
    app.state.database.close()
