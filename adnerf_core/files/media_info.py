"""What a media file holds: its streams, which of them are used, their properties, and how long they really are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import ffmpeg

from adnerf_core.config import FPS
from adnerf_core.errors import ACCEPTED_MEDIA, MediaTooLarge, MediaTooLong, NoAudio, NotMedia
from adnerf_core.files.ffmpeg_process import MAX_PIXELS, running, untrusted_input
from adnerf_core.files.interlacing import PROGRESSIVE, field_order
from adnerf_core.files.media_kinds import HEAD_BYTES, refused_kind
from adnerf_core.files.mp4_faults import require_readable_mp4
from adnerf_core.files.packets import Packets, TooManyPackets, read_packets
from adnerf_core.files.sound_choice import choose_track
from adnerf_core.files.stream_description import AudioStream, Description, VideoStream, parse_description

MAX_SECONDS = 3 * 3600
"""Longest file that is read, s: longer than any footage or audio that is used (600 s and 2 h), so that a recording with
something to cut off still gets a precise answer, and short enough to bound the work of a single request."""

HEADER_TOLERANCE_S = 0.5
"""Difference between the header's and the measured duration up to which the header is taken, since it is the more precise one.
A truncated file is off by more than that; rounding and the last packet's length are off by less."""

COVERED, MIN_RATE_SHARE = 0.5, 0.25
"""Share of the longest video stream that another one must last to be taken for the film: a thumbnail lasts a picture. And share of the
most pictures that it must have: slides beside a camera have one a second."""

HD_WIDTH, HD_HEIGHT = 1280, 577
"""From either size on, px, untagged video is BT.709, as players have it: standard definition ends at 576 lines."""

RESTARTING = ("mpegts", "ogg")
"""Formats whose times may start again, because several recordings were joined, by ffmpeg's names."""

YUV = ("yuv", "nv", "uyvy", "p0")
"""Beginnings of the names of YUV's pixel formats."""

WIDE_GAMUT = ("bt2020", "smpte431", "smpte432")
"""Primaries of SDR video whose colours are converted: read as BT.709's, they would be pale. The last two are those of P3."""

INTERLACED_ROWS, PROGRESSIVE_ROWS, INTERLACED_FPS = (400, 1088), 720, 31.0
"""Heights, px, and largest rate at which video may be interlaced: between 480 and 1080 lines, and something may be cut off, but never the
720 lines of HD; at 25 or 29.97 pictures a second."""

GOOD_FPS = 20.0
"""Pictures a second below which a note says that more are needed: at 25, most would be shown twice."""

ENDS_APART_S = 2.0
"""Difference between the ends of sound and pictures from which a note tells of it, s; recorders are off by some tenths."""

LEAP_S = 10.0
"""Leap of the times that ffmpeg takes for a new recording instead of a gap, s: its own default."""

YUV_MATRICES = ("bt709", "smpte170m", "bt470bg")
"""The matrices of SDR video, by ffmpeg's names; the last two are those of BT.601."""

PLANAR = r"yuvj?4(20|22|44)p"
"""Pixel formats with a plane for each of Y, U and V, whose colours have the full or half the resolution."""

HDR = {"arib-std-b67": "HLG", "smpte2084": "PQ"}
"""Transfer functions of HDR video, by ffmpeg's name."""


