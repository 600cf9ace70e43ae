"""Reading and writing media with a real ffmpeg, on files that the tests make: pictures whose brightness tells their time, and a beep."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
import threading
from fractions import Fraction
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import pytest

from adnerf_core.errors import DiskFull, MediaTooLarge, MediaTooLong, NoAudio, NotMedia, NoVideo
from adnerf_core.files import ffmpeg, ffmpeg_process, media_info

# Brightness rises by 4 a frame of 25 a second; the beep lasts from 1.0 to 1.2 s.
CLOCK = "nullsrc=s=64x48:r={rate}:d=2,geq=lum='20+100*T':cb=128:cr=128"
BEEP = "aevalsrc='0.5*sin(2*PI*1000*t)*between(t,1,1.2)':s=48000:d=2"


def run_ffmpeg(*arguments: str | Path) -> None:
    command = [ffmpeg.ffmpeg_path(), "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


def clip(path: Path, *options: str, rate: str = "25", video: bool = True, audio: bool = True) -> Path:
    """Two seconds of clock and beep, with encoder options."""
    pictures = ["-f", "lavfi", "-i", CLOCK.format(rate=rate)] if video else []
    sound = ["-f", "lavfi", "-i", BEEP] if audio else []
    run_ffmpeg(*pictures, *sound, *options, path)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return clip(tmp_path_factory.mktemp("media") / "plain.mp4", "-pix_fmt", "yuv420p", "-movflags", "+faststart")


def times(frames) -> np.ndarray:
    """What each picture's brightness says about its time, s. (The clock is limited-range luma: 16..235 becomes 0..255.)"""
    gray = np.array([frame[8:-8, 8:-8].mean() for frame in frames])
    return (gray * 219 / 255 + 16 - 20) / 100


def beep_start(samples: np.ndarray, rate: int = 16000) -> float:
    loud = np.flatnonzero(np.abs(samples) > 0.2)
    assert 0.19 < (loud[-1] - loud[0]) / rate < 0.21
    return loud[0] / rate


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", ["-pix_fmt", "yuv420p"]),
        ("a.m4v", ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"]),
        ("a.mov", ["-c:v", "mjpeg", "-c:a", "pcm_s16le"]),
        ("a.mkv", ["-c:v", "libx264", "-c:a", "flac"]),
        ("a.webm", ["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"]),
        ("a.avi", ["-c:v", "mpeg4", "-q:v", "2", "-c:a", "libmp3lame"]),
        ("a.ts", ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"]),
        ("tenbit.mkv", ["-c:v", "ffv1", "-pix_fmt", "yuv420p10le"]),
    ],
)
def test_containers(tmp_path, name, options):
    path = clip(tmp_path / name, *options)
    info = ffmpeg.probe(path)
    assert (info.has_video, info.has_audio, info.width, info.height) == (True, True, 64, 48)
    assert info.fps == pytest.approx(25, abs=0.5) and info.duration_s == pytest.approx(2, abs=0.12)
    seen = times(ffmpeg.read_frames(path))
    assert abs(len(seen) - 50) <= 1
    assert np.abs(seen - np.arange(len(seen)) / 25).max() < 0.05
    assert beep_start(ffmpeg.extract_audio(path)) == pytest.approx(1, abs=0.035)


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a.flac", "a.ogg", "a.opus", "a.aac"])
def test_sound_files(tmp_path, name):
    path = clip(tmp_path / name, video=False)
    info = ffmpeg.probe(path)
    assert (info.has_video, info.has_audio, info.width) == (False, True, 0)
    samples = ffmpeg.extract_audio(path)
    assert samples.dtype == np.float32 and samples.ndim == 1 and len(samples) == pytest.approx(32000, abs=1500)
    assert beep_start(samples) == pytest.approx(1, abs=0.03) and np.abs(samples).max() == pytest.approx(0.5, abs=0.1)
    with pytest.raises(NoVideo):
        next(ffmpeg.read_frames(path))


