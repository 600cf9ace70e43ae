"""Checks the first bytes of a file, never its name, and refuses it if it certainly has the wrong type.

This spares the sender a long upload. Whether a file can really be decoded is found out by the job, in a limited process of
its own.
"""

from __future__ import annotations

from adnerf_core.files.media_kinds import refused_kind
from api.problems.problems import Problem
from storage.errors import BundleRefused

_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
"""First bytes of PNG and JPEG files."""


def require_media(head: bytes) -> None:
    """Raises Problem `not_media` if a file that begins with the bytes `head` certainly is no video and no audio."""
    if kind := refused_kind(head):
        raise Problem("not_media", f"The file is {kind}.")


def require_zip(head: bytes) -> None:
    """Raises BundleRefused if a file that begins with the bytes `head` is no ZIP."""
    if not head.startswith(b"PK\x03\x04"):
        raise BundleRefused("The file is no bundle of a subject.")


def require_image(head: bytes) -> None:
    """Raises Problem `not_an_image` unless a file that begins with the bytes `head` claims to be PNG, JPEG or WebP."""
    if not (head.startswith(_IMAGES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")):
        raise Problem("not_an_image")
