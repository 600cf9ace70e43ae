"""Reading and writing media files: the only place that runs ffmpeg.

Files come from strangers, so every run of ffmpeg is fenced: containers and protocols from an allow-list (a playlist
named .mp4 cannot pull in other files), limits on pixels, CPU time and memory, argument lists without a shell, absolute
`file:` paths, an environment without the secrets that ours may hold. Children talk to us through pipes: they are killed
when the caller stops reading, and end by themselves (end of file, broken pipe) should this process die.

One timeline a file: its zero is the container's start, pictures and sound keep the offset that they have there. A damaged
or truncated file counts as far as it can be decoded.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import IO

import ffmpeg
import imageio_ffmpeg
import numpy as np

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.errors import DiskFull, MediaTooLarge, MediaTooLong, MissingBackend, NoAudio, NotMedia, NoVideo
from adnerf_core.files.run_dir import atomic
from adnerf_core.files.video_formats import MP4, VideoFormat, format_for

MAX_PIXELS = 4096 * 4096
"""Pixels a frame, at most."""

MAX_SECONDS = 3 * 3600
"""Length of a file, s, at most."""

MEMORY_BYTES = 3 << 30
"""Address space of one ffmpeg. 4096 x 4096 pixels with 10 bit take a third of it."""

MIN_RATE = 4000
"""Samples a second below which sound cannot be speech: one sample a second would make hours of a file of a few kilobytes."""

CPU_SECONDS = 3600
"""CPU time of one ffmpeg, s. Not wall time: whoever consumes the frames may be slow."""

TRIAL_SECONDS = 20
"""How long a system's ffmpeg may take to list its encoders, s."""

# `mov` and `matroska` stand for their whole families (MP4, M4A, 3GP; WebM).
CONTAINERS = "mov,matroska,avi,mpegts,wav,mp3,flac,ogg,aac"

ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_ALL")
"""What ffmpeg is told of our environment: what a program may need to run at all. Passwords of databases and keys of buckets
stand there too, and are nothing for a process that takes strange files apart."""

# Threads multiply frame buffers; two keep memory bounded on machines with many cores.
THREADS = 2

SCALING = "bicubic+accurate_rnd+full_chroma_int"


@dataclass(frozen=True)
class MediaInfo:
    """What a file holds.

    duration_s: length of what can be read, s; start_s: the container's time of our zero, s; width, height: px of a picture
    as it is shown (rotated, square pixels), fps: the frame rate by its own word (in Matroska that of the pictures' usual
    distance, whatever holes are between them), and pictures: how many the file holds, all 0 without video; sample_rate:
    samples a second of the sound, 0 without.
    """

    duration_s: float
    start_s: float
    has_video: bool
    has_audio: bool
    width: int = 0
    height: int = 0
    fps: float = 0.0
    pictures: int = 0
    sample_rate: int = 0


def probe(path: Path) -> MediaInfo:
    """Looks into a file: its streams, and by reading it through (not decoding) how long it really is.

    Raises NotMedia (also for containers that are not on the allow-list), MediaTooLarge, MediaTooLong.
    """
    source = _open(path)
    copy = ffmpeg.output(source["V:0?"], source["a:0?"], "pipe:1", format="null", codec="copy")
    with _running(copy.global_args("-progress", "pipe:1"), loglevel="info") as child:
        progress = child.stdout.read().decode(errors="replace")
        child.wait()
        info = _parse(child.log(), progress)
        if info.width * info.height > MAX_PIXELS:
            raise MediaTooLarge(f"The pictures have {info.width}x{info.height} pixels.")
        if not info.has_video and (error := child.error()):  # such as pictures too large to say how large they are
            raise error
        if not info.has_video and not info.has_audio:
            raise NotMedia(f"{Path(path).name} is no video or audio file that can be read.")
    if info.duration_s > MAX_SECONDS:
        raise MediaTooLong(f"The file lasts {info.duration_s / 3600:.1f} h; the limit is {MAX_SECONDS / 3600:.0f} h.")
    return info


