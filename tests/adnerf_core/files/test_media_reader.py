"""Decoding pictures and sound: formats, frame rates, offsets between pictures and sound, and damaged files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from adnerf_core.errors import NoAudio, NotMedia, NoVideo
from adnerf_core.files import ffmpeg
from adnerf_core.files.footage_reader import FootageReader
from adnerf_core.files.yuv import planes
from tests.adnerf_core.files.clock import beep_start, clip, run_ffmpeg, times


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
    shown = times(ffmpeg.read_frames(path))
    assert abs(len(shown) - 50) <= 1
    assert np.abs(shown - np.arange(len(shown)) / 25).max() < 0.05
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
def test_frames_have_their_time_whatever_the_frame_rate(tmp_path, rate):
    path = clip(tmp_path / "a.mp4", "-pix_fmt", "yuv420p", "-qp", "0", rate=rate)
    shown = times(ffmpeg.read_frames(path))
    assert abs(len(shown) - 50) <= 1
    assert np.abs(shown - np.arange(len(shown)) / 25).max() < 0.5 / Fraction(rate) + 0.008


def test_variable_frame_rate(tmp_path):
    slow_then_fast = "select='if(lt(t,1),not(mod(n,5)),1)'"  # 5 frames in the first second, 25 in the second
    path = clip(tmp_path / "a.mkv", "-vf", slow_then_fast, "-fps_mode", "passthrough", "-pix_fmt", "yuv420p")
    shown = times(ffmpeg.read_frames(path))
    lateness = np.arange(50) / 25 - shown
    assert len(shown) == 50 and lateness[26:] == pytest.approx(0, abs=0.03)
    assert lateness[:25].max() == pytest.approx(0.16, abs=0.03) and lateness.min() > -0.03


def test_part_of_a_file(plain):
    shown = times(ffmpeg.read_frames(plain, start_s=0.8, duration_s=0.4))
    assert shown == pytest.approx(0.8 + np.arange(10) / 25, abs=0.02)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.ts"])
def test_pictures_that_start_late(tmp_path, plain, name):
    path = tmp_path / name
    run_ffmpeg("-itsoffset", "0.48", "-i", plain, "-i", plain, "-map", "0:v", "-map", "1:a", "-c", "copy", path)
    shown = times(ffmpeg.read_frames(path))
    assert abs(len(shown) - 62) <= 1
    assert shown[:12] == pytest.approx(0, abs=0.02)
    assert shown[12:61] == pytest.approx(np.arange(49) / 25, abs=0.06)  # MPEG-TS adds the AAC priming
    assert beep_start(ffmpeg.extract_audio(path)) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.ts"])
def test_sound_that_starts_late(tmp_path, plain, name):
    path = tmp_path / name
    run_ffmpeg("-i", plain, "-itsoffset", "0.48", "-i", plain, "-map", "0:v", "-map", "1:a", "-c", "copy", path)
    assert times(ffmpeg.read_frames(path)) == pytest.approx(np.arange(50) / 25, abs=0.06)
    samples = ffmpeg.extract_audio(path)
    assert beep_start(samples) == pytest.approx(1.48, abs=0.03)
    assert len(samples) == pytest.approx(2.48 * 16000, abs=800)


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


@pytest.mark.parametrize("rate", [1, 100, 3999])
def test_sound_with_too_low_a_rate_for_speech_is_refused(tmp_path, plain, rate):
    """At one sample per second, 12 kB would be two hours of sound."""
    path = tmp_path / "coarse.wav"
    ffmpeg.write_wav(path, np.tile([0.3, -0.3], 3200), rate)
    assert ffmpeg.probe(path).sample_rate == rate
    for use in (ffmpeg.extract_audio, lambda sound: ffmpeg.write_video(tmp_path / "a.mp4", [], audio=sound)):
        with pytest.raises(NotMedia, match=f"sampled at {rate} Hz"):
            use(path)


def test_telephone_sound_is_accepted(tmp_path):
    path = clip(tmp_path / "phone.wav", "-ar", "8000", "-c:a", "pcm_alaw", video=False)
    assert ffmpeg.probe(path).sample_rate == 8000
    assert beep_start(ffmpeg.extract_audio(path)) == pytest.approx(1, abs=0.01)


def test_truncated_files_are_read_as_far_as_possible(tmp_path, plain):
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


def test_matroska_without_its_end_is_read_as_far_as_possible(tmp_path):
    """The index is at its end. Without it, and with a single key frame, seeking is impossible, even to the start."""
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


def test_video_without_sound(tmp_path):
    path = clip(tmp_path / "mute.mp4", "-pix_fmt", "yuv420p", audio=False)
    assert not ffmpeg.probe(path).has_audio
    with pytest.raises(NoAudio):
        ffmpeg.extract_audio(path)
    with pytest.raises(NoAudio):
        ffmpeg.write_video(tmp_path / "out.mp4", [np.zeros((32, 32, 3), np.uint8)], audio=path)


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


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.wav"])
def test_the_soundtrack_of_a_stream_is_the_sound_that_a_video_of_the_file_would_have(tmp_path, name):
    """Down to the last bit, in the stream and in the video."""
    path, soundtrack = clip(tmp_path / name, video=False), tmp_path / "sound.flac"
    stream = np.concatenate(list(ffmpeg.stream_audio(path, soundtrack=soundtrack)))
    assert np.array_equal(stream, ffmpeg.extract_audio(path))
    frames = [np.zeros((32, 32, 3), np.uint8)] * 50
    ffmpeg.write_video(tmp_path / "once.mp4", frames, soundtrack=soundtrack)
    ffmpeg.write_video(tmp_path / "twice.mp4", frames, audio=path)
    assert (tmp_path / "once.mp4").read_bytes() == (tmp_path / "twice.mp4").read_bytes()


def test_footage_that_is_scaled_has_square_pixels_in_the_size_that_is_stored(tmp_path):
    """The rounding of an edge to even px would be told as the pixels' shape, for which the width would be changed in reading."""
    source, stored = tmp_path / "wide.mp4", tmp_path / "footage.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=2000x94:r=25:d=0.08", "-vf", "setsar=1", "-c:v", "libx264", source)
    assert len(list(ffmpeg.read_frames(source, size=(64, 2), footage=stored, exact=False))) == 2
    info = ffmpeg.probe(stored)
    assert (info.width, info.height) == (1920, 90)


