"""Marks and signs every video, so that it can be recognised as made by this service.

The invisible watermark is written into the frames while they are rendered (adnerf_core/watermark/); the signed content
credentials are added to the finished file (content_credentials.py). Only worker processes import this module: it loads OpenCV
and the C2PA library.
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
from worker.provenance.content_credentials import Signer, VideoClaim
from worker.provenance.mark_key import load_mark_key
from worker.provenance.signing_identity import load_identity


class Provenance:
    """Marks and signs videos for the service with these settings. Keys are read, or created, at first use."""

    def __init__(self, settings: Settings):
        self.settings = settings

    @cached_property
    def signer(self) -> Signer:
        """The signer. Raises BadCertificate if the certificate cannot sign; the next access reads it again."""
        signer = Signer(load_identity(self.settings), self.settings.timestamp_url)
        signer.self_test()
        return signer

    @cached_property
    def mark_key(self) -> bytes:
        """The secret key of the watermark. Raises BadCertificate."""
        return load_mark_key(self.settings)

    def check(self) -> None:
        """Raises BadCertificate if no video could be signed now."""
        try:
            self.signer.identity.check_time()
        except BadCertificate:
            self.__dict__.pop("signer", None)  # it may have been renewed since it was read
            self.signer.identity.check_time()
        _ = self.mark_key

    def mark(self, number: int | None) -> Watermark | None:
        """Returns the watermark for the video with this number; None for a video of an earlier version, which has no number."""
        return None if number is None else Watermark(number, self.mark_key)

    def sign(self, path: Path, video: Video, subject: Subject, frame: str) -> tuple[Path, bytes | None]:
        """Signs a rendered video, or its speech, thumbnail or clip; the file `path` is replaced by the signed file.

        Args:
            path: the file.
            video: the row of the video.
            subject: the row of its subject.
            frame: "full" if the video shows the footage, in which a part is generated, or "portrait".

        Returns:
            The path of the signed file, and its manifest if that must be stored separately.

        Raises:
            BadCertificate: the video cannot be signed.
            OSError: the disk is full.
        """
        signed = path.with_name(f"signed-{path.name}")
        claim = VideoClaim(
            video.id,
            subject.id,
            consents.digest(subject),
            video.created_at,
            full_frame=frame == "full",
            footage_sha256=subject.footage_sha256,
        )
        manifest = self.signer.sign(path, signed, claim)
        path.unlink(missing_ok=True)
        return signed, manifest

    def record_certificate(self, session: Session) -> None:
        """Records the certificate, by which this service recognises its own files later."""
        certificates.add(session, self.signer.identity.serial, self.signer.identity.chain)
