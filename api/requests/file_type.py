"""A first look at an upload: its leading bytes, and never its name, tell whether it is obviously something else than it should be.

Only what is certain is refused here, to spare the sender a long upload; whether a file really plays is found out by the
job, in a process of its own with limits. An MP3 may begin with anything, so there is no list of beginnings that are good.
"""

from __future__ import annotations

from api.problems.problems import Problem

_OTHERS = {
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"BM": "a bitmap image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"8BPS": "a Photoshop image",
    b"\0\0\1\0": "an icon",
    b"%PDF-": "a PDF document",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Office document",
    b"SQLite format 3\0": "a database",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"\0asm": "a program",
    # What plays, but is of no kind that is taken here: the job would refuse it after the whole upload.
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "a WMV or WMA file",
    b"FLV\x01": "a Flash video",
    b".RMF": "a RealMedia file",
    b"\0\0\1\xba": "an MPEG program stream",
    b"MThd": "a MIDI file, in which there is no speech",
    b"#!AMR": "an AMR recording",
    b"caff": "a CAF recording",
    b".snd": "an AU recording",
}
_INSIDE = {
    (b"RIFF", 8, b"WEBP"): "a WebP image",
    (b"FORM", 8, b"AIF"): "an AIFF recording",
    (b"", 4, b"ftypavi"): "an AVIF image",
    (b"", 4, b"ftyphei"): "a HEIC image",
    (b"", 4, b"ftyphev"): "a HEIC image",
    (b"", 4, b"ftypmif1"): "a HEIC or AVIF image",
    (b"", 4, b"ftypcrx"): "a raw photograph",
}
"""Beginnings, and what stands further inside."""
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_PACKET = 188
"""Bytes of a packet of an MPEG transport stream; each begins with 0x47."""


def require_media(head: bytes) -> None:
    """Raises Problem `not_media` where `head`, the first bytes of a file, cannot begin a video or an audio."""
    found = next((what for magic, what in _OTHERS.items() if head.startswith(magic)), None)
    for (magic, place, inside), what in _INSIDE.items():
        if head.startswith(magic) and head.startswith(inside, place):
            found = what
    if len(head) > 2 * _PACKET and set(head[::_PACKET]) == {0x47}:
        found = "an MPEG transport stream"
    if found is None and _is_text(head):
        found = "text (a playlist does not do either)"
    if found is not None:
        raise Problem("not_media", f"The file is {found}.")


def require_image(head: bytes) -> None:
    """Raises Problem `not_an_image` where `head`, the first bytes of a file, begins no PNG, JPEG or WebP."""
    if not (head.startswith(_IMAGES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")):
        raise Problem("not_an_image")


def _is_text(head: bytes) -> bool:
    """Whether all of it is UTF-8 without control characters, or UTF-16; a character cut off at the end is forgiven."""
    if head.startswith(b"\xfe\xff") or head.startswith(b"\xff\xfe<\0"):
        return True
    for cut in range(4):
        try:
            text = head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
        return all(sign.isprintable() or sign in "\t\n\v\f\r" for sign in text.removeprefix("\ufeff"))
    return False
