"""Rendering: as long as the sound, in any view, over any background, in bounded memory."""

import hashlib
import math
import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from adnerf_core.cameras.cameras import project
from adnerf_core.config import Background, RenderOptions, ViewChange
from adnerf_core.errors import AudioTooShort, NoAudio, NotMedia, NotReady
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import RunDir
from adnerf_core.models.frame_renderer import RenderedFrame
from adnerf_core.progress import Cancelled
from adnerf_core.synthesis.render import DEFAULT_OPTIONS, applied_view, pixel_grid_for_view, render, render_frames
from adnerf_core.synthesis.subject import load_subject
from tests.adnerf_core.ffmpeg_runs import reads_of, record_runs
from tests.adnerf_core.files.test_video_formats import decode_alpha
from tests.adnerf_core.toy import CENTER, FOOTAGE_SIZE, SIZE

PORTRAIT = RenderOptions(frame="portrait")


@pytest.fixture
def run(toy_run) -> RunDir:
    return toy_run


@pytest.fixture
def subject(toy_run):
    return load_subject(toy_run)


def tone(path, seconds: float):
    times = np.arange(round(seconds * 16000)) / 16000
    ffmpeg.write_wav(path, (0.3 * np.sin(2 * math.pi * 200 * times)).astype(np.float32))
    return path


def frames(subject, options=DEFAULT_OPTIONS, count=2, plate=None):
    plate = subject.background if plate is None else plate
    view = applied_view(subject, options.view)
    return list(render_frames(subject, torch.zeros(count, 6), plate, options, view, lambda *_: None))


@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.99, 6.02])
def test_the_video_is_as_long_as_the_sound_to_a_frame(run, tmp_path, seconds):
    stages = []
    done = render(
        run, tone(tmp_path / "a.wav", seconds), tmp_path / "out.mp4", progress=lambda *now: stages.append(now)
    )
    info = ffmpeg.probe(tmp_path / "out.mp4")
    assert abs(done.duration_s - seconds) <= 0.04 and done.frames == round(seconds * 25)
    assert info.has_audio and (info.width, info.height, info.fps) == (*FOOTAGE_SIZE, 25)
    assert sum(1 for _ in ffmpeg.read_frames(tmp_path / "out.mp4")) == done.frames
    assert stages[-1] == ("render", done.frames, done.frames)


def test_a_render_probes_and_decodes_its_audio_once(run, tmp_path, monkeypatch):
    audio, commands = tone(tmp_path / "a.wav", 1.0), record_runs(monkeypatch)
    render(run, audio, tmp_path / "out" / "out.mp4", PORTRAIT)
    assert reads_of(audio, commands) == ["probe", "sound"]
    assert len(commands) == 5  # and one for the sound's times, one to encode the pictures, and one to add the sound
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["out.mp4"]