@dataclass(frozen=True)
class MediaInfo:
    """What a file holds. Of several video streams or sound tracks, it describes those that are used.

    Attributes:
        duration_s: length of what can be read, s.
        has_video: whether there is a video stream (a cover picture is none).
        has_audio: whether there is an audio stream.
        width: width of a picture as it is shown (rotated, with square pixels), px; 0 without video.
        height: height, likewise.
        fps: frame rate as the file states it; in Matroska it is that of the usual distance between pictures, and does not
            show gaps. 0 without video.
        pictures: the number of pictures in the file; 0 without video.
        pictures_s: time from the first picture to the end of the last one, s.
        video_stream: which of the video streams is used, from 0 on.
        untagged_hd: whether the pictures are YUV without a tagged matrix, in a size in which players take it for BT.709.
        plane_matrix: the matrix of pictures that are stored as planes of YUV, one of YUV_MATRICES, the usual one if untagged; empty if they
            are stored otherwise.
        primaries: colour primaries; empty if untagged.
        transfer: transfer function, likewise; that of HDR is a key of HDR.
        full_range: whether black is 0 and white 255, instead of 16 and 235.
        matrix: of the conversion to RGB, likewise.
        interlaced: whether the pictures consist of two fields, as they show, or else as the file says.
        fields: which field is the first, `tff` or `bff`, or `progressive`, as the pictures show it; empty if they do not tell, or are
            not looked at.
        proprietary: whether only Dolby Vision can tell the colours.
        sample_rate: audio samples per second; 0 without audio.
        channels: 1 for mono, 2 for all else; 0 without audio.
        sound_s: time at which the sound ends, s.
        audio_tracks: number of the file's sound tracks.
        audio_track: which of them is used, from 1 on; 0 without audio.
        channel: the channel to take, because the two cancel each other out; None if they are mixed.
        container: ffmpeg's name of the format, such as `mov`.
        part_s: length of the shortest recording if several were joined and their times start again, s; else 0.
        notes: sentences about what was chosen, is converted or is unusual, each with advice.
    """

    duration_s: float
    has_video: bool
    has_audio: bool
    width: int = 0
    height: int = 0
    fps: float = 0.0
    pictures: int = 0
    pictures_s: float = 0.0
    video_stream: int = 0
    untagged_hd: bool = False
    plane_matrix: str = ""
    primaries: str = ""
    transfer: str = ""
    matrix: str = ""
    full_range: bool = False
    interlaced: bool = False
    fields: str = ""
    proprietary: bool = False
    sample_rate: int = 0
    channels: int = 0
    sound_s: float = 0.0
    audio_tracks: int = 0
    audio_track: int = 0
    channel: int | None = None
    container: str = ""
    part_s: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def hdr(self) -> str:
        """The kind of HDR, `HLG` or `PQ`; empty for SDR."""
        return HDR.get(self.transfer, "")

    @property
    def wide_gamut(self) -> bool:
        """Whether the pictures are SDR with more colours than BT.709 has."""
        return not self.hdr and self.primaries in WIDE_GAMUT


def probe(path: Path, *, audio_track: int | None = None, look: bool = False) -> MediaInfo:
    """Reads a file through and returns what it holds. Only sound is decoded, if there is a choice to make, and its start only.

    Reading to the end is necessary because headers are wrong in truncated files and missing in browser recordings.

    Args:
        path: the file.
        audio_track: the sound track to use, from 1 on; by default the one that holds speech.
        look: whether some pictures are decoded, too, to find out whether they are interlaced.

    Raises:
        NotMedia: if ffmpeg cannot read it, or its format is not on the allow-list.
        NoAudio: if it has no sound track `audio_track`.
        MediaTooLarge: if its pictures have more than MAX_PIXELS.
        MediaTooLong: if it lasts longer than MAX_SECONDS.
    """
    source = untrusted_input(path)
    _refuse_by_head(path)
    description, packets, part_s = _read_through(source)
    chosen = _film(description.videos, packets)
    video = description.videos[chosen] if description.videos else VideoStream()
    film = packets[chosen] if video.width else Packets()
    audios = packets[len(description.videos) :]
    if video.width * video.height > MAX_PIXELS:
        raise MediaTooLarge(f"The pictures have {video.width}x{video.height} pixels.")
    duration = _duration(description, [film, *audios])
    if duration > MAX_SECONDS:
        raise MediaTooLong(f"The file lasts {duration / 3600:.1f} h; the limit is {MAX_SECONDS / 3600:.0f} h.")
    track, channel = _track(path, description.audios, audios, audio_track)
    stream = description.audios[track - 1] if track else None
    fields = field_order(path, chosen, film.seconds) if look and _may_be_interlaced(video) else ""
    info = MediaInfo(
        duration_s=duration,
        has_video=video.width > 0,
        has_audio=track > 0,
        width=video.width,
        height=video.height,
        fps=video.fps,
        pictures=film.count,
        pictures_s=film.seconds,
        video_stream=chosen,
        untagged_hd=video.pixels.startswith(YUV) and not video.matrix and _is_hd(*video.stored),
        plane_matrix=_plane_matrix(video),
        primaries=video.primaries,
        transfer=video.transfer,
        matrix=video.matrix,
        full_range=video.full_range,
        interlaced=fields != PROGRESSIVE and (video.interlaced or bool(fields)),
        fields=fields,
        proprietary=video.proprietary,
        sample_rate=stream.rate if stream else 0,
        channels=stream.channels if stream else 0,
        sound_s=audios[track - 1].end_s if track else 0.0,
        audio_tracks=len(description.audios),
        audio_track=track,
        channel=channel,
        container=description.container,
        part_s=part_s,
    )
    return replace(info, notes=_notes(info))


