"""What a kind of file is: how it is made from the clip, and how well it must be read. catalogue.py lists the kinds."""

from __future__ import annotations

import shlex
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.media.base import Clip, run

TAGS = "-colorspace bt709 -color_primaries bt709 -color_trc bt709"
H264 = "-c:v libx264 -preset veryfast -crf 12 -bf 0 -pix_fmt yuv420p"
FILM = f"{H264} {TAGS}"
X265 = "-c:v libx265 -preset ultrafast -crf 10 -x265-params log-level=error -tag:v hvc1 -colorspace bt2020nc -color_primaries bt2020"
FIRST, SECOND = "-t {half}", "-ss {half}"


@dataclass(frozen=True)
class Limits:
    """How well a kind must be read.

    Attributes:
        color: largest difference of the mean red, green or blue, of 255; None: there are no pictures, or other ones.
        psnr: smallest peak signal-to-noise ratio, dB, of the worst tenth of the pictures.
        comb: largest comb index over that of the clip.
        lag_ms: largest offset between sound and pictures (without pictures, the clip) at any time, ms.
        level_db: largest difference of the sound's level, dB.
        length_s: largest difference of the sound's length, s.
    """

    color: float | None = 4.0
    psnr: float = 28.0
    comb: float = 1.6
    lag_ms: float = 20.0
    level_db: float = 1.5
    length_s: float = 0.12


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: what it is.
        file: name of the file, in the clip's folder.
        make: writes the file.
        limits: how well it must be read.
        note: words that the footage report must say; empty: none.
        refused: words with which the file must be refused; empty: it must be read.
    """

    name: str
    file: str
    make: Callable[[Clip], None]
    limits: Limits = field(default_factory=Limits)
    note: str = ""
    refused: str = ""


DEFAULT, SOUND = Limits(), Limits(color=None)


def by(command: str) -> Callable[[Clip], None]:
    """One run of ffmpeg; `{half}` and `{whole}` are replaced by times, s."""

    def make(clip: Clip) -> None:
        times = {"half": f"{clip.seconds / 2:g}", "whole": f"{clip.seconds:g}"}
        run(clip.folder, *(word.format(**times) for word in shlex.split(command)))

    return make


def joined(out: str, *commands: str) -> Callable[[Clip], None]:
    """Several files, joined byte by byte."""

    def make(clip: Clip) -> None:
        for command in commands:
            by(command)(clip)
        parts = [clip.folder / command.split()[-1] for command in commands]
        (clip.folder / out).write_bytes(b"".join(part.read_bytes() for part in parts))

    return make


def listed(out: str, *commands: str) -> Callable[[Clip], None]:
    """Several files, joined by ffmpeg without coding, as cutting programs do."""

    def make(clip: Clip) -> None:
        for command in commands:
            by(command)(clip)
        (clip.folder / "list.txt").write_text("".join(f"file '{command.split()[-1]}'\n" for command in commands))
        run(clip.folder, "-f", "concat", "-i", "list.txt", "-c", "copy", out)

    return make


def slow_recorder(clip: Clip) -> None:
    """Sound whose clock is 1 % slow, with true times: a hundredth of the samples is missing, evenly."""
    ticks = np.arange(int(len(clip.samples) * 0.99)) / 0.99
    slow = np.interp(ticks, np.arange(len(clip.samples)), clip.samples)
    (clip.folder / "slow.raw").write_bytes(np.rint(slow * 32767).astype("<i2").tobytes())
    by(
        "-i base.mov -f s16le -ar 48000 -ac 1 -i slow.raw -map 0:v -map 1:a -c:v copy -af asetnsamples=480,asetpts=PTS/0.99 "
        "-c:a pcm_s16le drift.mkv"
    )(clip)


def dolby_vision(clip: Clip) -> None:
    """HEVC whose header says that it is Dolby Vision of profile 5: the record (`dvcC`) is put into each box around it."""
    by(f"-i base.mov {X265} -pix_fmt yuv420p10le -an dolby.mp4")(clip)
    data = (clip.folder / "dolby.mp4").read_bytes()
    record = struct.pack(">I4sBBHI", 32, b"dvcC", 1, 0, 5 << 9 | 1 << 3 | 0b101, 0) + bytes(16)
    path = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"hvc1")
    starts = [data.rindex(path[0]) - 4]
    for name in path[1:]:
        starts.append(data.index(name, starts[-1]) - 4)
    end = starts[-1] + int.from_bytes(data[starts[-1] : starts[-1] + 4], "big")
    data = bytearray(data)
    for start in starts:
        data[start : start + 4] = (int.from_bytes(data[start : start + 4], "big") + len(record)).to_bytes(4, "big")
    data[end:end] = record
    (clip.folder / "dolby.mp4").write_bytes(data)


def animated_webp(clip: Clip) -> None:
    """Three pictures."""
    pictures = [Image.fromarray(frame) for frame in clip.frames[:3]]
    pictures[0].save(clip.folder / "animated.webp", save_all=True, append_images=pictures[1:])


def endless_wav(clip: Clip) -> None:
    """A WAV whose header says that its length is not known, as programs write it that send while they record."""
    data = bytearray((clip.folder / "base.wav").read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    (clip.folder / "endless.wav").write_bytes(data)


def cut_off(file: str, options: str, share: float) -> Callable[[Clip], None]:
    """The first `share` of a file."""

    def make(clip: Clip) -> None:
        by(f"-i base.mov {options} {file}")(clip)
        data = (clip.folder / file).read_bytes()
        (clip.folder / file).write_bytes(data[: int(share * len(data))])

    return make


def film(name: str, options: str, file: str, limits: Limits = DEFAULT, note: str = "") -> Kind:
    """Footage, made by one run of ffmpeg with `options`."""
    return Kind(name, file, by(f"-i base.mov {options} {file}"), limits, note)


def shown(name: str, file: str, how: str, stored: str) -> Kind:
    """Footage whose header tells players how to show it; `stored` are the filters with the opposite effect."""
    command = f"-display_{how} -noautorotate -i base.mov -vf {stored} {FILM} -c:a aac {file}"
    return Kind(name, file, by(command), Limits(psnr=24))


def speech(name: str, options: str, file: str, limits: Limits = SOUND) -> Kind:
    """A recording of speech, likewise."""
    return Kind(name, file, by(f"-i base.wav {options} {file}"), limits)


def halves(kind: str, first: str, second: str, source: str, limits: Limits, how: Callable[..., Any]) -> Kind:
    """Two halves with options of their own; `kind` is the name and the file, divided by a colon."""
    name, file = kind.split(": ")
    stem, suffix = file.rsplit(".", 1)
    commands = [
        f"{cut} -i {source} {options} {stem}{n}.{suffix}"
        for n, (cut, options) in enumerate(((FIRST, first), (SECOND, second)))
    ]
    return Kind(name, file, how(file, *commands), limits)


def written(clip: Clip, kind: Kind) -> Path | None:
    """Makes the file of a kind; returns its path, or None if this build of ffmpeg lacks the encoder."""
    try:
        kind.make(clip)
    except subprocess.CalledProcessError:
        return None
    return clip.folder / kind.file
