"""WebM, with and without an alpha channel, and formats that cannot be written."""

import subprocess
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from adnerf_core.errors import MissingBackend
from adnerf_core.files import ffmpeg, ffmpeg_choice
from adnerf_core.files.video_formats import WEBM, format_for

RED, SIZE = (200, 60, 30), 64


def decode_alpha(path: Path, size: int = SIZE) -> np.ndarray:
    """Returns the pictures of a WebM, [frames, size, size, 4]; only libvpx's decoder keeps the alpha channel."""
    command = [ffmpeg.ffmpeg_path(), "-loglevel", "error", "-c:v", "libvpx-vp9", "-i", path]
    command += ["-pix_fmt", "rgba", "-f", "rawvideo", "-"]
    pixels = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(pixels, np.uint8).reshape(-1, size, size, 4)


def streams(path: Path) -> str:
    return subprocess.run([ffmpeg.ffmpeg_path(), "-hide_banner", "-i", path], capture_output=True).stderr.decode()


def tone(path: Path, seconds: float) -> Path:
    ffmpeg.write_wav(path, 0.3 * np.sin(np.arange(round(seconds * 16000)) * 0.1).astype(np.float32))
    return path


def test_webm_is_vp9_and_opus_in_sync(tmp_path):
    sound = np.zeros(32000, np.float32)
    sound[16000:19200] = 0.5 * np.sin(np.arange(3200) * 0.4)
    ffmpeg.write_wav(tmp_path / "in.wav", sound)
    frames = (np.full((63, 65, 3), 235 if k == 25 else 30, np.uint8) for k in range(51))
    assert ffmpeg.write_video(tmp_path / "out.webm", frames, audio=tmp_path / "in.wav") == 51
    info, log = ffmpeg.probe(tmp_path / "out.webm"), streams(tmp_path / "out.webm")
    assert "Video: vp9" in log and "Audio: opus" in log and "ALPHA_MODE" not in log
    assert (info.width, info.height, info.fps) == (66, 64, 25) and info.duration_s == pytest.approx(2.04, abs=0.03)
    back = [frame.mean() for frame in ffmpeg.read_frames(tmp_path / "out.webm")]
    assert len(back) == 51 and int(np.argmax(back)) == 25
    sound_back = ffmpeg.extract_audio(tmp_path / "out.webm")
    assert np.flatnonzero(np.abs(sound_back) > 0.1)[0] / 16000 == pytest.approx(1, abs=0.005)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["in.wav", "out.webm"]


def test_alpha_comes_back_with_straight_colours(tmp_path):
    frame = np.zeros((SIZE, SIZE, 4), np.uint8)
    frame[..., :3] = RED
    frame[:, 20:40, 3], frame[:, 40:, 3] = 128, 255
    ffmpeg.write_video(tmp_path / "out.webm", repeat(frame, 30), audio=tone(tmp_path / "a.wav", 1), duration_s=1)
    back = decode_alpha(tmp_path / "out.webm").astype(int)
    assert len(back) == 25 and "ALPHA_MODE" in streams(tmp_path / "out.webm")
    for column, alpha in ((8, 0), (30, 128), (52, 255)):
        assert np.abs(back[:, 8:56, column, 3] - alpha).max() <= 6
        assert np.abs(back[:, 8:56, column, :3] - RED).max() <= 6


def test_formats_that_cannot_be_written_are_refused(tmp_path):
    picture = np.zeros((SIZE, SIZE, 4), np.uint8)
    with pytest.raises(ValueError, match="no alpha"):
        ffmpeg.write_video(tmp_path / "out.mp4", [picture])
    with pytest.raises(ValueError, match=r"\.mp4 or \.webm"):
        ffmpeg.write_video(tmp_path / "out.gif", [picture[..., :3]])
    assert format_for(Path("A.WEBM")) is WEBM and list(tmp_path.iterdir()) == []


def test_a_missing_encoder_is_reported_before_any_frame_is_made(tmp_path, monkeypatch):
    poor = tmp_path / "ffmpeg"
    poor.write_text("#!/bin/sh\necho ' V....D libx264  H.264'\necho ' A....D aac  AAC'\n")
    poor.chmod(0o755)
    monkeypatch.setattr(ffmpeg_choice, "ffmpeg_path", lambda: str(poor))

    def frames():
        raise AssertionError("a frame was made")
        yield

    with pytest.raises(MissingBackend, match="libvpx-vp9 and libopus") as caught:
        ffmpeg.write_video(tmp_path / "out.webm", frames())
    assert "mp4" in caught.value.remedy
