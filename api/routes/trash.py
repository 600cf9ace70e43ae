"""Routes of the trash: subjects and videos that can be restored for a while. DELETE deletes at once, wherever they are."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.auth import CallerDep
from api.deps import SettingsDep, WriteSession
from api.openapi.responses import problems
from api.requests.idempotency import IdempotencyDep
from api.responses import serializers
from api.schemas import resources
from api.services import subjects, videos

router = APIRouter(prefix="/v1")


@router.post(
    "/subjects/{subject_id}/trash",
    response_model=resources.Subject,
    summary="Put a subject into the trash",
    responses=problems("not_found"),
    tags=["subjects"],
)
def trash_subject(
    subject_id: str, caller: CallerDep, idempotency: IdempotencyDep, settings: SettingsDep, session: WriteSession
) -> Response:
    """Hides the subject and its videos, and deletes them at `trashed_until` unless they are restored.

    Running jobs are cancelled, queued ones of its videos wait.
    """
    row = subjects.trash_subject(session, settings, subject_id, owner=caller.owner)
    return idempotency.respond(session, serializers.subject(session, row))


@router.post(
    "/subjects/{subject_id}/restore",
    response_model=resources.Subject,
    summary="Take a subject out of the trash",
    responses=problems("not_found"),
    tags=["subjects"],
)
def restore_subject(subject_id: str, caller: CallerDep, idempotency: IdempotencyDep, session: WriteSession) -> Response:
    """Restores the subject, with the videos that went into the trash with it. Queued jobs go on; cancelled ones can be retried."""
    row = subjects.restore_subject(session, subject_id, owner=caller.owner)
    return idempotency.respond(session, serializers.subject(session, row))


@router.post(
    "/videos/{video_id}/trash",
    response_model=resources.Video,
    summary="Put a video into the trash",
    responses=problems("not_found"),
    tags=["videos"],
)
def trash_video(
    video_id: str, caller: CallerDep, idempotency: IdempotencyDep, settings: SettingsDep, session: WriteSession
) -> Response:
    """Hides the video, cancels its job, and deletes it at `trashed_until` unless it is restored. Its links are closed meanwhile."""
    row = videos.trash_video(session, settings, video_id, owner=caller.owner)
    return idempotency.respond(session, serializers.video(session, row))


@router.post(
    "/videos/{video_id}/restore",
    response_model=resources.Video,
    summary="Take a video out of the trash",
    responses=problems("not_found", "in_trash"),
    tags=["videos"],
)
def restore_video(video_id: str, caller: CallerDep, idempotency: IdempotencyDep, session: WriteSession) -> Response:
    """Restores the video. 409 `in_trash` if its subject is in the trash, too: restore that one."""
    row = videos.restore_video(session, video_id, owner=caller.owner)
    return idempotency.respond(session, serializers.video(session, row))