@pytest.mark.parametrize("rate", ["30", "60", "30000/1001", "12"])
def test_frames_stand_at_their_time_whatever_the_rate(tmp_path, rate):
    path = clip(tmp_path / "a.mp4", "-pix_fmt", "yuv420p", "-qp", "0", rate=rate)
    seen = times(ffmpeg.read_frames(path))
    assert abs(len(seen) - 50) <= 1
    assert np.abs(seen - np.arange(len(seen)) / 25).max() < 0.5 / Fraction(rate) + 0.008


def test_variable_frame_rate(tmp_path):
    slow_then_fast = "select='if(lt(t,1),not(mod(n,5)),1)'"  # 5 frames in the first second, 25 in the second
    path = clip(tmp_path / "a.mkv", "-vf", slow_then_fast, "-fps_mode", "passthrough", "-pix_fmt", "yuv420p")
    seen = times(ffmpeg.read_frames(path))
    lateness = np.arange(50) / 25 - seen
    assert len(seen) == 50 and lateness[26:] == pytest.approx(0, abs=0.03)
    assert lateness[:25].max() == pytest.approx(0.16, abs=0.03) and lateness.min() > -0.03


def test_part_of_a_file(plain):
    seen = times(ffmpeg.read_frames(plain, start_s=0.8, duration_s=0.4))
    assert seen == pytest.approx(0.8 + np.arange(10) / 25, abs=0.02)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.ts"])
def test_pictures_that_start_late(tmp_path, plain, name):
    path = tmp_path / name
    run_ffmpeg("-itsoffset", "0.48", "-i", plain, "-i", plain, "-map", "0:v", "-map", "1:a", "-c", "copy", path)
    seen = times(ffmpeg.read_frames(path))
    assert abs(len(seen) - 62) <= 1
    assert seen[:12] == pytest.approx(0, abs=0.02)
    assert seen[12:61] == pytest.approx(np.arange(49) / 25, abs=0.06)  # MPEG-TS adds the AAC priming
    assert beep_start(ffmpeg.extract_audio(path)) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.ts"])
def test_sound_that_starts_late(tmp_path, plain, name):
    path = tmp_path / name
    run_ffmpeg("-i", plain, "-itsoffset", "0.48", "-i", plain, "-map", "0:v", "-map", "1:a", "-c", "copy", path)
    assert times(ffmpeg.read_frames(path)) == pytest.approx(np.arange(50) / 25, abs=0.06)
    samples = ffmpeg.extract_audio(path)
    assert beep_start(samples) == pytest.approx(1.48, abs=0.03)
    assert len(samples) == pytest.approx(2.48 * 16000, abs=800)


def test_rotation_is_applied(tmp_path):
    flat, turned = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "color=black:s=64x48:d=1,drawbox=0:0:16:16:white:fill", "-pix_fmt", "yuv420p", flat)
    run_ffmpeg("-display_rotation", "-90", "-i", flat, "-c", "copy", turned)
    info = ffmpeg.probe(turned)
    assert (info.width, info.height) == (48, 64)
    frame = next(ffmpeg.read_frames(turned))
    assert frame.shape == (64, 48, 3)
    assert frame[4, 44].min() > 200 and frame[4, 4].max() < 50  # clockwise: top left comes to the top right


def test_pixels_become_square(tmp_path):
    path = clip(tmp_path / "wide.mp4", "-vf", "setsar=2", "-pix_fmt", "yuv420p")
    info = ffmpeg.probe(path)
    assert (info.width, info.height) == (128, 48)
    assert next(ffmpeg.read_frames(path)).shape == (48, 128, 3)


