"""Files written byte by byte: playlists that refer to other files, decompression bombs, polyglots, and invalid or huge images."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator

from PIL import Image

from benchmarks.badfiles import good

NOISE = b"\0\xff\xfe"
"""Bytes after which the API does not recognise a text as text, so that only the job can refuse it."""


def lists(canary: str, address: str) -> Iterator[tuple[str, bytes]]:
    """Yields texts that refer to the file `canary` or the HTTP `address`, in every playlist and markup format of media."""
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
    texts = {
        "m3u8 of a file": hls.format(canary),
        "m3u8 of an address": hls.format(f"{address}/a.ts"),
        "m3u8 by file:": hls.format(f"file://{canary}"),
        "m3u8 by concat:": hls.format(f"concat:{canary}|{canary}"),
        "m3u8 by subfile": hls.format(f"subfile,,start,0,end,9,,:{canary}"),
        "m3u8 by data:": hls.format("data:audio/wav;base64,UklGRg=="),
        "m3u8 with a key": hls.format("x.ts").replace(
            "#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="file://{canary}"\n#EXTINF'
        ),
        "m3u8 with a map": hls.format("x.mp4").replace("#EXTINF", f'#EXT-X-MAP:URI="{canary}"\n#EXTINF'),
        "ffconcat": f"ffconcat version 1.0\nfile '{canary}'\n",
        "dash": f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>file://{canary}</BaseURL></MPD>',
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{canary}"/></svg>',
        "xml entity": f'<!DOCTYPE a [<!ENTITY b SYSTEM "file://{canary}">]><svg><text>&b;</text></svg>',
        "xspf": f"<playlist><trackList><track><location>{canary}</location></track></trackList></playlist>",
        "pls": f"[playlist]\nFile1={canary}\nNumberOfEntries=1\n",
        "sdp": f"v=0\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\na=control:{address}\n",
        "subtitles": "1\n00:00:00,000 --> 00:00:09,000\nhello\n",
        "script": f"#!/bin/sh\ncat {canary}\n",
        "image magick": f"push graphic-context\nviewbox 0 0 64 48\nimage over 0,0 0,0 '{canary}'\npop graphic-context\n",
        "html": f'<html><video src="file://{canary}"></video></html>',
    }
    for name, text in texts.items():
        yield name, text.encode()
        yield f"{name}, with noise behind", text.encode() + NOISE
    yield "m3u8 behind a mark", b"\xef\xbb\xbf" + texts["m3u8 of a file"].encode() + NOISE


def strangers(mp4: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields files that are no media, files of two formats at once, and images."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.mp4", bytes(50 << 20))
    draw = random.Random(11)
    yield "zip bomb", packed.getvalue()
    yield "gzip bomb", gzip.compress(bytes(50 << 20), mtime=0)
    yield "noise", draw.randbytes(50_000)
    yield "zeros", bytes(50_000)
    yield "ones", b"\xff" * 50_000
    yield "one byte", b"\0"
    yield "pdf and film", b"%PDF-1.7\n" + mp4
    yield "film and zip", mp4 + packed.getvalue()
    yield "film and script", mp4.replace(b"free", b"#!sh", 1)
    yield "film and page", mp4 + b"<html><script>alert(1)</script></html>"
    yield "film behind noise", draw.randbytes(3000) + mp4
    yield "two films", mp4 + mp4
    yield "ID3 of 256 MB", b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + draw.randbytes(5000)
    yield "false AAC", b"\xff\xf1\x50\x80\x02\x1f\xfc" * 3000
    yield "false transport stream", (b"\x47" + draw.randbytes(187)) * 60
    yield "false FLAC", b"fLaC\x80\0\0\x22" + b"\xff" * 34 + draw.randbytes(3000)
    yield "false OGG", (b"OggS\0\x02" + bytes(20) + b"\x01\xff" + draw.randbytes(255)) * 20
    yield "Matroska by itself", b"\x1a\x45\xdf\xa3" + draw.randbytes(3000)
    yield "Matroska squeezed", squeezed_matroska(40 << 20)
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "ICO", "PPM", "TGA", "PCX", "SGI", "JPEG2000"):
        yield f"a {kind} picture", good.picture(kind)


def squeezed(size: int) -> bytes:
    """Returns `size` zeros, compressed by zlib."""
    packer, block = zlib.compressobj(9), bytes(1 << 20)
    packed = [packer.compress(block[: min(len(block), size - start)]) for start in range(0, size, len(block))]
    return b"".join(packed) + packer.flush()


def element(name: str, content: bytes) -> bytes:
    """Returns an element of Matroska; `name` is its id in hexadecimal digits."""
    return bytes.fromhex(name) + struct.pack(">Q", len(content) | 1 << 56) + content


def squeezed_matroska(size: int) -> bytes:
    """Returns a Matroska file with a raw video track whose only frame decompresses (zlib) to `size` bytes."""
    squeezing = element("5034", element("4254", b"\0") + element("4255", b""))
    encoding = element("6D80", element("6240", element("5033", b"\0") + squeezing))
    shape = element("E0", element("B0", b"\x40") + element("BA", b"\x30"))
    track = element("D7", b"\1") + element("73C5", b"\1") + element("83", b"\1") + element("86", b"V_UNCOMPRESSED")
    tracks = element("1654AE6B", element("AE", track + shape + encoding))
    block = element("A3", b"\x81\0\0\x80" + squeezed(size))
    head = element("1A45DFA3", element("4282", b"matroska"))
    return head + element(
        "18538067", element("1549A966", b"") + tracks + element("1F43B675", element("E7", b"\0") + block)
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    """Returns a chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, data: bytes, *more: bytes, depth: int = 8, color: int = 0) -> bytes:
    """Returns a PNG with the compressed pixels `data` and the chunks `more` before them."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def pictures(png_file: bytes, jpeg: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields images that are invalid, too large, or unusual."""
    lines = zlib.compress(b"\0" + bytes(64))
    bomb = squeezed(60 << 20)
    yield "16000 x 16000", png(16000, 16000, squeezed(16001 * 16000))
    yield "4096 x 4096 but empty", png(4096, 4096, lines)
    yield "0 x 0", png(0, 0, lines)
    yield "2^31 x 1", png(1 << 31, 1, lines)
    yield "12000 x 12000", png(12000, 12000, lines)
    yield "more than its size", png(64, 48, bomb)
    yield "text bomb", png(64, 48, lines, chunk(b"zTXt", b"a\0\0" + bomb))
    yield "profile bomb", png(64, 48, lines, chunk(b"iCCP", b"a\0\0" + bomb))
    yield "ten thousand texts", png(64, 48, lines, *[chunk(b"tEXt", b"a\0" + b"b" * 90)] * 10_000)
    yield "no palette", png(64, 48, lines, color=3)
    yield "colours of no kind", png(64, 48, lines, color=5)
    yield "depth 77", png(64, 48, lines, depth=77)
    yield "wrong sums", png_file.replace(b"IDAT", b"IDAT", 1)[:-20] + bytes(20)
    yield "animated", png(64, 48, lines, chunk(b"acTL", b"\xff" * 8))
    yield "no pixels", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 0, 0, 0, 0))
    yield "jpeg 65500 x 65500", after_frame(jpeg, struct.pack(">HH", 65500, 65500))
    yield "jpeg 0 x 0", after_frame(jpeg, bytes(4))
    yield "jpeg of 9 parts", jpeg.replace(b"\x00\x30\x00\x40\x03", b"\x00\x30\x00\x40\x09")
    turned = b"\xff\xd8\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3" + b"\xff" * 6 + bytes(6)
    yield "jpeg turned absurdly", turned + jpeg[2:]
    yield "cmyk", good.picture("JPEG", mode="CMYK")
    yield "grey with 16 bit", good.picture("PNG", mode="I;16")
    yield "png and page", png_file + b"<html><script>alert(1)</script></html>"
    yield "jpeg and zip", jpeg + b"PK\x03\x04" + bytes(100)
    yield "a line", good.picture("PNG", (4000, 1))
    yield "a point", good.picture("PNG", (1, 1))
    yield (
        "many WebP",
        good.picture("WEBP", save_all=True, append_images=[Image.new("L", (64, 48), level) for level in range(250)]),
    )
    yield "svg behind a png's name", b"\x89PNG\r\n\x1a\n<svg/>"


def after_frame(jpeg: bytes, size: bytes) -> bytes:
    """Returns the JPEG with another size (height, width) in its frame header."""
    offset = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:offset] + size + jpeg[offset + 4 :]
