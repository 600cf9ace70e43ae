"""/docs: Swagger UI, to read the API and try it out. Its files come from a package, so the browser loads nothing from other hosts."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)

FILES = "/docs/files"
PAGE = f"""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>adnerf: the API</title>
    <link rel="icon" href="/static/mark.svg" type="image/svg+xml">
    <link rel="stylesheet" href="{FILES}/swagger-ui.css">
    <script src="{FILES}/swagger-ui-bundle.js"></script>
    <script type="module" src="/static/js/docs.js"></script>
  </head>
  <body><div id="swagger-ui"></div></body>
</html>
"""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page. Swagger UI sets inline styles, so these are allowed."""


@router.get("/docs")
def docs() -> HTMLResponse:
    """Serves the page."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


def install(app: FastAPI) -> None:
    """Adds the page and its files. The package also contains ReDoc, which is not used."""
    app.include_router(router)
    app.mount(FILES, StaticFiles(packages=[("fastapi_offline", "static")]), name="docs")
