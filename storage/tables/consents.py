"""Consent records: who agreed to be shown in videos. Every subject has one from its creation.

The record is part of the subject's row (`consent`, `consent_by`, `created_at`, `footage_sha256`, `consent_clip_sha256`, `withdrawn_at`,
`purged_at`), so it exists exactly as long as the subject. It is in force until it is withdrawn. A withdrawal is final: if the person agrees
again, a new subject is created. Without a record in force no job of the subject is created (api/services/subjects.py),
claimed (storage/tables/jobs.py) or retried.
"""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database.models import Subject
from storage.errors import ConsentWithdrawn


def digest(subject: Subject) -> str:
    """Returns the SHA-256 of the consent record in hex, which content credentials contain instead of personal data.

    The digest covers a JSON object with sorted keys, no spaces and ASCII characters only: `by`, `footage_sha256`, `given_at`
    (ISO 8601 in UTC), `owner`, `subject_id`, `text`, and `clip_sha256` if the consent was spoken too. Somebody who has the
    record can prove that it is the signed one.
    """
    record = {
        "by": subject.consent_by,
        "footage_sha256": subject.footage_sha256,
        "given_at": subject.created_at.isoformat(),
        "owner": subject.owner,
        "subject_id": subject.id,
        "text": subject.consent,
    }
    if subject.consent_clip_sha256 is not None:
        record["clip_sha256"] = subject.consent_clip_sha256
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def origins(subject: Subject) -> list[str]:
    """Returns the digests of the consents of which this one is a copy, latest first: those of the subjects whose bundles it came from."""
    told = subject.imported_from or {}
    return [told["consent_digest"], *told.get("origins", "").split()] if told else []


def check(subject: Subject) -> None:
    """Raises ConsentWithdrawn if the consent for the subject was withdrawn."""
    if subject.withdrawn_at is not None:
        raise ConsentWithdrawn(
            f"Consent to show subject {subject.id} was withdrawn on {subject.withdrawn_at:%d %b %Y}."
        )


def in_force(session: Session, subject_id: str) -> bool:
    """Returns whether the subject exists and its consent is in force."""
    in_force = Subject.withdrawn_at.is_(None), Subject.deleted_at.is_(None)
    query = select(Subject.id).where(Subject.id == subject_id, *in_force)
    return session.scalars(query).one_or_none() is not None
