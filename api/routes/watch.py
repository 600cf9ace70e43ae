"""What a link to a video leads to: a page with a player, which other pages may embed, and the files that it plays.

It needs no key, says nothing of the owner and the person, and asks search engines to stay away.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.auth import grant
from api.deps import ReadSession, SettingsDep, StoreDep, Turns
from api.requests.language import preferred
from api.routes.stored_object import MEDIA_TYPES, object_response
from api.services import shares
from storage.database.models import Video
from storage.errors import NotFound
from storage.objects.base import ObjectStore
from storage.settings import Settings

router = APIRouter(prefix="/s", include_in_schema=False)

PRIVATE = {"Cache-Control": "private, no-store", "X-Robots-Tag": "noindex, nofollow"}
"""Headers of everything here: a link that was closed shows nothing more, and none is found by searching."""
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; media-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors *"
)
"""Nothing but the page's own style, picture, video, and the script that stops it when the link is closed; any page may embed it."""
SCRIPT = '      <script type="module" src="/static/js/watch_page.js"></script>'
SHAPE = "video{{--shape:{width}/{height}}}"
"""The style of one page, for watch.css: as large as the window allows, without bars beside the picture."""
TEXTS = {
    "en": ("Video", "AI-generated video", "This link has expired or was revoked."),
    "de": ("Video", "KI-generiertes Video", "Dieser Link ist abgelaufen oder wurde widerrufen."),
    "zh": ("视频", "由人工智能生成的视频", "此链接已过期或已被撤销。"),
}
"""By language: what a video without a title is called, the label, and what a link that is closed says."""
PAGE = """<!doctype html>
<html lang="{language}">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="robots" content="noindex, nofollow">
    <meta name="color-scheme" content="light dark">
    <title>{title}</title>
    <link rel="icon" href="/static/mark.svg" type="image/svg+xml">
    <link rel="stylesheet" href="/static/css/watch.css">
    <style>{style}</style>
  </head>
  <body>
    <main>
{content}
    </main>
  </body>
</html>
"""


def _turns(request: Request) -> Turns:
    """Turns that belong to nobody: who watches has no owner."""
    return request.app.state.turns.of("")


SharedTurns = Annotated[Turns, Depends(_turns)]


@router.get("/{token}")
def watch(token: str, request: Request, settings: SettingsDep, session: ReadSession) -> HTMLResponse:
    """The page with the player."""
    language = preferred(request, TEXTS)
    unnamed, label, closed = TEXTS[language]
    try:
        video = shares.shared_video(session, settings, token)[1]
    except NotFound:
        content = f"      <p>{closed}</p>"
        return _page(language, closed, content, status=404)
    title = escape(video.title or unnamed)
    poster = f' poster="/s/{escape(token)}/poster"' if video.thumbnail_key else ""
    kind = ' class="clear"' if video.options.get("background", {}).get("kind") == "transparent" else ""
    content = (
        f'      <video{kind} controls playsinline preload="metadata" width="{video.width}" height="{video.height}"'
        f'{" loop" if video.idle_s else ""}{poster} aria-label="{title}" src="/s/{escape(token)}/video">'
        f"{_track(video, token, language)}</video>\n"
        f"      <h1>{title}</h1>\n      <p>{label}</p>\n{SCRIPT}"
    )
    return _page(language, title, content, style=SHAPE.format(width=video.width, height=video.height))


def _page(language: str, title: str, content: str, *, style: str = "", status: int = 200) -> HTMLResponse:
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = POLICY.replace("style-src 'self'", f"style-src 'self' 'sha256-{digest}'")
    page = PAGE.format(language=language, title=title, content=content, style=style)
    return HTMLResponse(page, status_code=status, headers=PRIVATE | {"Content-Security-Policy": policy})


@router.head("/{token}/video")
@router.get("/{token}/video")
async def watch_file(
    token: str, request: Request, settings: SettingsDep, store: StoreDep, turns: SharedTurns
) -> Response:
    """The MP4 or WebM. Also of a bucket it is sent from here: a signed link would live on after this one is closed, and name the subject."""
    video = await turns.read(grant(request, lambda session: shares.shared_video(session, settings, token)[1]))
    kind = video.options["format"]
    headers = PRIVATE | {"Content-Disposition": f'inline; filename="video.{kind}"'}
    return await object_response(request, turns, store, video.file_key, MEDIA_TYPES[kind], headers)


@router.head("/{token}/poster")
@router.get("/{token}/poster")
async def watch_poster(
    token: str, request: Request, settings: SettingsDep, store: StoreDep, turns: SharedTurns
) -> Response:
    """A frame of the video, a JPEG."""
    return await _part(token, "thumbnail_key", "image/jpeg", request, settings, store, turns)


@router.head("/{token}/captions")
@router.get("/{token}/captions")
async def watch_captions(
    token: str, request: Request, settings: SettingsDep, store: StoreDep, turns: SharedTurns
) -> Response:
    """The captions of the video, WebVTT."""
    return await _part(token, "captions_key", "text/vtt; charset=utf-8", request, settings, store, turns)


async def _part(
    token: str,
    column: str,
    media_type: str,
    request: Request,
    settings: Settings,
    store: ObjectStore,
    turns: Turns,
) -> Response:
    def key(session: Session) -> str:
        found = getattr(shares.shared_video(session, settings, token)[1], column)
        if found is None:
            raise NotFound("This video has no such file.")
        return found

    return await object_response(request, turns, store, await turns.read(grant(request, key)), media_type, PRIVATE)


def _track(video: Video, token: str, language: str) -> str:
    if video.captions_key is None or not video.captions_key.endswith(".vtt"):
        return ""
    label = {"en": "Captions", "de": "Untertitel", "zh": "字幕"}[language]
    return f'<track kind="captions" src="/s/{escape(token)}/captions" label="{label}" default>'
