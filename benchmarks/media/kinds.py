"""The kinds of files: how each is made from the clip, and how well it must be read."""

from __future__ import annotations

import shlex
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.media.base import Clip, run

TAGS = "-colorspace bt709 -color_primaries bt709 -color_trc bt709"
H264 = "-c:v libx264 -preset veryfast -crf 12 -bf 0 -pix_fmt yuv420p"
FILM = f"{H264} {TAGS}"
HDR = "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt2020:t=%s:m=bt2020nc:r=tv:npl=203,format=yuv420p10le"
"""Filters that make SDR pictures HDR, white at 203 cd/m2."""
X265 = "-c:v libx265 -preset ultrafast -crf 10 -x265-params log-level=error -tag:v hvc1 -colorspace bt2020nc -color_primaries bt2020"
X265_SDR = f"-c:v libx265 -preset ultrafast -crf 10 -x265-params log-level=error -tag:v hvc1 {TAGS}"
FIELDS = "minterpolate=fps=50:mi_mode=mci:me_mode=bilat,tinterlace=interleave_top,setfield=tff"
UNMARKED = (
    "minterpolate=fps=50:mi_mode=mci:me_mode=bilat,scale=576:576:flags=bicubic,tinterlace=interleave_%s,setfield=prog"
)
UNTAGGED = "setparams=colorspace=unknown:color_primaries=unknown:color_trc=unknown"
NO_TAGS = "-colorspace 2 -color_primaries 2 -color_trc 2"
M2TS = "-c:a ac3 -f mpegts -mpegts_m2ts_mode 1"
MP3 = "-c:a libmp3lame -b:a 128k -id3v2_version 0 -write_xing 0"
TWO_TRACKS = "-map 0:v -map 1:a -map 0:a -c:v copy -c:a aac"
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
JOINED = Limits(length_s=0.2, psnr=20, lag_ms=45)
"""For recordings that were joined: a part may start between two pictures, and with an encoder's silence."""
JOINED_SOUND = Limits(color=None, length_s=0.2, lag_ms=80, level_db=3)
"""The same without pictures: the encoders' silence at the ends belongs to the file. Stereo made of mono is 3 dB quieter."""
MUSIC = "aevalsrc='0.1*sin(2*PI*220*t)+0.1*sin(2*PI*277*t)+0.1*sin(2*PI*330*t)':s=48000:d={whole}"


def _by(command: str) -> Callable[[Clip], None]:
    """One run of ffmpeg; `{half}` and `{whole}` are replaced by times, s."""

    def make(clip: Clip) -> None:
        times = {"half": f"{clip.seconds / 2:g}", "whole": f"{clip.seconds:g}"}
        run(clip.folder, *(word.format(**times) for word in shlex.split(command)))

    return make


def _joined(out: str, *commands: str) -> Callable[[Clip], None]:
    """Several files, joined byte by byte."""

    def make(clip: Clip) -> None:
        for command in commands:
            _by(command)(clip)
        parts = [clip.folder / command.split()[-1] for command in commands]
        (clip.folder / out).write_bytes(b"".join(part.read_bytes() for part in parts))

    return make


def _listed(out: str, *commands: str) -> Callable[[Clip], None]:
    """Several files, joined by ffmpeg without coding, as cutting programs do."""

    def make(clip: Clip) -> None:
        for command in commands:
            _by(command)(clip)
        (clip.folder / "list.txt").write_text("".join(f"file '{command.split()[-1]}'\n" for command in commands))
        run(clip.folder, "-f", "concat", "-i", "list.txt", "-c", "copy", out)

    return make


def _slow_recorder(clip: Clip) -> None:
    """Sound whose clock is 1 % slow, with true times: a hundredth of the samples is missing, evenly."""
    ticks = np.arange(int(len(clip.samples) * 0.99)) / 0.99
    slow = np.interp(ticks, np.arange(len(clip.samples)), clip.samples)
    (clip.folder / "slow.raw").write_bytes(np.rint(slow * 32767).astype("<i2").tobytes())
    _by(
        "-i base.mov -f s16le -ar 48000 -ac 1 -i slow.raw -map 0:v -map 1:a -c:v copy -af asetnsamples=480,asetpts=PTS/0.99 "
        "-c:a pcm_s16le drift.mkv"
    )(clip)


def _dolby_vision(clip: Clip) -> None:
    """HEVC whose header says that it is Dolby Vision of profile 5: the record (`dvcC`) is put into each box around it."""
    _by(f"-i base.mov {X265} -pix_fmt yuv420p10le -an dolby.mp4")(clip)
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


