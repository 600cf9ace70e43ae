"""Use cases of preview frames; api/services/subjects.py states the rules of all services."""

from __future__ import annotations

from sqlalchemy.orm import Session

from adnerf_core.config import RenderOptions
from api.services.videos import speaking_subject
from storage.database.models import PreviewFrame
from storage.tables import preview_frames
from storage.tables.preview_frames import Picture


def ask(
    session: Session, subject_id: str, options: RenderOptions, *, owner: str, background: Picture | None
) -> PreviewFrame:
    """Returns the frame that a video of a subject will show, rendered already or queued.

    Raises NotFound, ConsentWithdrawn, InTrash, SubjectNotReady, FullFrameUnavailable.
    """
    subject = speaking_subject(session, subject_id, options, owner=owner, lock=True)
    wanted = options.model_dump(mode="json", exclude={"captions"})
    return preview_frames.request(session, subject, wanted, background)


def find(session: Session, digest: str) -> PreviewFrame | None:
    """Returns a frame with its picture; None if it was forgotten."""
    return preview_frames.find(session, digest)


def forget(session: Session, digest: str) -> None:
    """Forgets a frame that has failed, so that a later request tries again."""
    preview_frames.forget(session, PreviewFrame.digest == digest, PreviewFrame.state == "failed")
