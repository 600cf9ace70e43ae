"""The voices that workers can read scripts with, and the only writer of their table.

Every worker that renders announces its voices again and again. So the API knows them without having the engines, and each voice has
a sample to hear. A voice is removed when a worker announces others and nobody has announced this one for FORGET_S: while no worker
runs, requests are still accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, undefer

from storage.database import queries
from storage.database.models import Voice
from storage.errors import NotFound, VoiceUnavailable

FORGET_S = 3600.0
"""Time after which a voice that nobody announces is removed: longer than a worker takes to be replaced."""


class AnnouncedVoice(NamedTuple):
    """A voice as a worker describes it; see models.Voice."""

    id: str
    name: str
    language: str
    engine: str
    licence: str


def announce(session: Session, voices: Sequence[AnnouncedVoice]) -> None:
    """Records the voices of a worker, its default first, and removes forgotten ones."""
    time = queries.server_now(session)
    for position, voice in enumerate(voices):
        values = voice._asdict() | {"position": position, "seen_at": time}
        queries.upsert(session, Voice, values, update={name: values[name] for name in values if name != "id"})
    if voices:
        session.execute(delete(Voice).where(Voice.seen_at < time - timedelta(seconds=FORGET_S)))


def without_sample(session: Session, among: Sequence[str]) -> str | None:
    """Returns the id of a voice among these that has no sample; None if all have one."""
    query = select(Voice.id).where(Voice.id.in_(among), Voice.sample_sha256.is_(None)).order_by(Voice.position)
    return session.scalars(query.limit(1)).first()


def store_sample(session: Session, voice_id: str, sample: bytes) -> None:
    """Stores a WAV as the sample of a voice."""
    voice = session.get(Voice, voice_id)
    if voice is not None:
        voice.sample, voice.sample_sha256 = sample, sha256(sample).hexdigest()


def known(session: Session) -> list[Voice]:
    """Returns all voices, the default first, without their samples."""
    return list(session.scalars(select(Voice).order_by(Voice.position, Voice.id)))


def choose(session: Session, voice_id: str | None) -> Voice:
    """Returns the voice of this id; the default voice if there is none. Raises VoiceUnavailable."""
    query = select(Voice).order_by(Voice.position, Voice.id)
    voice = session.scalars(query if voice_id is None else query.where(Voice.id == voice_id)).first()
    if voice is None and (voice_id is None or session.scalars(select(Voice.id).limit(1)).first() is None):
        raise VoiceUnavailable(
            "No worker has a voice.",
            "Send the speech as `audio`, or ask the operator to install one on the workers: pip install hibari-tts.",
        )
    if voice is None:
        raise VoiceUnavailable("There is no voice of this id.")
    return voice


def sample(session: Session, voice_id: str) -> tuple[bytes, str]:
    """Returns the sample of a voice, a WAV, and its SHA-256. Raises NotFound."""
    query = select(Voice).options(undefer(Voice.sample)).where(Voice.id == voice_id)
    voice = session.scalars(query).one_or_none()
    if voice is None or voice.sample is None:
        raise NotFound(f"There is no sample of a voice {voice_id}.")
    return voice.sample, voice.sample_sha256
