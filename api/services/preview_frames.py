"""Use cases of preview frames; api/services/subjects.py states the rules of all services."""

from __future__ import annotations

from sqlalchemy.orm import Session

from adnerf_core.config import RenderOptions
from api.services import subjects
from api.services.videos import speaking_subject
from storage.database.engine import after_rollback
from storage.database.models import PreviewFrame, new_id
from storage.object_places import BACKGROUNDS
from storage.objects.base import ObjectStore, Stored
from storage.tables import preview_frames, uploads
from storage.tables.uploads import FileSource


def store_background(store: ObjectStore, subject_id: str, picture: FileSource) -> Stored:
    """Stores a background for a frame of a subject that `speaking_subject` has found. If no frame is made of it, the cleanup removes it.

    Raises StoreFull, EmptyFile, StoreAway.
    """
    return uploads.put_file(store, f"{subjects.folder(subject_id)}{BACKGROUNDS}/{new_id('pic')}", picture)


def ask(
    session: Session,
    store: ObjectStore,
    subject_id: str,
    options: RenderOptions,
    *,
    owner: str,
    background: Stored | None,
) -> PreviewFrame:
    """Returns the frame that a video of a subject will show, rendered already or queued.

    Raises NotFound, ConsentWithdrawn, InTrash, SubjectNotReady, FullFrameUnavailable.
    """
    if background is not None:
        after_rollback(session, lambda: store.delete(background.key), remote=True)
    subject = speaking_subject(session, subject_id, options, owner=owner, lock=True)
    wanted = options.model_dump(mode="json", exclude={"captions"})
    return preview_frames.request(session, store, subject, wanted, background)


def find(session: Session, digest: str) -> PreviewFrame | None:
    """Returns a frame with its picture; None if it was forgotten."""
    return preview_frames.find(session, digest)


def forget(session: Session, digest: str) -> None:
    """Forgets a frame that has failed, so that a later request tries again."""
    preview_frames.forget(session, PreviewFrame.digest == digest, PreviewFrame.state == "failed")
