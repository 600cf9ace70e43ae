"""The seal: what every video gets before it leaves, by which it can be told to have been made here.

An invisible mark goes into the pictures while they are rendered (adnerf_core/watermark/spread_spectrum.py), signed content credentials go into
the file as the last thing (worker/provenance/content_credentials.py). This module is imported by worker processes only: it loads OpenCV and
the C2PA library.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from sqlalchemy.orm import Session

from adnerf_core.watermark.spread_spectrum import Watermark
from storage.database.models import Subject, Video
from storage.errors import BadCertificate
from storage.settings import Settings
from storage.tables import certificates, consents
from worker.provenance.content_credentials import Claim, Signer
from worker.provenance.signing_identity import load_identity, load_mark_key


class Provenance:
    """The seal of the service with these settings; what it needs is read, or made, when it is needed first."""

    def __init__(self, settings: Settings):
        self.settings = settings

    @cached_property
    def signer(self) -> Signer:
        """What signs. Raises BadCertificate where the certificate does not do; asked again, it looks again."""
        signer = Signer(load_identity(self.settings), self.settings.timestamp_url)
        signer.try_out()
        return signer

    @cached_property
    def mark_key(self) -> bytes:
        """The key of the mark. Raises BadCertificate."""
        return load_mark_key(self.settings)

    def check(self) -> None:
        """Raises BadCertificate where no video could be sealed now."""
        try:
            self.signer.identity.check_time()
        except BadCertificate:
            self.__dict__.pop("signer", None)  # perhaps it was renewed since it was read
            self.signer.identity.check_time()
        _ = self.mark_key

    def mark(self, number: int | None) -> Watermark | None:
        """What `render` writes into the pictures of the video with this number; None for one that was never given any."""
        return None if number is None else Watermark(number, self.mark_key)

    def sign(self, path: Path, video: Video, subject: Subject) -> tuple[Path, bytes | None]:
        """The signed file in the place of `path`, and the manifest where it has to be kept beside it.

        Raises BadCertificate; OSError where the disk is full.
        """
        signed = path.with_name(f"signed{path.suffix}")
        claim = Claim(video.id, subject.id, consents.digest(subject), video.created_at)
        manifest = self.signer.sign(path, signed, claim)
        path.unlink(missing_ok=True)
        return signed, manifest

    def enlist(self, session: Session) -> None:
        """Notes the certificate, by which this service knows its own files again."""
        certificates.add(session, self.signer.identity.serial, self.signer.identity.chain)