@pytest.mark.parametrize(("height", "weights"), [(48, (0.299, 0.114)), (578, (0.2126, 0.0722))])
def test_colours_without_tags_keep_what_rgb_does_not_hold_in_the_footage_and_are_right_in_rgb(
    tmp_path, height, weights
):
    """Strong reds lie outside 0..255 in RGB; ffmpeg's scaler cuts them off on the way to BT.709. Players take BT.709 for HD."""
    raw, source, stored = (tmp_path / name for name in ("raw", "source.mkv", "footage.mp4"))
    stored_as = np.array([160.0, 95.0, 225.0])
    raw.write_bytes(
        b"".join(bytes([int(v)]) * n for v, n in zip(stored_as, (64 * height, 16 * height, 16 * height), strict=True))
    )
    shape = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"64x{height}", "-r", "25"]
    run_ffmpeg(*shape, "-i", raw, "-c:v", "ffv1", source)
    red, green, blue = _rgb(stored_as, *weights)
    (shown,) = ffmpeg.read_frames(source, footage=stored)
    assert np.abs(shown.astype(float) - np.clip([red, green, blue], 0, 255)).max() <= 1
    assert red > 300
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    expected = [
        16 + luma * 219 / 255,
        128 + (blue - luma) * 224 / 255 / 1.8556,
        128 + (red - luma) * 224 / 255 / 1.5748,
    ]
    _, kept = next(FootageReader(stored, 64, height, 1).read([0], planar=True))
    assert np.abs([plane.mean() for plane in planes(kept)] - np.clip(expected, 0, 255)).max() < 2


def _rgb(yuv, red_weight, blue_weight):
    """R, G and B of a colour in YUV, limited range, without clipping."""
    y, u, v = (yuv - [16, 128, 128]) * 255 / [219, 224, 224]
    red, blue = y + 2 * (1 - red_weight) * v, y + 2 * (1 - blue_weight) * u
    return red, (y - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight), blue
