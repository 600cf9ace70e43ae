"""Use cases of clips of spoken consent; api/services/subjects.py states the rules of all services.

A clip is a part of the record of consent: its digest is in the record's, and it can be seen as long as the record can, by the owner alone. It
is deleted with the footage. Only the headers of the file are looked at here; nobody but people can tell what is said in it.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy.orm import Session

from adnerf_core.files.media_headers import read_headers
from storage.database import queries
from storage.database.models import Subject
from storage.errors import ConsentClipRefused, NotFound
from storage.objects.base import ObjectStore, Stored
from storage.tables import uploads
from storage.tables.uploads import FileSource

LEAST_S, MOST_S = 2.0, 60.0
"""Shortest and longest clip, s: a spoken sentence takes two seconds or more, and a minute holds a whole declaration."""


class StoredClip(NamedTuple):
    """A clip in the object store, for a subject that will be created."""

    source: FileSource
    stored: Stored


def store_clip(store: ObjectStore, folder: str, clip: FileSource) -> StoredClip:
    """Stores a clip in the folder of its subject.

    Raises ConsentClipRefused, StoreFull, EmptyFile; if `clip` is an upload: ObjectMissing, ObjectDamaged.
    """
    stored = uploads.put_file(store, folder + "consent_clip", clip)
    with store.open(stored.key) as file:
        headers = read_headers(file)
    if headers is None:
        raise ConsentClipRefused("The clip of the consent cannot be read.")
    if not (headers.has_video and headers.has_audio):
        raise ConsentClipRefused(f"The clip of the consent has no {'sound' if headers.has_video else 'picture'}.")
    if not LEAST_S <= round(headers.duration_s, 1) <= MOST_S:
        raise ConsentClipRefused(f"The clip of the consent lasts {headers.duration_s:.1f} s.")
    return StoredClip(clip, stored)


def clip_key(session: Session, subject_id: str, *, owner: str) -> str:
    """Returns the key of a subject's clip, also after a withdrawal, as the record can be read. Raises NotFound, also if there is none."""
    key = queries.get(session, Subject, subject_id, owner=owner).consent_clip_key
    if key is None:
        raise NotFound(f"Subject {subject_id} has no clip of its consent.")
    return key
