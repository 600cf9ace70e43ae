"""/openapi.json, and /docs: Swagger UI, to read it and try the API out. Its files come from a package, so the browser loads nothing from
other hosts.
"""

from __future__ import annotations

from threading import Lock

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from api.middleware.etag import CACHE_CONTROL
from api.requests.if_match import etag_of
from api.responses.byte_ranges import not_modified

router = APIRouter(include_in_schema=False)

FILES = "/docs/files"
PAGE = f"""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>adnerf: the API</title>
    <link rel="icon" href="/static/mark.svg" type="image/svg+xml">
    <link rel="stylesheet" href="{FILES}/swagger-ui.css">
    <link rel="stylesheet" href="/static/css/docs.css">
    <script src="{FILES}/swagger-ui-bundle.js"></script>
    <script type="module" src="/static/js/docs.js"></script>
  </head>
  <body>
    <main>
      <h1><a href="/">To the page</a></h1>
      <div id="swagger-ui"></div>
    </main>
  </body>
</html>
"""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page. Swagger UI sets inline styles, so these are allowed."""


_describing = Lock()


@router.get("/openapi.json")
def openapi(request: Request) -> Response:
    """Serves the description of the API. It is built once, in a thread: it takes a third of a second, and rendering it ten milliseconds."""
    state = request.app.state
    with _describing:
        if state.description is None:
            body = JSONResponse(request.app.openapi()).body
            state.description = body, etag_of(body)
    body, etag = state.description
    headers = {"ETag": etag, "Cache-Control": CACHE_CONTROL}
    if not_modified(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.get("/docs")
def docs() -> HTMLResponse:
    """Serves the page."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


def install(app: FastAPI) -> None:
    """Adds the page and its files. The package also contains ReDoc, which is not used."""
    app.state.description = None
    app.include_router(router)
    app.mount(FILES, StaticFiles(packages=[("fastapi_offline", "static")]), name="docs")