def test_too_little_sound_and_no_sound_are_said(run, tmp_path):
    with pytest.raises(AudioTooShort, match=r"0\.3 s"):
        render(run, tone(tmp_path / "a.wav", 0.1), tmp_path / "out.mp4")
    ffmpeg.write_video(tmp_path / "mute.mp4", iter([np.zeros((64, 64, 3), np.uint8)] * 10), audio=None, duration_s=None)
    with pytest.raises(NoAudio):
        render(run, tmp_path / "mute.mp4", tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_run_that_is_not_finished_is_said(tmp_path):
    with pytest.raises(NotReady):
        render(RunDir(tmp_path), tone(tmp_path / "a.wav", 1), tmp_path / "out.mp4")


def test_a_cancelled_rendering_leaves_nothing(run, tmp_path):
    def cancel(stage, done, total):
        if done == 5:
            raise Cancelled

    (tmp_path / "out").mkdir()
    with pytest.raises(Cancelled):
        render(run, tone(tmp_path / "a.wav", 2), tmp_path / "out" / "out.mp4", progress=cancel)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_size_can_be_chosen(run, tmp_path):
    done = render(run, tone(tmp_path / "a.wav", 0.4), tmp_path / "out.mp4", RenderOptions(frame="portrait", size=97))
    assert (done.width, done.height) == (96, 96)
    assert next(ffmpeg.read_frames(tmp_path / "out.mp4")).shape == (96, 96, 3)


def test_a_colour_and_a_picture_stand_behind_the_person(run, tmp_path):
    corner = slice(0, 8)
    green = RenderOptions(background=Background(kind="color", color="#10c020"))
    render(run, tone(tmp_path / "a.wav", 0.4), tmp_path / "green.mp4", green)
    assert (
        np.abs(next(ffmpeg.read_frames(tmp_path / "green.mp4"))[corner, corner].astype(int) - (16, 192, 32)).max() < 12
    )
    picture = np.zeros((30, 60, 3), np.uint8)
    picture[:, 15:] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / "red.png"), picture)
    image = RenderOptions(background=Background(kind="image"))
    render(run, tmp_path / "a.wav", tmp_path / "red.mp4", image, background=tmp_path / "red.png")
    assert np.abs(next(ffmpeg.read_frames(tmp_path / "red.mp4"))[corner, corner].astype(int) - (255, 0, 0)).max() < 24


@pytest.mark.parametrize("content", [None, b"", b"text", b"\x89PNG\r\n\x1a\n broken"])
def test_a_background_that_is_no_picture_is_said(run, tmp_path, content):
    picture = None if content is None else tmp_path / "background.png"
    if picture:
        picture.write_bytes(content)
    with pytest.raises(NotMedia, match=r"PNG|picture"):
        options = RenderOptions(background=Background(kind="image"))
        render(run, tone(tmp_path / "a.wav", 0.4), tmp_path / "out.mp4", options, background=picture)


def test_options_that_make_no_sense_are_refused():
    for bad in (
        {"view": {"yaw_deg": 31}},
        {"background": {"kind": "color"}},
        {"background": {"kind": "image", "color": "#ffffff"}},
        {"background": {"kind": "transparent"}},
        {"background": {"kind": "transparent"}, "format": "mp4"},
        {"format": "avi"},
        {"size": 63},
        {"size": 1921},
        {"size": 1025, "frame": "portrait"},
        {"nonsense": 1},
    ):
        with pytest.raises(ValidationError):
            RenderOptions(**bad)


def test_zoom_and_shift_move_the_person_and_not_the_background(subject):
    columns = torch.linspace(0, 1, SIZE)[None, :, None].expand(SIZE, SIZE, 3)
    plain = frames(subject, count=1, plate=columns)[0].astype(int)
    moved = frames(subject, RenderOptions(view=ViewChange(x=0.125)), count=1, plate=columns)[0].astype(int)
    assert np.abs(plain[:6] - moved[:6]).max() <= 1
    step = SIZE // 8
    assert np.abs(moved[18:30, 20 + step : 28 + step] - plain[18:30, 20:28]).mean() < 3
    places = pixel_grid_for_view(subject.model, ViewChange(zoom=2.0), SIZE)
    assert torch.allclose(places.mean(0), torch.tensor([SIZE / 2, SIZE / 2]))
    assert float(places.max() - places.min()) < SIZE / 2


def test_a_changed_view_turns_the_head_within_its_limits(run, subject, tmp_path):
    plain = frames(subject, count=1)[0].astype(int)
    turned = frames(subject, RenderOptions(view=ViewChange(yaw_deg=12)), count=1)[0].astype(int)
    assert np.abs(plain - turned).max() > 30 and np.abs(plain[:4] - turned[:4]).max() <= 2
    asked = RenderOptions(view=ViewChange(yaw_deg=30, pitch_deg=2, zoom=1.2))
    done = render(run, tone(tmp_path / "a.wav", 0.3), tmp_path / "out.mp4", asked)
    assert 5 < done.view.yaw_deg < 30 and (done.view.pitch_deg, done.view.zoom) == (2, 1.2)
    least = RenderOptions(view=done.view)
    assert np.array_equal(frames(subject, asked, 1)[0], frames(subject, least, 1)[0])


