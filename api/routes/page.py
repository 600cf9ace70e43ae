"""The web page at `/`: plain files of api/static, without a build step, and a Content-Security-Policy that allows nothing else.

The files are read once, at the start, and have the digest of all of them in their path: `/static/<digest>/js/main.js`. So a browser that has
them asks for none again, and a new version has other paths. Modules name each other by relative paths, and follow by themselves.
"""

from __future__ import annotations

import gzip
import re
from functools import cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from api.deps import StoreDep
from api.problems.problems import Problem
from api.requests.if_match import etag_of
from api.requests.language import preferred
from api.responses.byte_ranges import not_modified
from storage.objects.base import ObjectStore

STATIC = Path(__file__).parents[1] / "static"
FRESH = "no-cache"
"""Cache-Control of what keeps its path from version to version: the browser has to ask each time; mostly it gets 304."""
LASTING = "public, max-age=31536000, immutable"
"""Cache-Control of a file below its digest."""
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
START = PurePosixPath("js/main.js")
"""The module that index.html names."""
STYLES = re.compile(r'<link rel="stylesheet" href="/static/(css/[^"]+)" />\s*')
"""A style that index.html names."""
ALL_STYLES = "css/page.css"
"""All of these in one file: a browser has six requests at a time on HTTP/1.1."""
IMPORT = re.compile(r"""^(?:import|export)\b[^'";]*?from "(\.[^"]+)";""", re.MULTILINE)
DIGEST = re.compile(r"[0-9a-f]{16}")

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
def page(request: Request, store: StoreDep) -> Response:
    """Serves the page; the fragment of the URL (`#/...`) selects the view, in the browser."""
    language = preferred(request, _languages())
    headers = {"Cache-Control": FRESH, "Content-Security-Policy": policy(store), "Vary": "Accept-Language"}
    return _answer(request, _index(language), MEDIA_TYPES[".html"], headers)


@router.get("/static/{path:path}")
def page_file(path: str, request: Request, store: StoreDep) -> Response:
    """Serves a file of the page, by its path with or without a digest. That of another version leads to this version's file."""
    first, _, rest = path.partition("/")
    name = rest if DIGEST.fullmatch(first) else path
    if name not in files():
        raise Problem("not_found", f"The page has no file {name}.")
    headers = {"Cache-Control": LASTING if first == digest() else FRESH}
    if name.endswith(".html"):
        headers["Content-Security-Policy"] = policy(store)
    return _answer(request, files()[name], MEDIA_TYPES[PurePosixPath(name).suffix], headers)


def install(app: FastAPI) -> None:
    """Adds the page and its files."""
    app.include_router(router)


@cache
def files() -> dict[str, bytes]:
    """Returns the files of the page by their paths, such as `js/main.js`, and ALL_STYLES."""
    paths = (path for path in STATIC.rglob("*") if path.suffix in MEDIA_TYPES)
    found = {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in sorted(paths)}
    named = STYLES.findall(found["index.html"].decode())
    return found | {ALL_STYLES: b"\n".join(found[name] for name in named)}


@cache
def digest() -> str:
    """Returns 16 digits that stand for this version of all files."""
    return sha256(b"".join(name.encode() + sha256(body).digest() for name, body in files().items())).hexdigest()[:16]


def _languages() -> list[str]:
    return [PurePosixPath(name).stem for name in files() if name.startswith("js/texts/")]


@cache
def _index(language: str) -> bytes:
    """Returns index.html with the files of this version, its styles in one, and the modules that the browser would find one behind another."""
    named = STYLES.sub("", files()["index.html"].decode()).replace('"/static/', f'"/static/{digest()}/')
    modules = [*_modules(), f"js/texts/{language}.js"]
    links = f'<link rel="stylesheet" href="/static/{digest()}/{ALL_STYLES}" />\n    '
    links += "".join(f'<link rel="modulepreload" href="/static/{digest()}/{each}" />\n    ' for each in modules)
    return named.replace('<script type="module"', links + '<script type="module"').encode()


def _modules() -> list[str]:
    """Returns the modules that START imports, and those that these import."""
    found, left = [], [START]
    while left:
        module = left.pop(0)
        if (name := module.as_posix()) in found:
            continue
        found.append(name)
        left += [_beside(module, each) for each in IMPORT.findall(files()[name].decode())]
    return found


def _beside(module: PurePosixPath, path: str) -> PurePosixPath:
    """Returns the file that `module` names by a relative path."""
    folder = module.parent
    while path.startswith("../"):
        folder, path = folder.parent, path.removeprefix("../")
    return folder / path.removeprefix("./")


def _answer(request: Request, body: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """Answers with `body`, compressed where the browser takes that; 304 if it has it."""
    packed = re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", request.headers.get("accept-encoding", "")) is not None
    if packed:
        body = _packed(body)
        headers["Content-Encoding"] = "gzip"
    headers["ETag"] = etag = etag_of(body)
    headers["Vary"] = ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))
    if not_modified(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


@cache
def _packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)
