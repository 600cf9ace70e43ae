"""The limits of the ffmpeg processes, and their environment."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from adnerf_core.errors import MediaTooLarge, MediaTooLong, NotMedia
from adnerf_core.files import ffmpeg, ffmpeg_process, media_info
from tests.adnerf_core.files.clock import BEEP, run_ffmpeg, script


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
    os.utime(secret, (1, os.stat(secret).st_mtime))  # so old that any read updates the time of access
    evil = tmp_path / name
    evil.write_text(text.format(secret=secret))
    for use in (ffmpeg.probe, lambda path: next(ffmpeg.read_frames(path)), ffmpeg.extract_audio):
        with pytest.raises(NotMedia):
            use(evil)
    with pytest.raises(NotMedia):
        ffmpeg.write_video(tmp_path / "out.mp4", [np.zeros((32, 32, 3), np.uint8)], audio=evil)
    assert os.stat(secret).st_atime == 1 and not (tmp_path / "out.mp4").exists()


def resized(path: Path, width: int, height: int) -> Path:
    """A small Motion JPEG clip whose headers claim another size."""
    small = path.with_name("small.avi")
    run_ffmpeg("-f", "lavfi", "-i", "color=gray:s=160x144:d=0.2", "-c:v", "mjpeg", small)
    data = small.read_bytes().replace(struct.pack("<ii", 160, 144), struct.pack("<ii", width, height))
    data = data.replace(struct.pack(">HH", 144, 160), struct.pack(">HH", height, width))
    path.write_bytes(data)
    return path


# Run in a separate process, which has no other children.
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


def test_too_large_pictures_are_refused_even_if_there_is_sound(tmp_path):
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


def test_four_hours_of_silence(tmp_path, monkeypatch):
    minute = tmp_path / "minute.aac"
    run_ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono:d=60", minute)
    hours = tmp_path / "hours.aac"
    hours.write_bytes(minute.read_bytes() * 240)
    for use in (ffmpeg.probe, ffmpeg.extract_audio):
        with pytest.raises(MediaTooLong) as caught:
            use(hours)
        assert caught.value.code == "media_too_long" and "4.0 h" in caught.value.message
    monkeypatch.setattr(media_info, "MAX_SECONDS", 1e9)
    monkeypatch.setattr(ffmpeg_process, "CPU_SECONDS", 1)
    with pytest.raises(MediaTooLong, match="takes too long"):
        ffmpeg.extract_audio(hours)


def test_a_crash_is_said(tmp_path, monkeypatch, plain):
    """And not called a fault of the file's format."""
    monkeypatch.setattr(ffmpeg_process, "ffmpeg_path", lambda: script(tmp_path / "ffmpeg", "kill -SEGV $$"))
    with pytest.raises(NotMedia, match="crashed") as caught:
        ffmpeg.probe(plain)
    assert "Convert" in caught.value.remedy


@pytest.mark.parametrize(
    "name", ["-i.mp4", "a:b.mp4", "%03d.mp4", "spa ce'\"\\.mp4", "http:..mp4", "ünï\n.mp4", "[x],;=.mp4"]
)
def test_unusual_names(tmp_path, monkeypatch, plain, name):
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


def test_ffmpeg_gets_no_secrets(tmp_path, monkeypatch, plain):
    """All runs (probe, decode, encode) get the search paths of programs and libraries, and nothing else."""
    monkeypatch.setenv("ADNERF_DATABASE_URL", "postgresql://ann:secret@db/adnerf")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("FFREPORT", f"file={tmp_path}/secret.log")
    environments = []

    class Recorded(ffmpeg_process.FfmpegProcess):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            environments.append(Path(f"/proc/{self.pid}/environ").read_bytes())

    monkeypatch.setattr(ffmpeg_process, "FfmpegProcess", Recorded)
    assert len(ffmpeg.extract_audio(plain)) == 32000
    ffmpeg.write_video(tmp_path / "out.mp4", ffmpeg.read_frames(plain, duration_s=0.2), audio=plain)
    assert len(environments) >= 6 and not any(b"secret" in each for each in environments)
    assert any(each.startswith(b"PATH=") or b"\0PATH=" in each for each in environments)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_readers_in_several_threads(plain):
    counts = []
    threads = [threading.Thread(target=lambda: counts.append(len(list(ffmpeg.read_frames(plain))))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [50] * 4
