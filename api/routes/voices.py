"""Routes of voices, which read the scripts of videos."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.auth import CallerDep
from api.deps import ReadSession
from api.openapi import responses
from api.openapi.responses import problems
from api.responses import serializers
from api.responses.byte_ranges import not_modified
from api.schemas import resources
from storage.tables import voices

router = APIRouter(prefix="/v1/voices", tags=["voices"])

VoiceId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,100}$")]


@router.get("", summary="List the voices that can read scripts")
def list_voices(caller: CallerDep, session: ReadSession) -> resources.Voices:
    """All voices that workers have announced, the default first. The list is empty if no engine is installed on a worker."""
    return serializers.voices(voices.known(session))


@router.head("/{voice_id}/sample", include_in_schema=False)
@router.get(
    "/{voice_id}/sample",
    summary="Hear a voice",
    response_class=Response,
    responses={
        200: responses.file("a short sentence", "audio/wav"),
        304: {"description": "not changed"},
        **problems("not_found", "validation_failed"),
    },
)
def get_sample(voice_id: VoiceId, request: Request, caller: CallerDep, session: ReadSession) -> Response:
    """A sentence in this voice, a WAV."""
    sample, digest = voices.sample(session, voice_id)
    headers = {"ETag": f'"{digest}"', "Cache-Control": "private, no-cache"}
    if not_modified(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(sample, media_type="audio/wav", headers=headers)