def test_odd_sizes_crop_and_scale(tmp_path):
    path = tmp_path / "odd.mkv"
    source = "color=black:s=63x47:d=1,format=rgb24,drawbox=20:10:21:15:red:fill"
    run_ffmpeg("-f", "lavfi", "-i", source, "-c:v", "ffv1", "-pix_fmt", "bgr0", path)
    assert next(ffmpeg.read_frames(path)).shape == (47, 63, 3)
    cropped = next(ffmpeg.read_frames(path, crop=(20, 10, 21, 15)))
    assert cropped.shape == (15, 21, 3) and cropped[..., 0].min() > 250 and cropped[..., 1:].max() < 5
    assert next(ffmpeg.read_frames(path, crop=(20, 10, 21, 15), size=(32, 24))).shape == (24, 32, 3)
    with pytest.raises(ValueError, match="not inside"):
        next(ffmpeg.read_frames(path, crop=(20, 10, 50, 15)))


@pytest.mark.parametrize(("name", "channels"), [("a.mp4", 3), ("a.webm", 3), ("a.webm", 4)])
def test_videos_name_all_three_parts_of_their_colours(tmp_path, name, channels):
    """Matrix, primaries and transfer: browsers guess what is missing, and show other colours."""
    path = tmp_path / name
    ffmpeg.write_video(path, [np.full((48, 64, channels), 90, np.uint8)] * 3)
    said = subprocess.run([ffmpeg.ffmpeg_path(), "-hide_banner", "-i", path], capture_output=True, text=True).stderr
    assert "(tv, bt709, progressive)" in said or "(tv, bt709)" in said, said  # three times the same is said once


def test_colours_survive_writing_and_reading(tmp_path):
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:24, :32], frame[:24, 32:], frame[24:, :32], frame[24:, 32:] = (
        (220, 40, 40),
        (40, 200, 60),
        (50, 60, 210),
        (128,) * 3,
    )
    ffmpeg.write_video(tmp_path / "a.mp4", repeat(frame, 5))
    back = next(ffmpeg.read_frames(tmp_path / "a.mp4"))
    for y, x in ((12, 16), (12, 48), (36, 16), (36, 48)):
        assert back[y, x] == pytest.approx(frame[y, x], abs=4)


@pytest.mark.parametrize("sound_s", [1.5, 2, 30])
def test_written_video_has_its_frames_and_sound_in_sync(tmp_path, sound_s):
    rate = 44100
    sound = np.zeros(int(sound_s * rate), np.float32)
    sound[rate : int(rate * 1.2)] = 0.5 * np.sin(np.arange(int(rate * 0.2)) * 0.15)
    ffmpeg.write_wav(tmp_path / "in.wav", sound, rate)
    frames = (np.full((63, 65, 3), 255 if k == 25 else 30, np.uint8) for k in range(51))
    out = tmp_path / "out.mp4"
    assert ffmpeg.write_video(out, frames, audio=tmp_path / "in.wav") == 51
    info = ffmpeg.probe(out)
    assert (info.width, info.height, info.fps) == (66, 64, 25) and info.duration_s == pytest.approx(2.04, abs=0.011)
    back = np.array([frame.mean() for frame in ffmpeg.read_frames(out)])
    assert len(back) == 51 and back.argmax() == 25
    samples = ffmpeg.extract_audio(out)
    assert len(samples) == pytest.approx(2.04 * 16000, abs=16)
    assert beep_start(samples) == pytest.approx(1, abs=0.003)
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert sorted(os.listdir(tmp_path)) == ["in.wav", "out.mp4"]


def test_written_video_ends_where_it_is_told(tmp_path, plain):
    black = np.zeros((32, 32, 3), np.uint8)
    assert ffmpeg.write_video(tmp_path / "a.mp4", repeat(black), audio=plain, duration_s=1.5) == 38
    assert len(ffmpeg.extract_audio(tmp_path / "a.mp4")) == pytest.approx(1.52 * 16000, abs=16)


def test_writing_keeps_to_whole_files(tmp_path):
    out = tmp_path / "a.mp4"

    def broken():
        yield np.zeros((32, 32, 3), np.uint8)
        raise RuntimeError("renderer")

    with pytest.raises(RuntimeError, match="renderer"):
        ffmpeg.write_video(out, broken())
    with pytest.raises(ValueError, match="at least one"):
        ffmpeg.write_video(out, [])
    with pytest.raises(ValueError, match="frame 1"):
        ffmpeg.write_video(out, [np.zeros((32, 32, 3), np.uint8), np.zeros((32, 34, 3), np.uint8)])
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(NotMedia):
        ffmpeg.write_video(out, [np.zeros((32, 32, 3), np.uint8)], audio=tmp_path / "text.wav")
    assert not out.exists() and os.listdir(tmp_path) == ["text.wav"]