def _refuse_by_head(path: str | Path) -> None:
    """Raises NotMedia if the first bytes of the file are those of a kind that is never media, such as a playlist, or its boxes tell why not."""
    with Path(path).open("rb") as file:
        if kind := refused_kind(file.read(HEAD_BYTES)):
            raise NotMedia(f"The file is {kind}.", f"{ACCEPTED_MEDIA}.")
    require_readable_mp4(path)


def _plane_matrix(video: VideoStream) -> str:
    """See MediaInfo.plane_matrix; untagged pictures have that of players and of ffmpeg."""
    matrix = video.matrix or ("bt709" if _is_hd(*video.stored) else "smpte170m")
    return matrix if re.match(PLANAR, video.pixels) and matrix in YUV_MATRICES else ""


def continuing(part_s: float) -> list[str]:
    """Returns the arguments with which ffmpeg lets times go on that start again after `part_s`, s; none if that is 0.

    ffmpeg takes a leap for a gap unless it is larger than a threshold. The last packets of each stream come after the leap of the others,
    so that they seem to leap by the length of a part.
    """
    return ["-dts_delta_threshold", f"{min(LEAP_S, part_s / 2):.3f}"] if part_s else []


def _read_through(source: ffmpeg.nodes.FilterableStream) -> tuple[Description, list[Packets], float]:
    """Describes a file and counts the packets of its streams: first those of the video streams, then those of the audio streams.

    Also returns the length of the shortest part if times start again, s, else 0. Raises NotMedia, MediaTooLarge, MediaTooLong.
    """
    log, counted, error = _count(source, ["V?", "a?"])
    found = parse_description(log)
    wanted = [f"V:{n}" for n, video in enumerate(found.videos) if video.width]
    wanted += [f"a:{n}" for n, audio in enumerate(found.audios) if audio.rate]
    if not any(video.width for video in found.videos):
        if found.videos and "Picture size" in log:  # too large for ffmpeg to state it
            raise MediaTooLarge(f"The pictures have more than {MAX_PIXELS} pixels.")
        if error:
            raise error
    if not wanted:
        raise NotMedia("The file is not a video or audio file that can be read.")
    names = [f"V:{n}" for n in range(len(found.videos))] + [f"a:{n}" for n in range(len(found.audios))]
    if not counted and wanted != names:  # ffmpeg copies none of the streams if one of them is of an unknown kind
        _, counted, _ = _count(source, wanted)
        counted = {names.index(wanted[index]): each for index, each in counted.items()}
    part_s = 0.0
    if found.container in RESTARTING:
        _, as_written, _ = _count(source, wanted, "-copyts")
        part_s = min((each.part_s for each in as_written.values() if each.part_s), default=0.0)
        if part_s:
            _, counted, _ = _count(source, wanted, *continuing(part_s))
            counted = {names.index(wanted[index]): each for index, each in counted.items()}
    return found, [counted.get(index, Packets()) for index in range(len(names))], part_s


