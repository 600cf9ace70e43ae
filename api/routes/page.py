"""The page: what people meet at `/`. Plain files of api/static, a policy that lets nothing else in, no build step."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from api.deps import StoreDep
from storage.objects.base import ObjectStore

STATIC = Path(__file__).parents[1] / "static"
FRESH = {"Cache-Control": "no-cache"}
"""Files keep their names from version to version, so a browser asks (and mostly hears 304)."""

router = APIRouter(include_in_schema=False)


def policy(store: ObjectStore) -> str:
    """The page's Content-Security-Policy: this service only, and where its links to downloads lead."""
    link = store.link("policy", media_type="video/mp4", name="policy")
    elsewhere = f" {urlsplit(link).scheme}://{urlsplit(link).netloc}" if link else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        f"media-src 'self' blob:{elsewhere}; connect-src 'self'{elsewhere}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@router.get("/")
def page(store: StoreDep) -> FileResponse:
    """The page; which of its views is shown is the browser's matter (`#/...`)."""
    return FileResponse(STATIC / "index.html", headers=FRESH | {"Content-Security-Policy": policy(store)})


class _Files(StaticFiles):
    def file_response(self, *arguments, **named) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers.update(FRESH)
        return response


def install(app: FastAPI) -> None:
    """Adds the page and the files that it is made of."""
    app.include_router(router)
    app.mount("/static", _Files(directory=STATIC), name="static")
