"""Consent: the record of who agreed to be shown, which every subject has from its first moment.

The record is a part of the subject's row (`consent`, `consent_by`, `created_at`, `footage_sha256`, `withdrawn_at`,
`purged_at`), so that it is there whenever the subject is. It is in force until it is withdrawn, once and for ever: who
agrees again makes a new subject. Without a record in force no job of the subject is made (api/services/subjects.py), claimed
(storage/tables/jobs.py) or retried.
"""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database.models import Subject
from storage.errors import ConsentWithdrawn


def digest(subject: Subject) -> str:
    """SHA-256 in hex of the record as it was given: what content credentials name in the place of the person.

    It is taken over a JSON object with sorted keys, without spaces, in ASCII: `by`, `footage_sha256`, `given_at` (ISO
    8601 in UTC), `owner`, `subject_id`, `text`. Whoever has the record can show that it is the one that was meant.
    """
    record = {
        "by": subject.consent_by,
        "footage_sha256": subject.footage_sha256,
        "given_at": subject.created_at.isoformat(),
        "owner": subject.owner,
        "subject_id": subject.id,
        "text": subject.consent,
    }
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check(subject: Subject) -> None:
    """Raises ConsentWithdrawn where the subject's record is not in force any more."""
    if subject.withdrawn_at is not None:
        raise ConsentWithdrawn(
            f"Consent to show subject {subject.id} was withdrawn on {subject.withdrawn_at:%d %b %Y}."
        )


def in_force(session: Session, subject_id: str) -> bool:
    """Whether the subject is there and its record is in force."""
    query = select(Subject.id).where(Subject.id == subject_id, Subject.withdrawn_at.is_(None))
    return session.scalars(query).one_or_none() is not None
