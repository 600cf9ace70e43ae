"""Checks the first bytes of a file, never its name, and refuses it if it certainly has the wrong type.

This spares the sender a long upload. Whether a file can really be decoded is found out by the job, in a limited process of
its own. There is no list of accepted beginnings, because an MP3 file may begin with any bytes.
"""

from __future__ import annotations

from api.problems.problems import Problem

_SIGNATURES = {
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
    # Media of kinds that ffmpeg is not allowed to open (adnerf_core/files/ffmpeg.py): the job would refuse them.
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "a WMV or WMA file",
    b"FLV\x01": "a Flash video",
    b".RMF": "a RealMedia file",
    b"\0\0\1\xba": "an MPEG program stream",
    b"MThd": "a MIDI file, which contains no speech",
    b"#!AMR": "an AMR recording",
    b"caff": "a CAF recording",
    b".snd": "an AU recording",
}
"""Types of files that are refused, by the bytes with which they begin."""
_INNER_SIGNATURES = {
    (b"RIFF", 8, b"WEBP"): "a WebP image",
    (b"FORM", 8, b"AIF"): "an AIFF recording",
    (b"", 4, b"ftypavi"): "an AVIF image",
    (b"", 4, b"ftyphei"): "a HEIC image",
    (b"", 4, b"ftyphev"): "a HEIC image",
    (b"", 4, b"ftypmif1"): "a HEIC or AVIF image",
    (b"", 4, b"ftypcrx"): "a raw photograph",
}
"""The same for types that are recognized by (first bytes, offset, bytes at that offset)."""
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
"""First bytes of PNG and JPEG files."""
_TS_PACKET_BYTES = 188
"""Size of a packet of an MPEG transport stream; each begins with 0x47."""


def require_media(head: bytes) -> None:
    """Raises Problem `not_media` if a file that begins with the bytes `head` certainly is no video and no audio."""
    file_type = next((name for signature, name in _SIGNATURES.items() if head.startswith(signature)), None)
    for (signature, offset, inner), name in _INNER_SIGNATURES.items():
        if head.startswith(signature) and head.startswith(inner, offset):
            file_type = name
    # At least three packets: any file begins with 0x47 by chance once in 256, and three times once in 16 million.
    if len(head) > 2 * _TS_PACKET_BYTES and set(head[::_TS_PACKET_BYTES]) == {0x47}:
        file_type = "an MPEG transport stream"
    if file_type is None and _is_text(head):
        file_type = "text (a playlist is not accepted either)"
    if file_type is not None:
        raise Problem("not_media", f"The file is {file_type}.")


def require_image(head: bytes) -> None:
    """Raises Problem `not_an_image` unless a file that begins with the bytes `head` claims to be PNG, JPEG or WebP."""
    if not (head.startswith(_IMAGES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")):
        raise Problem("not_an_image")


def _is_text(head: bytes) -> bool:
    """Whether `head` is UTF-8 without control characters, perhaps with an incomplete last character, or is UTF-16."""
    if head.startswith(b"\xfe\xff") or head.startswith(b"\xff\xfe<\0"):
        return True
    for cut in range(4):  # a character has at most four bytes
        try:
            text = head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
        return all(char.isprintable() or char in "\t\n\v\f\r" for char in text.removeprefix("\ufeff"))
    return False