def test_sound_with_nan_is_usable(tmp_path):
    samples = np.zeros(16000, np.float32)
    samples[4000:8000] = np.nan
    samples[8000:9000] = np.inf
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 64036, b"WAVE", b"fmt ", 16, 3, 1, 16000, 64000, 4, 32, b"data", 64000
    )
    path = tmp_path / "nan.wav"
    path.write_bytes(header + samples.tobytes())
    assert np.isfinite(ffmpeg.extract_audio(path)).all() and np.abs(ffmpeg.extract_audio(path)).max() <= 1
    assert ffmpeg.write_video(tmp_path / "a.mp4", repeat(np.zeros((32, 32, 3), np.uint8), 25), audio=path) == 25


@pytest.mark.parametrize("rate", [1, 100, 3999])
def test_sound_too_coarse_for_speech_is_refused(tmp_path, plain, rate):
    """A header that makes two hours of 12 kB, and what is as coarse."""
    path = tmp_path / "coarse.wav"
    ffmpeg.write_wav(path, np.tile([0.3, -0.3], 3200), rate)
    assert ffmpeg.probe(path).sample_rate == rate
    for use in (ffmpeg.extract_audio, lambda sound: ffmpeg.write_video(tmp_path / "a.mp4", [], audio=sound)):
        with pytest.raises(NotMedia, match=f"{rate} samples a second"):
            use(path)


def test_telephone_sound_is_heard(tmp_path):
    path = clip(tmp_path / "phone.wav", "-ar", "8000", "-c:a", "pcm_alaw", video=False)
    assert ffmpeg.probe(path).sample_rate == 8000
    assert beep_start(ffmpeg.extract_audio(path)) == pytest.approx(1, abs=0.01)


def test_wav_round_trip(tmp_path):
    samples = np.array([0, 0.25, -0.5, 1.5, -2], np.float32).repeat(100)
    ffmpeg.write_wav(tmp_path / "a.wav", samples, 16000)
    back = ffmpeg.extract_audio(tmp_path / "a.wav")
    assert back == pytest.approx(samples.clip(-1, 1), abs=1e-4)
    ffmpeg.write_wav(tmp_path / "b.wav", back)
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()


def test_truncated_files_count_as_far_as_they_go(tmp_path, plain):
    whole = plain.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    assert 0.2 < ffmpeg.probe(cut).duration_s < 1.9
    assert 5 <= len(list(ffmpeg.read_frames(cut))) < 50
    assert 0.1 < len(ffmpeg.extract_audio(cut)) / 16000 < 1.9
    index_only = tmp_path / "index.mp4"
    index_only.write_bytes(whole[: whole.index(b"mdat") + 4])
    with pytest.raises(NotMedia):
        list(ffmpeg.read_frames(index_only))
    with pytest.raises(NotMedia):
        ffmpeg.extract_audio(index_only)
    headless = tmp_path / "headless.mp4"
    headless.write_bytes(whole[whole.index(b"mdat") - 4 :])
    with pytest.raises(NotMedia):
        ffmpeg.probe(headless)


def test_matroska_without_its_end_counts_as_far_as_it_goes(tmp_path):
    """Its index is the end; without it, and with a single key picture, there is no seeking, not even to the start."""
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=8", "-c:v", "libx264", "-g", "250", whole)
    cut.write_bytes(whole.read_bytes()[:-2000])
    assert len(list(ffmpeg.read_frames(whole))) == 200
    assert 190 < len(list(ffmpeg.read_frames(cut))) < 200
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 50 < len(list(ffmpeg.read_frames(cut))) < 150


