"""Use cases of bundles, which carry subjects to other services; api/services/subjects.py states the rules of all services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from api.services import subjects
from api.services.subjects import ready_subject, removed_on_error
from storage import bundles, object_places
from storage.bundles import Bundle
from storage.database import queries
from storage.database.engine import after_rollback
from storage.database.models import Subject, new_id, now
from storage.errors import BundleRefused, BundlesOff, NotFound, WebhooksOff
from storage.objects.base import ObjectStore
from storage.settings import Settings
from storage.tables import consents, quotas, uploads, withdrawals
from storage.tables.uploads import FileSource
from worker.webhooks.signing import load_key

SENT = {"source": "source_key", "consent_clip": "consent_clip_key"}
"""The objects of a bundle that were sent, and the columns of Subject that name them."""
OBJECTS = {
    **SENT,
    **{
        folder: column
        for folder, column in object_places.SUBJECT_FOLDERS.items()
        if folder not in ("datasets", "checkpoints")
    },
}
"""All objects of a bundle, likewise. Datasets and checkpoints can be made again."""
NEEDED = ("source", "runs")
CARRIED = ("preset", "audio_track", "face", "footage", "quality", "view_limits", "full_frame", "views")
"""Columns of Subject that are carried as they are."""


class StoredBundle(NamedTuple):
    """A bundle whose objects are stored, for the subject that will have this id; `size` is the sum of their sizes, bytes."""

    subject_id: str
    file: FileSource
    manifest: dict[str, Any]
    signer: str
    keys: dict[str, str]
    size: int


class Export(NamedTuple):
    """A subject that can be exported: what its manifest says, and the keys of its objects by their names in the bundle."""

    manifest: dict[str, Any]
    keys: dict[str, str]


def export(session: Session, subject_id: str, *, owner: str) -> Export:
    """Returns what the bundle of a subject consists of.

    Raises NotFound, ConsentWithdrawn, InTrash, SubjectNotReady.
    """
    subject = ready_subject(session, subject_id, owner=owner)
    keys = {name: getattr(subject, column) for name, column in OBJECTS.items()}
    manifest = {
        "exported_at": now().isoformat(),
        "subject": {"id": subject.id, "name": subject.name} | {name: getattr(subject, name) for name in CARRIED},
        "consent": {
            "text": subject.consent,
            "by": subject.consent_by,
            "given_at": subject.created_at.isoformat(),
            "footage_sha256": subject.footage_sha256,
            "clip_sha256": subject.consent_clip_sha256,
            "may_improve_others": subject.may_improve_others,
            "digest": consents.digest(subject),
            "origins": consents.origins(subject),
        },
    }
    return Export(manifest, {name: key for name, key in keys.items() if key})


def pieces(store: ObjectStore, settings: Settings, exported: Export) -> Iterator[bytes]:
    """Yields the bytes of a bundle. Raises BundlesOff, ObjectMissing, ObjectDamaged, StoreAway."""
    return bundles.write(store, exported.keys, exported.manifest, bundles.derive_key(_service_key(settings)))


def store_bundle(store: ObjectStore, settings: Settings, file: FileSource) -> StoredBundle:
    """Checks a bundle and stores its objects. If no subject is made of them, the cleanup of unused objects removes them.

    Raises BundleRefused, BundlesOff, EmptyFile, StoreFull, StoreAway; if `file` is an upload: ObjectMissing, ObjectDamaged.
    """
    own = bundles.key_name(bundles.derive_key(_service_key(settings)).public_key())
    subject_id = new_id("sub")
    folder = subjects.folder(subject_id)
    with removed_on_error(store, folder):
        packed = uploads.put_file(store, f"{folder}bundle", file)
        with store.open(packed.key) as opened:
            bundle = Bundle(opened, {own, *settings.trusted_bundle_keys()})
            names = bundle.manifest["files"].keys()
            if not set(NEEDED) <= names <= OBJECTS.keys():
                raise BundleRefused("The bundle has not the objects of a subject.")
            if settings.consent_clip == "required" and "consent_clip" not in names:
                remedy = "Create the subject here, from its footage and a clip of its consent."
                raise BundleRefused("The bundle has no clip of a spoken consent, which this service needs.", remedy)
            stored = {name: bundle.store(name, store, folder + _place(name)) for name in names}
        store.delete(packed.key)
    keys = {name: each.key for name, each in stored.items()}
    size = sum(each.size for each in stored.values())
    return StoredBundle(subject_id, file, bundle.manifest, bundle.signer, keys, size)


def submit_import(
    session: Session, store: ObjectStore, settings: Settings, *, owner: str, name: str | None, bundle: StoredBundle
) -> Subject:
    """Creates a subject from a bundle; it is ready. Call it in a new session.

    Raises ConsentWithdrawn (the consent was withdrawn here: that of the subject, or of one that came from it or that it came from, whether
    it still exists or not), QuotaExceeded; if the bundle is an upload: NotFound, UploadIncomplete, UploadUsed.
    """
    after_rollback(session, lambda: store.delete_prefix(subjects.folder(bundle.subject_id)), remote=True)
    told, consent = bundle.manifest["subject"], bundle.manifest["consent"]
    with suppress(NotFound):  # it is a subject of another service, or was deleted
        consents.check(queries.get(session, Subject, told["id"], lock=True))
    origins = consent.get("origins", [])  # an earlier version writes none
    withdrawals.check_bundle(session, [consent["digest"], *origins])
    subject = Subject(
        id=bundle.subject_id,
        owner=owner,
        name=name or told["name"],
        state="ready",
        consent=consent["text"],
        consent_by=consent["by"],
        footage_sha256=consent["footage_sha256"],
        consent_clip_sha256=consent.get("clip_sha256"),  # an earlier version writes none
        may_improve_others=consent.get("may_improve_others", False),
        imported_from={
            "subject_id": told["id"],
            "consent_given_at": consent["given_at"],
            "consent_digest": consent["digest"],
            "exported_at": bundle.manifest["exported_at"],
            "key": bundle.signer,
            "origins": " ".join(origins),
        },
        stored_bytes=bundle.size,
        **{column: told[column] for column in CARRIED},
        **{OBJECTS[each]: key for each, key in bundle.keys.items()},
    )
    session.add(subject)
    session.flush()
    uploads.consume(session, store, bundle.file, owner=owner, used_by=subject.id)
    quotas.check(session, settings, owner, "subjects", "stored_bytes")
    return subject


def _place(name: str) -> str:
    """The key of an object of a bundle below the subject's folder."""
    return name if name in SENT else str(PurePosixPath(name, "imported"))


def _service_key(settings: Settings) -> str:
    try:
        return load_key(settings)
    except WebhooksOff as error:
        raise BundlesOff("This service has no key for bundles.") from error