def read_frames(
    path: Path,
    *,
    crop: tuple[int, int, int, int] | None = None,
    size: tuple[int, int] | None = None,
    fps: float = FPS,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> Iterator[np.ndarray]:
    """Streams pictures, [height, width, 3] uint8 RGB, upright, with square pixels.

    Picture k is the one nearest to `start_s` + k / `fps` on the file's timeline; where the pictures start later than the
    sound, the first one is repeated up to there. `crop` is (x, y, width, height) in px of the picture as shown, inside
    it; `size` (width, height) is what that is scaled to. At most `duration_s` are read.
    Raises NotMedia (nothing can be decoded), NoVideo, MediaTooLarge, MediaTooLong.
    """
    info = probe(path)
    if not info.has_video:
        raise NoVideo(f"{Path(path).name} has no pictures.")
    x, y, width, height = crop or (0, 0, info.width, info.height)
    if min(x, y) < 0 or min(width, height) < 1 or x + width > info.width or y + height > info.height:
        raise ValueError(f"crop {crop} is not inside {info.width}x{info.height}")
    # `fps` shows the last picture of the half-open step around k / fps; shifted by this, that is the nearest one. The bound
    # is for variable rates, whose mean says little about single pictures.
    shift = max(-0.02, 0.5 / fps - 0.5 / info.fps) if info.fps else 0.0
    # Seeking a second early leaves `fps` the picture that is still shown at start_s. To the very start nobody seeks: a
    # Matroska file whose end is cut off, and with it the index, cannot do that.
    seek = {"ss": start_s - 1.0} if start_s > 1.0 else {}
    pictures = (
        _open(path, **seek)["V:0"]
        .filter("setpts", f"PTS-({info.start_s - shift})/TB")
        .filter("fps", fps, start_time=start_s)
        .filter("setpts", "N/FRAME_RATE/TB")
        .filter("scale", info.width, info.height, flags=SCALING)
        .filter("crop", width, height, x, y, exact=1)
    )
    if size is not None:
        width, height = size
        pictures = pictures.filter("scale", width, height, flags=SCALING)
    limit = MAX_SECONDS if duration_s is None else duration_s
    number = max(1, round(limit * fps))
    output = ffmpeg.output(
        pictures, "pipe:1", format="rawvideo", pix_fmt="rgb24", threads=THREADS, **{"frames:v": number}
    )
    count = 0
    with _running(output.global_args("-copyts")) as child:
        while True:
            frame = np.empty((height, width, 3), np.uint8)
            if child.stdout.readinto(memoryview(frame).cast("B")) < frame.nbytes:
                break
            count += 1
            yield frame
        child.wait()
        if error := child.error():
            raise error
    if count == 0:
        raise NotMedia(f"No picture of {Path(path).name} can be decoded.")


def stream_audio(path: Path, rate: int = SAMPLE_RATE, duration_s: float = MAX_SECONDS) -> Iterator[np.ndarray]:
    """The sound of a file in pieces of [samples] float32, -1..1, mono, `rate` samples a second, `duration_s` of it at most.

    Sample t of them all belongs to t / `rate` s on the file's timeline: silence in front where the sound starts later.
    Raises NotMedia (nothing can be decoded, or fewer than MIN_RATE samples a second), NoAudio, MediaTooLarge, MediaTooLong,
    DiskFull.
    """
    info = probe(path)
    sound = _audio_input(path, info).filter("aformat", sample_rates=rate, channel_layouts="mono", sample_fmts="s16")
    output = ffmpeg.output(sound, "pipe:1", format="s16le", t=duration_s)
    heard = False
    with _running(output.global_args("-copyts")) as child:
        while chunk := child.stdout.read(1 << 20):
            heard = True
            yield np.frombuffer(chunk, np.int16, count=len(chunk) // 2).astype(np.float32) / 32768
        child.wait()
        if error := child.error():
            raise error
    if not heard:
        raise NotMedia(f"No sound of {Path(path).name} can be decoded.")


def extract_audio(
    path: Path, out: Path | None = None, rate: int = SAMPLE_RATE, duration_s: float = MAX_SECONDS
) -> np.ndarray:
    """The whole of stream_audio in memory, [samples]; a 16-bit WAV of it goes to `out`, if given."""
    samples = np.concatenate(list(stream_audio(path, rate, duration_s)))
    if out is not None:
        write_wav(out, samples, rate)
    return samples


def write_wav(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE) -> None:
    """Writes [samples] float, -1..1 (beyond: clipped), as a mono 16-bit WAV, whole or not at all. Raises DiskFull."""
    with atomic(Path(path)) as temporary, wave.open(str(temporary), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", None))
        for start in range(0, len(samples), 1 << 20):  # in pieces: no copy of hours of sound
            piece = np.clip(np.asarray(samples[start : start + (1 << 20)]) * 32768, -32768, 32767)
            file.writeframesraw(np.rint(piece).astype("<i2").tobytes())


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: float = FPS,
    audio: Path | None = None,
    duration_s: float | None = None,
) -> int:
    """Writes frames, [height, width, 3] uint8 RGB, as a video; returns how many.

    The name decides: .mp4 (H.264 yuv420p, AAC, faststart) or .webm (VP9, Opus). Frames of a WebM may have a fourth channel,
    alpha, with colours that are not multiplied by it: so the format wants it.
    Frames are encoded as they come, so memory stays flat. `audio` is any file with sound, played from its zero, cut or
    padded with silence to the pictures' length; `duration_s` ends the pictures after round(`duration_s` * `fps`) frames.
    An odd width or height gets one more column or row of black. The file appears under its name when it is complete.
    Raises NoAudio and the errors of probe() for `audio`, MissingBackend where ffmpeg lacks an encoder, DiskFull; ValueError
    for no frame, frames of unequal shape, another ending of the name.
    """
    container = format_for(path)
    check_encoders(container)
    sound = None if audio is None else _audio_input(audio, probe(audio))
    frames = islice(frames, None if duration_s is None else max(1, round(duration_s * fps)))
    with atomic(Path(path)) as temporary:
        silent = temporary.with_name(f"{temporary.stem}.silent{temporary.suffix}")
        try:
            count = _encode(silent, frames, fps, container)
            streams = [ffmpeg.input(_url(silent))["v"]]
            if sound is not None:
                seconds = count / fps
                sound = sound.filter("aformat", sample_rates=48000, channel_layouts="mono|stereo")
                # By way of integers: a sound file may hold NaN, which the encoders refuse.
                sound = sound.filter("aformat", sample_fmts="s16")
                streams.append(sound.filter("apad", whole_dur=seconds).filter("atrim", end=seconds))
            options = {"c:v": "copy", **container.audio, **container.muxing}
            output = ffmpeg.output(*streams, _url(temporary), format=container.format, **options)
            with _running(output.global_args("-copyts")) as child:
                if child.wait() != 0:
                    raise child.error() or NotMedia(f"The sound of {Path(audio or path).name} cannot be used.")
        finally:
            silent.unlink(missing_ok=True)
    return count


def check_encoders(container: VideoFormat) -> None:
    """Raises MissingBackend where ffmpeg cannot write such files."""
    missing = [name for name in container.encoders if name not in _encoders(ffmpeg_path())]
    if missing:
        raise MissingBackend(
            f"This ffmpeg cannot write {container.format.upper()}: it lacks {' and '.join(missing)}.",
            "Install an ffmpeg that has them (Debian's has), or ask for the format mp4.",
        )


def _encode(path: Path, frames: Iterable[np.ndarray], fps: float, container: VideoFormat) -> int:
    """Encodes frames into a file without sound; returns how many."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    height, width, channels = shape = first.shape
    alpha = channels == 4
    if alpha and container.alpha is None:
        raise ValueError(f"{container.format} has no alpha channel")
    source = {"format": "rawvideo", "pix_fmt": "rgba" if alpha else "rgb24", "video_size": (width, height)}
    pictures = (
        ffmpeg.input("pipe:0", framerate=fps, **source)
        .filter("pad", "ceil(iw/2)*2", "ceil(ih/2)*2")
        # Players take untagged video for BT.709 or BT.601 as they like, so convert to one of them and say which.
        .filter("scale", flags=SCALING, out_color_matrix="bt709", out_range="tv")
        .filter("format", "yuva420p" if alpha else "yuv420p")
        .filter("setparams", color_primaries="bt709", color_trc="bt709")
    )
    # The same for the encoder: newer ffmpegs believe the pictures, older ones the options.
    tags = dict.fromkeys(("colorspace", "color_primaries", "color_trc"), "bt709")
    options = {**container.video, **(container.alpha if alpha else {}), "threads": THREADS, **tags}
    count = 0
    output = ffmpeg.output(pictures, _url(path), format=container.format, **options)
    with _running(output, stdin=subprocess.PIPE) as child:
        try:
            for frame in chain([first], frames):
                if frame.shape != shape or frame.dtype != np.uint8:
                    raise ValueError(f"frame {count} is {frame.shape} {frame.dtype}; {shape} uint8 is needed")
                child.stdin.write(np.ascontiguousarray(frame).data)
                count += 1
            child.stdin.close()
        except BrokenPipeError:  # ffmpeg gave up: its exit status and log say why
            pass
        if child.wait() != 0:
            raise child.error() or OSError(f"ffmpeg could not encode {path.name}: {child.log()[-500:]}")
    return count


def _audio_input(path: Path, info: MediaInfo):
    """The first sound stream of a file from its zero on, gaps filled with silence. Raises NoAudio, NotMedia."""
    if not info.has_audio:
        raise NoAudio(f"{Path(path).name} has no sound.")
    if info.sample_rate < MIN_RATE:
        raise NotMedia(
            f"The sound of {Path(path).name} has {info.sample_rate} samples a second; speech needs {MIN_RATE}."
        )
    placed = _open(path)["a:0"].filter("asetpts", f"PTS-({info.start_s})/TB")
    return placed.filter("aresample", **{"async": 1}, first_pts=0)


def _url(path: Path) -> str:
    """A path that ffmpeg takes for nothing but a file, whatever its name looks like."""
    return f"file:{Path(path).absolute()}"


def _open(path: Path, **options):
    """A stranger's file as an input, fenced. Raises NotMedia."""
    path = Path(path)
    if not path.is_file() or path.stat().st_size == 0:
        raise NotMedia(f"{path.name} is empty or no file.")
    fence = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS, "max_pixels": MAX_PIXELS, "threads": THREADS}
    return ffmpeg.input(_url(path), **fence, **options)


class _FfmpegProcess(subprocess.Popen):
    """A running ffmpeg with limits."""

    def __init__(self, command: list[str], stdin: int, log: IO[bytes]):
        super().__init__(command, stdin=stdin, stdout=subprocess.PIPE, stderr=log, env=_environment())
        self._log = log
        # From outside, right after the start: code between fork and exec is unsafe in a process with threads.
        for limit, value in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_SECONDS)):
            resource.prlimit(self.pid, limit, (value, value))

    def log(self) -> str:
        """What ffmpeg said, its last 256 kB."""
        end = self._log.seek(0, 2)
        self._log.seek(max(0, end - (1 << 18)))
        return self._log.read().decode(errors="replace")

    def error(self) -> Exception | None:
        """The error for a limit that was hit or a full disk; None if ffmpeg ended well or only met damaged data."""
        log = self.log()
        if re.search(r"Cannot allocate memory|get_buffer\(\) failed|Resource temporarily unavailable", log):
            return MediaTooLarge("Decoding this file takes too much memory.")
        if self.returncode == 0:
            return None
        if "No space left on device" in log or "Disk quota exceeded" in log:
            return DiskFull("No space left to write a media file.")
        if "Picture size" in log:
            return MediaTooLarge(f"The pictures have more than {MAX_PIXELS} pixels.")
        if self.returncode in (-24, -9):  # SIGXCPU, and SIGKILL at the hard limit
            return MediaTooLong("Decoding this file takes too long.")
        return None