def test_damage_in_the_middle_is_survived(tmp_path, plain):
    data = bytearray(plain.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 300] = bytes(range(256)) + bytes(44)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    assert 25 <= len(list(ffmpeg.read_frames(path))) <= 50
    assert len(ffmpeg.extract_audio(path)) > 16000


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("a.mp4", ["-pix_fmt", "yuv420p"]),
        ("a.mkv", ["-c:v", "libx264"]),
        ("a.webm", ["-c:v", "libvpx", "-c:a", "libopus"]),
        ("a.avi", ["-c:v", "mjpeg", "-c:a", "pcm_s16le"]),
    ],
)
def test_pictures_are_counted_whatever_their_times(tmp_path, name, codecs):
    path = clip(tmp_path / name, *codecs, "-vf", "setpts='PTS+gt(N,9)*60/TB'", "-fps_mode", "vfr")
    info = ffmpeg.probe(path)
    assert (info.pictures, info.duration_s) == (50, pytest.approx(62, abs=0.1))
    assert ffmpeg.probe(clip(tmp_path / "sound.wav", video=False)).pictures == 0


def test_what_is_no_media(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello, this is no video\n" * 99)
    (tmp_path / "text.mp3").write_text("hello, this is no sound\n" * 99)
    (tmp_path / "text.aac").write_text("hello, this is no sound\n" * 99)
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "picture.mp4").write_bytes((tmp_path / "picture.png").read_bytes())
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(100_000))
    for path in [*tmp_path.iterdir(), tmp_path, tmp_path / "missing.mp4"]:
        with pytest.raises(NotMedia) as caught:
            ffmpeg.probe(path)
        assert caught.value.code == "not_media" and str(tmp_path) not in caught.value.message and caught.value.remedy


@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.txt", "list.wav"])
@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{secret}'\n",
        "#EXTM3U\n#EXTINF:9,\nfile:{secret}\n#EXT-X-ENDLIST\n",
    ],
)
def test_playlists_cannot_reach_other_files(tmp_path, plain, name, text):
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(plain.read_bytes())
    os.utime(secret, (1, os.stat(secret).st_mtime))  # so old that any read moves the time of access
    evil = tmp_path / name
    evil.write_text(text.format(secret=secret))
    for use in (ffmpeg.probe, lambda path: next(ffmpeg.read_frames(path)), ffmpeg.extract_audio):
        with pytest.raises(NotMedia):
            use(evil)
    with pytest.raises(NotMedia):
        ffmpeg.write_video(tmp_path / "out.mp4", [np.zeros((32, 32, 3), np.uint8)], audio=evil)
    assert os.stat(secret).st_atime == 1 and not (tmp_path / "out.mp4").exists()


def test_a_cover_picture_is_no_video(tmp_path):
    cv2.imwrite(str(tmp_path / "cover.jpg"), np.zeros((64, 64, 3), np.uint8))
    song = clip(tmp_path / "song.mp3", video=False)
    path = tmp_path / "covered.mp3"
    run_ffmpeg(
        "-i",
        song,
        "-i",
        tmp_path / "cover.jpg",
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-disposition:v",
        "attached_pic",
        path,
    )
    assert not ffmpeg.probe(path).has_video and ffmpeg.probe(path).has_audio
    with pytest.raises(NoVideo):
        next(ffmpeg.read_frames(path))


def test_video_without_sound(tmp_path):
    path = clip(tmp_path / "mute.mp4", "-pix_fmt", "yuv420p", audio=False)
    assert not ffmpeg.probe(path).has_audio
    with pytest.raises(NoAudio):
        ffmpeg.extract_audio(path)
    with pytest.raises(NoAudio):
        ffmpeg.write_video(tmp_path / "out.mp4", [np.zeros((32, 32, 3), np.uint8)], audio=path)


