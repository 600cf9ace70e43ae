"""A first look at an upload: its leading bytes tell whether it is obviously something else than it should be.

Only what is certain is refused here, to spare the sender a long upload; whether a file really plays is found out by the
job, in a process of its own with limits.
"""

from __future__ import annotations

from api.errors import Problem

_OTHERS = {
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"BM": "a bitmap image",
    b"%PDF-": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x7fELF": "a program",
    b"MZ": "a program",
}
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def media(head: bytes) -> None:
    """Raises Problem `not_media` where `head`, the first bytes of a file, cannot begin a video or an audio."""
    found = next((what for magic, what in _OTHERS.items() if head.startswith(magic)), None)
    if found is None and head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        found = "a WebP image"
    if found is None and _is_text(head):
        found = "text (a playlist does not do either)"
    if found is not None:
        raise Problem("not_media", f"The file is {found}.")


def image(head: bytes) -> None:
    """Raises Problem `not_an_image` where `head`, the first bytes of a file, begins no PNG, JPEG or WebP."""
    if not (head.startswith(_IMAGES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")):
        raise Problem("not_an_image")


def _is_text(head: bytes) -> bool:
    """Whether all of it is UTF-8 without control characters; a character cut off at the end is forgiven."""
    for cut in range(4):
        try:
            text = head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
        return all(sign.isprintable() or sign in "\t\n\v\f\r" for sign in text.removeprefix("\ufeff"))
    return False
