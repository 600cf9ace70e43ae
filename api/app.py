"""The HTTP service: `create_app` builds it; `uvicorn --factory api.app:create_app` serves it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware

from api.deps import Turns
from api.middleware import security_headers
from api.middleware.access import AccessMiddleware
from api.middleware.client_address import ClientAddresses
from api.middleware.etag import ETagMiddleware
from api.middleware.head import HeadMiddleware
from api.middleware.json_body import JsonBodyMiddleware
from api.middleware.local_caller import OpenMode
from api.middleware.rate_limit import RateLimiter
from api.middleware.request_log import RequestLogMiddleware, RequestMetrics
from api.middleware.request_shares import PART, RequestShares
from api.middleware.tus import TusMiddleware
from api.monitoring import metrics
from api.monitoring.readiness import Readiness
from api.openapi import responses
from api.problems import problems
from api.requests import idempotency
from api.requests.arrivals import Arrivals
from api.responses.job_events import JobEventHub
from api.routes import (
    bundles,
    consents,
    docs,
    health,
    jobs,
    keys,
    links,
    new_videos,
    owners,
    page,
    preview_frames,
    samples,
    shares,
    streams,
    subjects,
    trash,
    uploads,
    verify,
    videos,
    voices,
    watch,
    webhooks,
)
from storage import settings as environment
from storage.database.engine import Database
from storage.objects.open_store import open_store
from storage.private_files import make_data_dir, warn_if_not_private
from storage.settings import Settings
from worker.broker import open_database
from worker.sweeper import Sweeper
from worker.watchdog import keep_notifying
from worker.webhooks.signing import check_settings

CLOSE_S = 1.0
"""Seconds to wait at the end for a sweep in progress, which usually takes milliseconds; the process ends it otherwise."""

CONNECTIONS = 10_000
"""Connections of a process, unless the server that runs the application says otherwise (`RequestShares.connections`)."""

DELETIONS = 2
"""Deletions in a bucket at the same time, after their transactions; those that wait are only noted, and the database has most of them."""

ROUTES = (
    subjects,
    consents,
    bundles,
    preview_frames,
    new_videos,
    videos,
    streams,
    shares,
    trash,
    voices,
    verify,
    jobs,
    uploads,
    webhooks,
    keys,
    owners,
    links,
    samples,
    health,
)
"""The modules of the API's routes, in the order of /docs."""

DESCRIPTION = """
A reference video of a person speaking makes a **subject**; a subject and an audio or a script make a **video** of that person saying
it. Both requests are answered at once with 202, and **jobs** do the work; a job shows its state, stage, progress, time left
and place in the queue. Errors are `application/problem+json` (RFC 9457) with a stable `code` and a remedy.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Builds the application.

    Args:
        settings: by default those of the environment. The tables of the database must exist.

    Raises:
        BadSetting: a setting has an unusable value.
    """
    settings = settings or environment.load()
    make_data_dir(settings.data_dir)
    warn_if_not_private(settings.data_dir)
    check_settings(settings)
    database, store = open_database(settings), open_store(settings, impatient=True)
    if settings.store_url:
        database.remote = ThreadPoolExecutor(DELETIONS, thread_name_prefix="deletions")
    readiness = Readiness(settings, database, store)
    shares = RequestShares(CONNECTIONS)
    figures = metrics.registry(settings, database, readiness)
    app = FastAPI(
        title="adnerf",
        version=version("adnerf"),
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,  # api/routes/docs.py serves this page and the document that it shows
        openapi_url=None,
        redoc_url=None,
        redirect_slashes=False,  # the redirect would name http behind a proxy that ends TLS
        middleware=_middleware(settings, database, figures, shares),
    )
    app.state.settings = settings
    app.state.database = database
    app.state.store = store
    app.state.turns, app.state.request_shares = Turns(database), shares
    app.state.arrivals = Arrivals(settings, database)
    app.state.verifying = RequestShares(PART * settings.quota_verifications)  # one owner's part is the quota
    app.state.readiness = readiness
    app.state.ready_lock, app.state.ready, app.state.ready_at = asyncio.Lock(), None, -math.inf
    app.state.job_event_hub = JobEventHub(database, settings.event_streams)
    app.state.metrics = figures
    problems.install(app)
    idempotency.install(app)
    for routes in ROUTES:
        app.include_router(routes.router)
    app.include_router(watch.router)
    page.install(app)
    docs.install(app)
    responses.customize_openapi(app)
    return app


def _middleware(
    settings: Settings, database: Database, figures: CollectorRegistry, shares: RequestShares
) -> list[Middleware]:
    """Returns what a request passes from top to bottom, and its response from bottom to top."""
    return [
        *security_headers.middleware(settings),  # every response gets the headers, also those made further down
        Middleware(TusMiddleware),  # may change the method, so it comes before all that look at the method
        Middleware(RequestLogMiddleware, metrics=RequestMetrics(figures)),  # logs refused requests too
        Middleware(  # key, scope, rate limit, share of the connections
            AccessMiddleware,
            database=database,
            rates=RateLimiter(settings),
            settings=settings,
            open_mode_rules=OpenMode(settings),
            addresses=ClientAddresses(settings.trusted_proxies),
            shares=shares,
        ),
        Middleware(HeadMiddleware),  # before the ETags, which belong to a GET
        Middleware(ETagMiddleware),
        Middleware(JsonBodyMiddleware),  # knows the route when the body is read, because it shares the router's scope
    ]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Sweeps beside the requests: the only worker of a machine cannot do so while it hangs."""
    stopping = threading.Event()
    sweeper = Sweeper(app.state.settings, app.state.database)
    sweeping = threading.Thread(target=sweeper.run, args=(stopping,), name="sweep", daemon=True)
    sweeping.start()
    notifying = asyncio.create_task(keep_notifying(app.state.settings))
    yield
    notifying.cancel()
    with suppress(asyncio.CancelledError):
        await notifying
    stopping.set()
    sweeping.join(CLOSE_S)
    app.state.job_event_hub.close()
    app.state.readiness.close()
    if app.state.database.remote is not None:
        app.state.database.remote.shutdown(wait=False, cancel_futures=True)  # the cleanup repeats what is left
    app.state.database.close()