def hashes(subject, options, count):
    return [hashlib.sha256(frame.tobytes()).hexdigest() for frame in frames(subject, options, count)]


@pytest.mark.parametrize("pose", ["track", "still"])
def test_a_seed_gives_the_same_pixels_however_long_the_video(toy_run, pose):
    options = RenderOptions(pose=pose, seed=3, view=ViewChange(yaw_deg=5))
    first = hashes(load_subject(toy_run), options, 9)
    assert hashes(load_subject(toy_run), options, 5) == first[:5] and len(set(first)) == 9
    other = hashes(load_subject(toy_run), options.model_copy(update={"seed": 4}), 9)
    assert (other == first) == (pose == "track")


def test_the_same_job_done_twice_gives_the_same_file(run, tmp_path):
    options = RenderOptions(pose="still", seed=7, background=Background(kind="transparent"), format="webm")
    tone(tmp_path / "a.wav", 0.5)
    for name in ("one.webm", "two.webm"):
        render(run, tmp_path / "a.wav", tmp_path / name, options)
    assert np.array_equal(decode_alpha(tmp_path / "one.webm", SIZE), decode_alpha(tmp_path / "two.webm", SIZE))


def test_nothing_stands_behind_the_person_where_that_is_wanted(run, tmp_path):
    options = RenderOptions(background=Background(kind="transparent"), format="webm")
    done = render(run, tone(tmp_path / "a.wav", 0.6), tmp_path / "out.webm", options)
    pictures = decode_alpha(tmp_path / "out.webm", SIZE).astype(int)
    info = ffmpeg.probe(tmp_path / "out.webm")
    assert len(pictures) == done.frames == 15 and info.has_audio
    alpha = pictures[..., 3]
    assert alpha[:, :5, :5].max() < 12 and alpha[:, 22:26, 22:26].min() > 240
    # The person's colours run on there, and none of the plate's blue.
    outside = pictures[0, ..., :3][(alpha[0] < 8)].mean(0)
    assert outside[2] < outside[0]


def test_webm_with_a_background_has_no_alpha(run, tmp_path):
    done = render(
        run,
        tone(tmp_path / "a.wav", 0.4),
        tmp_path / "out.webm",
        RenderOptions(frame="portrait", format="webm", size=64),
    )
    pictures = list(ffmpeg.read_frames(tmp_path / "out.webm"))
    assert (len(pictures), pictures[0].shape) == (done.frames, (64, 64, 3))
    assert decode_alpha(tmp_path / "out.webm", 64)[..., 3].min() == 255


def test_memory_does_not_grow_with_the_length(subject, monkeypatch):
    """Everything but the rendering of the fields is real."""
    size = subject.size
    frame = RenderedFrame(torch.full((size * size, 3), 0.5), torch.full((size * size,), 0.5))
    monkeypatch.setattr("adnerf_core.synthesis.render.render_frame", lambda *_: frame)
    options = RenderOptions(pose="still", view=ViewChange(yaw_deg=3))
    peaks = []
    for count in (20, 200):
        codes = torch.zeros(1, 6).expand(count, 6)
        tracemalloc.start()
        view = applied_view(subject, options.view)
        made = sum(1 for _ in render_frames(subject, codes, subject.background, options, view, lambda *_: None))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert made == count
    assert peaks[1] < peaks[0] + 30_000


def test_the_head_is_drawn_where_it_was_filmed(subject):
    picture = frames(subject, count=1)[0].astype(int)
    row, col = (
        project(subject.model.geometry.camera, subject.poses[0], torch.tensor(CENTER[None]).float())[0].long().tolist()
    )
    assert picture[row, col, 0] > 150 and picture[2, 2, 2] > 120
