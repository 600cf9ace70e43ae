"""A strict reader of HLS: the checks of draft-pantos-hls-rfc8216bis that concern an EVENT playlist of fragmented MP4, and of its segments."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

ONCE = (
    "EXT-X-VERSION",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-PLAYLIST-TYPE",
    "EXT-X-INDEPENDENT-SEGMENTS",
    "EXT-X-START",
    "EXT-X-MAP",
    "EXT-X-ENDLIST",
)
"""The tags that are allowed here, besides EXTINF; each at most once."""
NOT_SYNC = 0x010000
"""Flag of a sample that is no key frame."""


class Playlist(NamedTuple):
    """A media playlist: its text, tags by name, the address of the header, (seconds, address) of each segment, and whether it has ended."""

    text: str
    tags: dict[str, str]
    header: str
    segments: list[tuple[float, str]]
    ended: bool


def read(text: str, before: Playlist | None = None) -> Playlist:
    """Reads a playlist; `before` is what it was when it was read the last time. Anything that the draft forbids fails the test."""
    assert text.startswith("#EXTM3U\n") and text.endswith("\n"), "4.1, 4.4.1.1"
    assert text.isascii() and not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text), "4.1"
    lines = text.splitlines()[1:]
    tags: dict[str, str] = {}
    segments: list[tuple[float, str]] = []
    seconds = None
    for line in lines:
        name, _, value = line.removeprefix("#").partition(":")
        if name == "EXTINF":
            assert seconds is None and re.fullmatch(r"\d+\.\d+,", value), line
            seconds = float(value[:-1])
        elif line.startswith("#"):
            assert name in ONCE and name not in tags, line
            assert not segments or name == "EXT-X-ENDLIST", f"{name} belongs before the first segment"
            tags[name] = value
        else:
            assert line and seconds is not None, "4.4.4.1: each segment has its EXTINF"
            segments.append((seconds, line))
            seconds = None
    assert seconds is None
    assert int(tags["EXT-X-VERSION"]) >= 6, "8: for EXT-X-MAP"
    assert int(tags["EXT-X-MEDIA-SEQUENCE"]) >= 0 and tags["EXT-X-PLAYLIST-TYPE"] == "EVENT"
    target = int(tags["EXT-X-TARGETDURATION"])
    assert all(round(length) <= target for length, _ in segments), "4.4.3.1"
    header = re.fullmatch(r'URI="([^"]+)"', tags["EXT-X-MAP"])[1]
    assert len({uri for _, uri in segments} | {header}) == len(segments) + 1
    if before is not None:
        assert text.startswith(before.text), "6.2.1: an EVENT playlist only grows"
        assert not before.ended or text == before.text
    ended = lines[-1] == "#EXT-X-ENDLIST"
    assert ended == ("EXT-X-ENDLIST" in tags)
    return Playlist(text, tags, header, segments, ended)


def boxes(data: bytes, *path: str) -> list[bytes]:
    """The contents of the boxes at a path of kinds."""
    found = []
    while data:
        size = int.from_bytes(data[:4])
        assert 8 <= size <= len(data), "a box that is cut off"
        if data[4:8].decode() == path[0]:
            found += [data[8:size]] if len(path) == 1 else boxes(data[8:size], *path[1:])
        data = data[size:]
    return found


class Fragment(NamedTuple):
    """What a segment has of a track: when it begins and how long it is, s, its samples, and whether the first of them is a key frame."""

    start_s: float
    duration_s: float
    samples: int
    begins_with_key: bool


def check_media(
    header: bytes, segments: list[bytes], lengths_s: list[float] | None = None
) -> list[dict[str, Fragment]]:
    """Checks the header and the segments from the first on; returns what each has of each track ("vide", "soun").

    `lengths_s` are those of the pictures that the playlist tells.
    """
    assert [kind(box) for box in split(header)] == [b"ftyp", b"moov"], "3.1.2"
    tracks = {}
    for track in boxes(header, "moov", "trak"):
        (tkhd,), (mdhd,), (hdlr,) = (boxes(track, *p) for p in (["tkhd"], ["mdia", "mdhd"], ["mdia", "hdlr"]))
        assert not any(int.from_bytes(stts[4:8]) for stts in boxes(track, "mdia", "minf", "stbl", "stts")), "3.1.2"
        tracks[tkhd[12:16]] = hdlr[8:12].decode(), int.from_bytes(mdhd[12:16])
    usual = {trex[4:8]: trex for trex in boxes(header, "moov", "mvex", "trex")}
    assert tracks and usual.keys() == tracks.keys(), "3.1.2"
    found: list[dict[str, Fragment]] = []
    numbers = []
    for number, data in enumerate(segments):
        assert [kind(box) for box in split(data)] == [b"moof", b"mdat"]
        numbers += [int.from_bytes(box[4:]) for box in boxes(data, "moof", "mfhd")]
        parts = {}
        for traf in boxes(data, "moof", "traf"):
            (tfhd,) = boxes(traf, "tfhd")
            name, scale = tracks[tfhd[4:8]]
            parts[name] = _fragment(traf, tfhd, usual[tfhd[4:8]], scale)
        assert parts["vide"].begins_with_key, "EXT-X-INDEPENDENT-SEGMENTS"
        for name, part in parts.items():
            if found:
                last = found[-1][name]
                assert part.start_s == pytest.approx(last.start_s + last.duration_s, abs=1e-3), "no gap, no overlap"
        if lengths_s is not None:
            assert parts["vide"].duration_s == pytest.approx(lengths_s[number], abs=0.01)
        found.append(parts)
    assert numbers == sorted(set(numbers))
    return found


def split(data: bytes) -> list[bytes]:
    """The boxes one after another."""
    found = []
    while data:
        size = int.from_bytes(data[:4])
        assert 8 <= size <= len(data), "a box that is cut off"
        found.append(data[:size])
        data = data[size:]
    return found


def kind(box: bytes) -> bytes:
    """The kind of a box."""
    return box[4:8]


def _fragment(traf: bytes, tfhd: bytes, trex: bytes, scale: int) -> Fragment:
    """Reads what a fragment has of a track (ISO/IEC 14496-12, 8.8.7, 8.8.8, 8.8.12)."""
    flags = int.from_bytes(tfhd[1:4])
    assert flags & 0x020000 and not flags & 0x1, "places are told from the fragment on"
    given = {0x8: int.from_bytes(trex[12:16]), 0x20: int.from_bytes(trex[20:24])}
    at = 8
    for flag in (0x2, 0x8, 0x10, 0x20):
        if flags & flag:
            given[flag] = int.from_bytes(tfhd[at : at + 4])
            at += 4
    (tfdt,) = boxes(traf, "tfdt")
    (trun,) = boxes(traf, "trun")
    flags, count, at = int.from_bytes(trun[1:4]), int.from_bytes(trun[4:8]), 8 + 4 * bool(int.from_bytes(trun[1:4]) & 1)
    first = None
    if flags & 0x4:
        first, at = int.from_bytes(trun[at : at + 4]), at + 4
    duration = 0
    for sample in range(count):
        values = {}
        for flag in (0x100, 0x200, 0x400, 0x800):
            if flags & flag:
                values[flag] = int.from_bytes(trun[at : at + 4])
                at += 4
        duration += values.get(0x100, given[0x8])
        if sample == 0 and first is None:
            first = values.get(0x400, given[0x20])
    return Fragment(int.from_bytes(tfdt[4:]) / scale, duration / scale, count, not first & NOT_SYNC)