def resized(path: Path, width: int, height: int) -> Path:
    """A small Motion JPEG clip whose headers claim another size."""
    small = path.with_name("small.avi")
    run_ffmpeg("-f", "lavfi", "-i", "color=gray:s=160x144:d=0.2", "-c:v", "mjpeg", small)
    data = small.read_bytes().replace(struct.pack("<ii", 160, 144), struct.pack("<ii", width, height))
    data = data.replace(struct.pack(">HH", 144, 160), struct.pack(">HH", height, width))
    path.write_bytes(data)
    return path


# In a process of its own, whose children are no others than these.
MEASURE = """
import resource, sys
from adnerf_core.errors import MediaTooLarge
from adnerf_core.files import ffmpeg
codes = []
for use in (ffmpeg.probe, lambda path: next(ffmpeg.read_frames(path))):
    try:
        use(sys.argv[1])
    except MediaTooLarge as error:
        codes.append(error.code)
print(",".join(codes), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.parametrize("size", [(16000, 16000), (30000, 30000)])
def test_huge_pictures_are_refused_in_little_memory(tmp_path, size):
    path = resized(tmp_path / "huge.avi", *size)
    measured = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True).stdout
    codes, kilobytes = measured.split()
    assert codes == "media_too_large,media_too_large" and int(kilobytes) < 400_000


def test_pictures_too_large_beside_sound_are_not_taken_for_none(tmp_path):
    path = tmp_path / "huge.mov"
    pictures = ("-f", "lavfi", "-i", "color=gray:s=6000x6000:r=5:d=0.4", "-c:v", "png", "-pix_fmt", "gray")
    run_ffmpeg("-f", "lavfi", "-i", BEEP, *pictures, path)
    with pytest.raises(MediaTooLarge):
        ffmpeg.probe(path)


def test_memory_limit(tmp_path, monkeypatch):
    path = tmp_path / "large.avi"
    run_ffmpeg("-f", "lavfi", "-i", "color=gray:s=4000x4000", "-frames:v", "1", "-c:v", "mjpeg", path)
    assert next(ffmpeg.read_frames(path)).shape == (4000, 4000, 3)
    monkeypatch.setattr(ffmpeg_process, "MEMORY_BYTES", 300 << 20)
    with pytest.raises(MediaTooLarge):
        next(ffmpeg.read_frames(path))


def test_ten_hours_of_silence(tmp_path, monkeypatch):
    minute = tmp_path / "minute.aac"
    run_ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono:d=60", minute)
    hours = tmp_path / "hours.aac"
    hours.write_bytes(minute.read_bytes() * 600)
    for use in (ffmpeg.probe, ffmpeg.extract_audio):
        with pytest.raises(MediaTooLong) as caught:
            use(hours)
        assert caught.value.code == "media_too_long" and "10.0 h" in caught.value.message
    monkeypatch.setattr(media_info, "MAX_SECONDS", 1e9)
    monkeypatch.setattr(ffmpeg_process, "CPU_SECONDS", 1)
    with pytest.raises(MediaTooLong, match="takes too long"):
        ffmpeg.extract_audio(hours)


@pytest.mark.parametrize(
    "name", ["-i.mp4", "a:b.mp4", "%03d.mp4", "spa ce'\"\\.mp4", "http:..mp4", "ünï\n.mp4", "[x],;=.mp4"]
)
def test_strange_names(tmp_path, monkeypatch, plain, name):
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.write_bytes(plain.read_bytes())
    assert ffmpeg.probe(path).has_video
    written = Path("out" + name)
    assert ffmpeg.write_video(written, ffmpeg.read_frames(path, duration_s=0.2), audio=path) == 5
    assert ffmpeg.probe(written).duration_s == pytest.approx(0.2, abs=0.011)


def children() -> set[str]:
    pid = os.getpid()
    return {
        c for t in os.listdir(f"/proc/{pid}/task") for c in Path(f"/proc/{pid}/task/{t}/children").read_text().split()
    }


def test_no_child_stays_behind(plain):
    before = children()
    frames = ffmpeg.read_frames(plain)
    next(frames)
    assert len(children() - before) == 1
    frames.close()
    assert children() <= before


def test_ffmpeg_knows_no_secrets(tmp_path, monkeypatch, plain):
    """Whoever takes a file apart, reads its sound or writes one is told where programs and libraries lie, nothing else."""
    monkeypatch.setenv("ADNERF_DATABASE_URL", "postgresql://ann:secret@db/adnerf")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("FFREPORT", f"file={tmp_path}/secret.log")
    told = []

    class Told(ffmpeg_process.FfmpegProcess):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            told.append(Path(f"/proc/{self.pid}/environ").read_bytes())

    monkeypatch.setattr(ffmpeg_process, "FfmpegProcess", Told)
    assert len(ffmpeg.extract_audio(plain)) == 32000
    ffmpeg.write_video(tmp_path / "out.mp4", ffmpeg.read_frames(plain, duration_s=0.2), audio=plain)
    assert len(told) >= 6 and not any(b"secret" in each for each in told)
    assert any(each.startswith(b"PATH=") or b"\0PATH=" in each for each in told)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_readers_in_several_threads(plain):
    found = []
    threads = [threading.Thread(target=lambda: found.append(len(list(ffmpeg.read_frames(plain))))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [50] * 4


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_full_disk(tmp_path, monkeypatch):
    fake = script(
        tmp_path / "ffmpeg",
        "case $2 in -encoders) echo ' V....D libx264'; echo ' A....D aac'; exit;; esac\n"
        "cat >/dev/null; echo 'Error writing trailer: No space left on device' >&2; exit 1",
    )
    monkeypatch.setattr(ffmpeg_process, "ffmpeg_path", lambda: fake)
    with pytest.raises(DiskFull):
        ffmpeg.write_video(tmp_path / "a.mp4", [np.zeros((32, 32, 3), np.uint8)])


def test_a_really_full_disk(small_disk):
    random = np.random.default_rng(0)
    noise = (random.integers(0, 256, (256, 256, 3), np.uint8) for _ in range(1000))
    with pytest.raises(DiskFull):
        ffmpeg.write_video(small_disk / "a.mp4", noise)
    with pytest.raises(DiskFull):
        ffmpeg.write_wav(small_disk / "a.wav", np.zeros(3_000_000, np.float32))
    assert os.listdir(small_disk) == []


@pytest.mark.parametrize("text", ["exit 1", "echo ' V..... mpeg4 '", "sleep 60"])
def test_a_useless_system_ffmpeg_is_passed_over(tmp_path, monkeypatch, text):
    script(tmp_path / "ffmpeg", text)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(ffmpeg_process, "TRIAL_SECONDS", 0.3)
    ffmpeg.ffmpeg_path.cache_clear()
    try:
        assert ffmpeg.ffmpeg_path() != str(tmp_path / "ffmpeg")
    finally:
        ffmpeg.ffmpeg_path.cache_clear()


def test_a_working_system_ffmpeg_comes_first(tmp_path, monkeypatch):
    (tmp_path / "ffmpeg").symlink_to(ffmpeg.ffmpeg_path())
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    ffmpeg.ffmpeg_path.cache_clear()
    try:
        assert ffmpeg.ffmpeg_path() == str(tmp_path / "ffmpeg")
    finally:
        ffmpeg.ffmpeg_path.cache_clear()


def test_the_reference_clip(tmp_path):
    path = Path(__file__).parents[4] / "shared" / "media" / "reference.mp4"
    if not path.exists():
        pytest.skip("shared/media is not here")
    info = ffmpeg.probe(path)
    assert (info.width, info.height, info.fps) == (512, 512, 30) and info.duration_s == pytest.approx(50.43, abs=0.02)
    frames = list(ffmpeg.read_frames(path, size=(64, 64), duration_s=0.4))
    assert np.array_equal(frames[0], frames[1])  # its pictures start at 80 ms
    assert not np.array_equal(frames[3], frames[4])
    assert len(ffmpeg.extract_audio(path)) == pytest.approx(50.43 * 16000, abs=320)