def _count(
    source: ffmpeg.nodes.FilterableStream, streams: Sequence[str], *arguments: str
) -> tuple[str, dict[int, Packets], Exception | None]:
    """Counts the packets of `streams`; returns ffmpeg's log, the packets, and the error for a limit that was reached."""
    output = ffmpeg.output(*(source[name] for name in streams), "pipe:1", format="framecrc", codec="copy").global_args(
        *arguments
    )
    with running(output, loglevel="info") as child:
        try:
            counted = read_packets(child.stdout)
        except TooManyPackets:
            raise MediaTooLong("The file consists of too many small pieces.") from None
        child.wait()
        return child.log(), counted, child.error()


def _film(videos: list[VideoStream], packets: list[Packets]) -> int:
    """Which video stream is the film: the one with the largest pictures among those that last. 0 without any."""
    films = packets[: len(videos)]
    longest = max((each.seconds for each in films), default=0.0)
    most = max((each.count for each in films), default=0)

    def rank(index: int) -> tuple[bool, int]:
        seconds, count = films[index].seconds, films[index].count
        lasts = count > 1 and seconds >= COVERED * longest and count >= MIN_RATE_SHARE * most
        return lasts, videos[index].width * videos[index].height

    return max(range(len(videos)), key=rank, default=0)


def _duration(description: Description, packets: list[Packets]) -> float:
    """The length of what can be read, s: as stated, if that is what was measured."""
    measured = max(each.end_s for each in packets)
    return description.duration_s if abs(description.duration_s - measured) < HEADER_TOLERANCE_S else measured


def _track(
    path: Path, streams: list[AudioStream], packets: list[Packets], wanted: int | None
) -> tuple[int, int | None]:
    """The sound track to use, from 1 on (0: there is none), and its channel if only one is used."""
    usable = {n: stream.channels for n, stream in enumerate(streams, start=1) if stream.rate}
    if wanted is not None and wanted not in usable:
        tracks = f"{len(streams)} sound track{'s' * (len(streams) != 1)}"
        raise NoAudio(
            f"The file has {tracks}, and no track {wanted} that can be read.",
            f"Choose an audio_track from 1 to {len(streams)}, or leave it out." if usable else None,
        )
    filled = {n: channels for n, channels in usable.items() if packets[n - 1].count}
    if not filled:
        return next(iter(usable), 0), None
    if wanted is not None:
        filled = {wanted: usable[wanted]}
    preferred = next((n for n in filled if streams[n - 1].default), next(iter(filled)))
    return choose_track(path, filled, preferred)


def _may_be_interlaced(video: VideoStream) -> bool:
    """Whether pictures may consist of fields: the file's headers say so, or their size and rate allow it."""
    (least, most), rows = INTERLACED_ROWS, video.stored[1]
    possible = least <= rows <= most and rows != PROGRESSIVE_ROWS and video.fps < INTERLACED_FPS
    return possible or video.interlaced


def _is_hd(width: int, height: int) -> bool:
    return width >= HD_WIDTH or height >= HD_HEIGHT


def _notes(info: MediaInfo) -> list[str]:
    texts = []
    if info.audio_tracks > 1 and info.has_audio:
        texts.append(
            f"The file has {info.audio_tracks} sound tracks, of which track {info.audio_track} is used: choose another with audio_track."
        )
    if info.channel is not None:
        side = ("left", "right")[info.channel]
        texts.append(
            f"The two channels of the sound cancel each other out, so only the {side} one is used: check the microphone's cable."
        )
    if not info.has_video:
        return texts
    if info.hdr:
        texts.append(f"The footage is HDR ({info.hdr}) and was converted to SDR: record in SDR for exact colors.")
    if info.interlaced:
        texts.append("The footage is interlaced and was deinterlaced, which costs detail: record progressive pictures.")
    if info.pictures_s > 0 and (rate := info.pictures / info.pictures_s) < GOOD_FPS:
        texts.append(f"The video has only {rate:.0f} pictures per second: record at {FPS} or more.")
    if info.has_audio and abs(info.sound_s - info.pictures_s) > ENDS_APART_S:
        texts.append(
            f"The sound lasts {info.sound_s:.1f} s and the pictures {info.pictures_s:.1f} s: only what has both is used; check the export."
        )
    return texts
