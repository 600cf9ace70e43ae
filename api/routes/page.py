"""The web page at `/`: plain files of api/static, without a build step, and a Content-Security-Policy that allows nothing else."""

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
"""File names do not change from version to version, so the browser has to ask each time; mostly it gets 304."""

router = APIRouter(include_in_schema=False)


def bucket_source(store: ObjectStore) -> str:
    """The origin of signed download links for a Content-Security-Policy, after a space; empty if the object store has none."""
    link = store.link("policy", media_type="video/mp4", name="policy")
    return f" {urlsplit(link).scheme}://{urlsplit(link).netloc}" if link else ""


def policy(store: ObjectStore) -> str:
    """The page's Content-Security-Policy: this service, and the host of signed download links if the object store has them."""
    bucket = bucket_source(store)
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        f"media-src 'self' blob:{bucket}; connect-src 'self'{bucket}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@router.get("/")
def page(store: StoreDep) -> FileResponse:
    """Serves the page; the fragment of the URL (`#/...`) selects the view, in the browser."""
    return FileResponse(STATIC / "index.html", headers=FRESH | {"Content-Security-Policy": policy(store)})


class _Files(StaticFiles):
    def file_response(self, *arguments, **named) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers.update(FRESH)
        return response


def install(app: FastAPI) -> None:
    """Adds the page and its files."""
    app.include_router(router)
    app.mount("/static", _Files(directory=STATIC), name="static")