@contextmanager
def _running(output, *, stdin: int = subprocess.DEVNULL, loglevel: str = "error") -> Iterator[_FfmpegProcess]:
    """Runs a built graph; on leaving the block the child is gone, by force if need be."""
    arguments = f"-hide_banner -nostats -loglevel {loglevel} -y -filter_complex_threads {THREADS}".split()
    command = output.global_args(*arguments).compile(cmd=ffmpeg_path())
    with tempfile.TemporaryFile() as log:
        child = _FfmpegProcess(command, stdin, log)
        try:
            yield child
        finally:
            child.kill()
            child.stdout.close()
            if child.stdin is not None:
                with suppress(BrokenPipeError):
                    child.stdin.close()
            child.wait()


def _environment() -> dict[str, str]:
    """The environment of every ffmpeg."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


@lru_cache(maxsize=1)
def ffmpeg_path() -> str:
    """The ffmpeg to use: the system's where it works and can write H.264, else the one that imageio-ffmpeg brings."""
    system = shutil.which("ffmpeg")
    if system is not None and _encoders(system).issuperset(MP4.encoders):
        return system
    return imageio_ffmpeg.get_ffmpeg_exe()


@lru_cache(maxsize=4)
def _encoders(command: str) -> frozenset[str]:
    """The names of the encoders that an ffmpeg has; none where it does not work."""
    try:
        listing = subprocess.run(
            [command, "-hide_banner", "-encoders"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=_environment(),
            timeout=TRIAL_SECONDS,
            check=True,
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError):
        return frozenset()
    return frozenset(re.findall(r"^ [VAS][A-Z.]{5} (\S+)", listing, re.M))


def _parse(log: str, progress: str) -> MediaInfo:
    """Reads ffmpeg's description of its input and its report of how far it came."""
    description = re.split(r"^Output #0", log, maxsplit=1, flags=re.M)[0]
    header = re.search(r"^  Duration: (?:N/A|(\d+):(\d+):([\d.]+))(?:, start: (-?[\d.]+))?", description, re.M)
    hours, minutes, seconds, start = header.groups() if header else (None,) * 4
    promised = float(hours) * 3600 + float(minutes) * 60 + float(seconds) if hours else 0.0
    ends = re.findall(r"^out_time=(\d+):(\d+):([\d.]+)", progress, re.M)
    measured = sum(float(part) * unit for part, unit in zip(ends[-1], (3600, 60, 1), strict=True)) if ends else 0.0
    # The header is exact where it is true; it is not in truncated files, and missing in what browsers record.
    duration = promised if abs(promised - measured) < 0.5 else measured
    counts = re.findall(r"^frame=\s*(\d+)", progress, re.M)

    streams = re.split(r"^ {2,4}(?=Stream #0:\d+)", description, flags=re.M)[1:]
    videos = [s for s in streams if re.match(r"Stream #\S+: Video: ", s) and "(attached pic)" not in s.split("\n")[0]]
    rates = [int(found[1]) for s in streams if (found := re.match(r"Stream #\S+: Audio: .*\b([1-9]\d*) Hz", s))]
    width, height, fps = _parse_video_stream(videos[0]) if videos else (0, 0, 0.0)
    pictures = int(counts[-1]) if counts and width else 0
    rate = rates[0] if rates else 0
    return MediaInfo(duration, float(start or 0), width > 0, bool(rates), width, height, fps, pictures, rate)


def _parse_video_stream(stream: str) -> tuple[int, int, float]:
    """Width, height (as shown) and frame rate from the description of a video stream; zeros where not given."""
    line = stream.split("\n")[0]
    dimensions = re.search(r", (\d+)x(\d+)(?: \[SAR (\d+):(\d+))?", line)
    if dimensions is None:
        return 0, 0, 0.0
    width, height, wide, high = (int(number or 1) for number in dimensions.groups())
    width = max(1, round(width * wide / high))
    rotation = re.search(r"rotation of (-?[\d.]+) degrees", stream)
    if rotation and round(float(rotation[1])) % 180 == 90:
        width, height = height, width
    rate = re.search(r", ([\d.]+)(k?) (?:fps|tbr)", line)
    return width, height, float(rate[1]) * (1000 if rate[2] else 1) if rate else 0.0
