"""What a file is by its first bytes, never by its name: kinds that are certainly no video and no audio that is accepted.

Whether another file can really be decoded is found out by reading it, in a limited process. There is no list of accepted
beginnings, because an MP3 file may begin with any bytes.
"""

from __future__ import annotations

HEAD_BYTES = 4096
"""How much of the start of a file is looked at: text without a control character is then text for sure."""

H26X = (0x06, 0x09, 0x27, 0x67, 0x40, 0x46)
"""First bytes of the units with which a bare H.264 or HEVC stream begins. A QuickTime file of more than 4 GB may begin like one, but for this
byte, which is a letter there."""

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
    # Media that ffmpeg is not allowed to open (ffmpeg_process.INPUT_FORMATS).
    b"FLV\x01": "a Flash video",
    b".RMF": "a RealMedia file",
    b"\0\0\1\xba": "an MPEG program stream",
    b"MThd": "a MIDI file, which contains no speech",
    b"DSD ": "a DSD recording",
    b"wvpk": "a WavPack recording",
    b"MAC ": "a Monkey's Audio recording",
    b"TTA1": "a True Audio recording",
    b"Creative Voice File": "a VOC recording",
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01": "an MXF video of a broadcast camera",
    b"FWS": "a Flash film",
    b"CWS": "a Flash film",
    b"YUV4MPEG2": "raw pictures (Y4M), which have no sound",
    b"DKIF": "a bare video stream (IVF), which has no sound",
    **dict.fromkeys(
        (b"\0\0\0\1" + bytes([unit]) for unit in H26X), "a bare video stream (H.264 or HEVC), which has no sound"
    ),
    b"\0\0\1\xb3": "a bare MPEG video stream, which has no sound",
    b"\x1f\x07\0": "a bare DV stream",
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"\0\0\0\x0cjP": "a JPEG 2000 image",
}
"""Kinds of files that are refused, by the bytes with which they begin."""
_INNER_SIGNATURES = {
    (b"RIFF", 8, b"WEBP"): "a WebP image",
    (b"", 4, b"ftypavi"): "an AVIF image",
    (b"", 4, b"ftyphei"): "a HEIC image",
    (b"", 4, b"ftyphev"): "a HEIC image",
    (b"", 4, b"ftypmif1"): "a HEIC or AVIF image",
    (b"", 4, b"ftypcrx"): "a raw photograph",
}
"""The same for kinds that are recognized by (first bytes, offset, bytes at that offset)."""
_ANIMATED_WEBP = 0b10
"""The bit of a WebP's flags, byte 20 after `VP8X`, that says it is animated."""


def refused_kind(head: bytes) -> str | None:
    """Returns the name of the kind of file that begins with the bytes `head` if it is certainly no accepted media, else None."""
    kind = next((name for signature, name in _SIGNATURES.items() if head.startswith(signature)), None)
    for (signature, offset, inner), name in _INNER_SIGNATURES.items():
        if head.startswith(signature) and head.startswith(inner, offset):
            kind = name
    if head.startswith(b"GIF8") and b"NETSCAPE2.0" in head:
        kind = "an animated GIF, which has no sound"
    if kind == "a WebP image" and head[12:16] == b"VP8X" and head[20:21] and head[20] & _ANIMATED_WEBP:
        kind = "an animated WebP, which has no sound"
    if kind is None and _is_text(head):
        kind = "text (a playlist is not accepted either)"
    return kind


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