def _animated_webp(clip: Clip) -> None:
    pictures = [Image.fromarray(frame) for frame in clip.frames[:3]]
    pictures[0].save(clip.folder / "animated.webp", save_all=True, append_images=pictures[1:])


def _endless_wav(clip: Clip) -> None:
    data = bytearray((clip.folder / "base.wav").read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    (clip.folder / "endless.wav").write_bytes(data)


def _film(name: str, options: str, file: str, limits: Limits = DEFAULT, note: str = "") -> Kind:
    return Kind(name, file, _by(f"-i base.mov {options} {file}"), limits, note)


def _shown(name: str, file: str, how: str, stored: str) -> Kind:
    """Footage whose header tells players how to show it; `stored` are the filters with the opposite effect."""
    command = f"-display_{how} -noautorotate -i base.mov -vf {stored} {FILM} -c:a aac {file}"
    return Kind(name, file, _by(command), Limits(psnr=24))


def _speech(name: str, options: str, file: str, limits: Limits = SOUND) -> Kind:
    return Kind(name, file, _by(f"-i base.wav {options} {file}"), limits)


def _halves(kind: str, first: str, second: str, source: str, limits: Limits, how: Callable[..., Any]) -> Kind:
    """Two halves with options of their own; `kind` is the name and the file, divided by a colon."""
    name, file = kind.split(": ")
    stem, suffix = file.rsplit(".", 1)
    commands = [
        f"{cut} -i {source} {options} {stem}{n}.{suffix}"
        for n, (cut, options) in enumerate(((FIRST, first), (SECOND, second)))
    ]
    return Kind(name, file, how(file, *commands), limits)


FOOTAGE = [
    Kind("the clip itself", "base.mov", lambda clip: None, Limits(psnr=34)),
    _film("MP4, AAC", "-c:v copy -c:a aac", "a.mp4"),
    _film("WebM, VP9, Opus", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0 -c:a libopus", "a.webm"),
    _film("H.264, 10 bit, 4:2:2", f"{FILM} -pix_fmt yuv422p10le -c:a aac", "h422.mp4"),
    _film("HEVC, 10 bit, 4:2:2", f"{X265_SDR} -pix_fmt yuv422p10le -c:a aac", "hevc422.mov"),
    _film("ProRes 422 HQ", f"-c:v prores_ks -profile:v 3 -pix_fmt yuv422p10le {TAGS} -c:a pcm_s24le", "prores.mov"),
    _film("pixels of 4:3 (HDV)", f"-vf scale=192:256:flags=bicubic,setsar=4/3 {FILM} -c:a aac", "wide.mp4"),
    _film("pixels of 8:9 (DV)", f"-vf scale=288:256:flags=bicubic,setsar=8/9 {FILM} -c:a pcm_s16le", "narrow.avi"),
    _film("one key frame, B-frames", f"{FILM} -g 100000 -sc_threshold 0 -bf 3 -c:a aac", "gop.mp4"),
    _film("50 pictures a second", f"-vf fps=50 {FILM} -c:a aac", "fps50.mp4"),
    _film("59.94 pictures a second", f"-vf fps=60000/1001 {FILM} -c:a aac", "fps60.mp4", Limits(psnr=24)),
    _film("120 pictures a second", f"-vf fps=120 {FILM} -c:a aac", "fps120.mov", Limits(psnr=24)),
    _film(
        "variable rate (phone)",
        "-vf \"select='lt(mod(n,7),5)',settb=1/90000,setpts='PTS+900*mod(N,3)'\" -fps_mode vfr -enc_time_base 1/90000 "
        f"{FILM} -c:a aac",
        "variable.mp4",
        Limits(psnr=22, lag_ms=45),  # where pictures are missing, the one before stays
    ),
    _shown("mirrored by the header", "mirrored.mov", "hflip", "hflip"),
    _shown(
        "turned, pixels of 4:3", "turnedwide.mov", "rotation 90", "transpose=1,scale=192:256:flags=bicubic,setsar=4/3"
    ),
    _shown("turned by 90 degrees", "turned.mov", "rotation 90", "transpose=1"),
    _film(
        "HLG, HEVC 10 bit (iPhone)",
        f"-vf {HDR % 'arib-std-b67'} {X265} -color_trc arib-std-b67 -c:a aac",
        "hlg.mov",
        note="HDR (HLG)",
    ),
    _film(
        "PQ, HEVC 10 bit", f"-vf {HDR % 'smpte2084'} {X265} -color_trc smpte2084 -c:a aac", "pq.mp4", note="HDR (PQ)"
    ),
    _film("untagged HD", f"-vf scale=720:720:flags=bicubic,{UNTAGGED} {H264} {NO_TAGS} -c:a aac", "hd.mp4"),
    _film(
        "untagged SD",
        f"-vf scale=in_color_matrix=bt709:out_color_matrix=smpte170m,{UNTAGGED} {H264} {NO_TAGS} -c:a aac",
        "sd.mp4",
    ),
    _film(
        "interlaced, H.264",
        f"-vf {FIELDS} {FILM} -flags +ilme+ildct -x264opts tff=1 -c:a aac",
        "fields.mp4",
        Limits(psnr=26),
        "interlaced",
    ),
    _film(
        "interlaced, MPEG-2 (PAL)",
        f"-vf {FIELDS} -c:v mpeg2video -q:v 2 -flags +ilme+ildct {TAGS} -c:a mp2",
        "pal.ts",
        Limits(psnr=26),
    ),
    _film(
        "interlaced, not marked",
        f"-vf {UNMARKED % 'top'} {FILM} -c:a aac",
        "unmarked.mp4",
        Limits(psnr=24),
        "interlaced",
    ),
    _film(
        "interlaced, not marked, bottom field first",
        f"-vf {UNMARKED % 'bottom'} {FILM} -c:a aac",
        "bottom.mp4",
        Limits(psnr=24),
        "interlaced",
    ),
    _film(
        "progressive, marked as interlaced",
        f"-vf scale=576:576:flags=bicubic,setfield=tff {FILM} -flags +ilme+ildct -x264opts tff=1 -c:a aac",
        "psf.mp4",
        Limits(psnr=36),
    ),
    _film("progressive, 576 lines", f"-vf scale=576:576:flags=bicubic {FILM} -c:a aac", "rows.mp4"),
    Kind("Dolby Vision, profile 5", "dolby.mp4", _dolby_vision, refused="Dolby Vision"),
    _halves("two AVCHD clips joined: merged.mts", f"{FILM} {M2TS}", f"{FILM} {M2TS}", "base.mov", JOINED, _joined),
    _halves(
        "size of pictures changes: sizes.ts",
        f"{FILM} -c:a aac",
        f"-vf scale=320:320 {FILM} -c:a aac",
        "base.mov",
        JOINED,
        _listed,
    ),
    _halves(
        "mono, then stereo: layout.mkv", f"{FILM} -ac 1 -c:a aac", f"{FILM} -ac 2 -c:a aac", "base.mov", JOINED, _listed
    ),
    _halves(
        "AC-3 5.1, then stereo: surround.ts",
        f"{FILM} -af 'pan=5.1|c0=c0|c1=c0|c2=c0' -c:a ac3",
        f"{FILM} -ac 2 -c:a ac3",
        "base.mov",
        replace(JOINED, level_db=4),
        _listed,
    ),
    _film(
        "60 ms of sound lost each second",
        "-c:v copy -af asetnsamples=960,aselect='gte(mod(t\\,1)\\,0.06)' -c:a pcm_s16le",
        "gaps.mkv",
    ),
    Kind("recorder 1 % slow", "drift.mkv", _slow_recorder),
    _film(
        "opposite phase",
        "-c:v copy -af 'pan=stereo|c0=c0|c1=-1*c0' -c:a pcm_s16le",
        "opposite.mov",
        note="cancel each other",
    ),
    _film(
        "opposite phase, AAC",
        "-c:v copy -af 'pan=stereo|c0=c0|c1=-1*c0' -c:a aac",
        "opposite.mp4",
        note="cancel each other",
    ),
    _film(
        "first sound track silent (OBS)",
        f"-f lavfi -i anullsrc=r=48000:cl=stereo:d={{whole}} {TWO_TRACKS}",
        "obs.mp4",
        note="track 2",
    ),
    _film("first sound track music", f"-f lavfi -i {MUSIC} {TWO_TRACKS}", "music.mp4", note="track 2"),
    _film(
        "thumbnail first (Skydio)",
        "-f lavfi -i color=gray:s=384x216:r=25:d=0.04 -map 1:v -map 0:v -map 0:a -c:v:0 mjpeg -c:v:1 copy -c:a aac",
        "thumbnail.mp4",
    ),
    _film(
        "small proxy first",
        "-filter_complex [0:v]scale=64:64,hue=s=0[p] -map [p] -map 0:v -map 0:a -c:v:0 mpeg4 -c:v:1 copy -c:a aac",
        "proxy.mov",
    ),
    _film("5.1, voice in the centre", "-c:v copy -af 'pan=5.1|c2=c0' -c:a aac", "centre.mp4", Limits(level_db=12)),
    _film(
        "sound of a telephone",
        "-c:v copy -af highpass=300,lowpass=3400 -ar 8000 -c:a pcm_s16le",
        "band.mov",
        Limits(level_db=6),
    ),
    _film(
        "echo of a room", "-c:v copy -af aecho=1:0.6:23|41|67:0.5|0.35|0.25 -c:a aac", "echo.mp4", Limits(level_db=6)
    ),
    _film("sound starts 0.3 s late", "-c:v copy -af atrim=start=0.3 -c:a aac", "late.mp4"),
    _film(
        "29.97 pictures a second",
        f"-vf minterpolate=fps=30000/1001:mi_mode=mci:me_mode=bilat {FILM} -c:a aac",
        "ntsc.mp4",
        Limits(psnr=22),
    ),
    _film(
        "sound much longer",
        "-c:v copy -af apad=whole_dur=60 -c:a aac",
        "long.mp4",
        Limits(length_s=99),
        "The sound lasts",
    ),
    _film(
        "8 pictures a second", f"-vf fps=8 {FILM} -c:a aac", "slow.mp4", Limits(psnr=15, lag_ms=65), "only 8 pictures"
    ),
    replace(_film("animated GIF", "-frames:v 5 -an", "a.gif"), refused="animated GIF"),
    Kind("animated WebP", "animated.webp", _animated_webp, refused="animated WebP"),
]
"""Footage of a person."""

AMR = "-ar 8000 -ac 1 -b:a 12.2k -c:a libopencore_amrnb"
SPEECH = [
    Kind("WAV", "base.wav", lambda clip: None, SOUND),
    Kind("WAV with sizes of a stream", "endless.wav", _endless_wav, SOUND),
    _speech("quad WAV", "-af 'pan=quad|c0=c0|c1=c0|c2=c0|c3=c0' -c:a pcm_s16le", "quad.wav"),
    _speech(
        "5.1, voice in the centre (AAC)", "-af 'pan=5.1|c2=c0' -c:a aac", "centre.m4a", replace(SOUND, level_db=12)
    ),
    _speech(
        "7.1 FLAC", "-af 'pan=7.1|c0=c0|c1=c0|c2=c0|c4=c0|c5=c0|c6=c0|c7=c0'", "round.flac", replace(SOUND, level_db=3)
    ),
    _speech("left channel only", "-af 'pan=stereo|c0=c0|c1=0*c0'", "left.wav", replace(SOUND, level_db=6.5)),
    _speech("opposite phase WAV", "-af 'pan=stereo|c0=c0|c1=-1*c0'", "opposite.wav"),
    _halves("MP3, mono then stereo: joined.mp3", f"-ac 1 {MP3}", f"-ac 2 {MP3}", "base.wav", JOINED_SOUND, _joined),
    _halves(
        "MP3, 44.1 then 48 kHz: rates.mp3", f"-ar 44100 {MP3}", f"-ar 48000 {MP3}", "base.wav", JOINED_SOUND, _joined
    ),
    _halves(
        "two Opus messages joined: chained.ogg",
        "-c:a libopus",
        "-c:a libopus",
        "base.wav",
        JOINED_SOUND,
        _joined,
    ),
    *(
        _speech(name, "", f"a.{suffix}")
        for name, suffix in (("M4A", "m4a"), ("AIFF", "aiff"), ("CAF", "caf"), ("AU", "au"), ("W64", "w64"))
    ),
    _speech("AC-3", "", "a.ac3"),
    _speech("E-AC-3", "", "a.eac3"),
    _speech("WMA", "-c:a wmav2", "a.wma", replace(SOUND, lag_ms=60)),
    _speech("AMR", AMR, "a.amr", replace(SOUND, level_db=3)),
    _speech("3GP, AMR", AMR, "a.3gp", replace(SOUND, level_db=3)),
    _speech("FLAC, 24 bit, 96 kHz", "-ar 96000 -sample_fmt s32", "a.flac"),
    _speech("telephone (mu-law, 8 kHz)", "-ar 8000 -c:a pcm_mulaw", "phone.wav", replace(SOUND, level_db=3)),
]
"""Recordings of speech."""


def written(clip: Clip, kind: Kind) -> Path | None:
    """Makes the file of a kind; returns its path, or None if this build of ffmpeg lacks the encoder."""
    try:
        kind.make(clip)
    except subprocess.CalledProcessError:
        return None
    return clip.folder / kind.file
