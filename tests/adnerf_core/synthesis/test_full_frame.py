"""Full frames: the footage as it is, with lips of another sound."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from adnerf_core.config import RenderOptions, ViewChange
from adnerf_core.errors import FullFrameUnavailable
from adnerf_core.files import ffmpeg, yuv
from adnerf_core.files.footage_reader import FootageReader
from adnerf_core.progress import Cancelled, silent
from adnerf_core.speech.timing import Word
from adnerf_core.synthesis import fonts
from adnerf_core.synthesis.full_frame import FullFrameRenderer
from adnerf_core.synthesis.render import frame_shown, render
from adnerf_core.synthesis.subject import load_subject
from adnerf_core.threads import usable_cores
from tests.adnerf_core.synthesis.test_render import tone
from tests.adnerf_core.toy import FOOTAGE_CROP, FOOTAGE_SIZE

WIDTH, HEIGHT = FOOTAGE_SIZE
FRAME = 21


@pytest.fixture
def subject(toy_run):
    """The toy with an ellipse around its mouth as the outline."""
    subject = load_subject(toy_run)
    angles = torch.linspace(0, 2 * np.pi, 25)[:-1]
    outline = torch.stack([0.7 * angles.cos(), 0.6 * angles.sin() - 0.5, torch.zeros(24)], -1)
    return replace(subject, playback=replace(subject.playback, outline=outline))


@pytest.fixture
def codes(subject, toy_dataset):
    """The speech codes of the footage."""
    track = toy_dataset.track()
    return torch.from_numpy(subject.lip_pca.encode(track.canonical_landmarks)).float()


def footage(subject, frames, size=None):
    play = subject.playback
    reader = FootageReader(play.path, play.width, play.height, len(play.trusted))
    return [picture for _, picture in reader.read(frames, size, planar=True)]


def colors(picture) -> np.ndarray:
    return yuv.to_rgb(picture, (slice(0, picture.shape[0] * 2 // 3), slice(0, picture.shape[1])))


def error(first, second, region) -> float:
    return float(np.abs(first - second)[region].mean())


def test_only_what_the_lips_move_is_rendered(subject, codes):
    renderer = FullFrameRenderer(subject)
    (filmed,) = footage(subject, [FRAME])
    mask = renderer.region.mask(subject.poses[FRAME])
    picture = renderer.render_into(filmed.copy(), FRAME, codes[FRAME])
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[mask.box] = mask.share == 0
    assert 0.8 < outside.mean() < 0.98
    assert np.array_equal(yuv.planes(picture)[0][outside], yuv.planes(filmed)[0][outside])
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[mask.box] = mask.share > 0.9
    assert region.any() and error(colors(picture), colors(filmed), region) < 18


def test_the_lips_are_those_of_the_sound_and_not_of_the_footage(subject, codes, toy_dataset):
    """A frame with a wide mouth gets the lips of a frame with a shut one, and the other way round."""
    opening = toy_dataset.track().opening[: len(subject.poses)]
    wide, shut = int(opening.argmax()), int(opening.argmin())
    renderer = FullFrameRenderer(subject)
    darkness = []
    for frame, speaks in ((wide, wide), (wide, shut), (shut, shut), (shut, wide)):
        picture = renderer.render_into(*footage(subject, [frame]), frame, codes[speaks])
        mask = renderer.region.mask(subject.poses[frame])
        darkness.append(colors(picture)[mask.box][mask.share > 0.9].min())
    own_wide, covered_wide, own_shut, opened = darkness
    assert covered_wide > own_wide + 8 and opened < own_shut - 8


@pytest.mark.parametrize(("size", "height"), [(160, 128), (64, 52)])
def test_the_whole_frame_is_scaled(subject, codes, size, height):
    """Scaled, the picture shows the same things in the same places as at the size of the footage."""
    renderer = FullFrameRenderer(subject, size)
    assert (renderer.width, renderer.height) == (size, height)
    (scaled,) = footage(subject, [FRAME], (renderer.width, renderer.height))
    filmed = colors(scaled)
    mask = renderer.region.mask(subject.poses[FRAME])
    picture = colors(renderer.render_into(scaled, FRAME, codes[FRAME]))
    assert error(picture, filmed, slice(None)) < 2 and error(picture[mask.box], filmed[mask.box], mask.share > 0.9) < 15


def test_fewer_rays_show_the_same(subject, codes):
    assert FullFrameRenderer(subject).spacing == 1, "a head of 20 px has no pixel to spare"
    renderer = FullFrameRenderer(subject, 960)
    assert renderer.spacing == 4
    mask = renderer.region.mask(subject.poses[FRAME])
    fewer = renderer.render_region(mask, FRAME, codes[FRAME])
    renderer.spacing = 1
    every_pixel = renderer.render_region(mask, FRAME, codes[FRAME])
    assert error(fewer, every_pixel, mask.share > 0.5) < 1.5 and not np.array_equal(fewer, every_pixel)


def test_a_crop_that_ends_inside_the_frame_bounds_the_region(subject):
    """An outline far outside the crop must leave no hard edge where the crop ends."""
    mouth = torch.tensor([0.0, -0.5, 0.0])
    outline = mouth + 9 * (subject.playback.outline - mouth)
    region = FullFrameRenderer(replace(subject, playback=replace(subject.playback, outline=outline))).region
    mask = region.mask(subject.poses[FRAME])
    left, top, side = FOOTAGE_CROP
    assert (mask.box[0].start, mask.box[0].stop) == (top, top + side)
    assert (mask.box[1].start, mask.box[1].stop) == (left, left + side)
    border = np.concatenate([mask.share[0], mask.share[-1], mask.share[:, 0], mask.share[:, -1]])
    assert border.max() < 0.1 and mask.share.max() == 1


def test_the_exposure_of_a_frame_is_applied(subject, codes):
    renderer = FullFrameRenderer(subject)
    mask = renderer.region.mask(subject.poses[FRAME])
    subject.playback.exposure[FRAME] = 1
    plain = renderer.render_region(mask, FRAME, codes[FRAME])
    subject.playback.exposure[FRAME] = torch.tensor([0.5, 1.0, 1.0])
    assert np.allclose(renderer.render_region(mask, FRAME, codes[FRAME]), plain * (0.5, 1, 1), atol=1e-3)


def rendered(subject, codes, **more):
    return list(FullFrameRenderer(subject, seed=3).render(codes, more.pop("pose", "track"), silent, **more))


def test_equal_seeds_give_equal_pixels_however_long_the_video(subject, codes):
    threads = torch.get_num_threads()
    first = rendered(subject, codes[:9])
    again = rendered(subject, codes[:5])
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=False)) and len(first) == 9
    assert torch.get_num_threads() == threads


def test_untrusted_frames_are_never_shown(subject, codes, monkeypatch):
    subject.playback.trusted[:] = False
    subject.playback.trusted[20:31] = True
    shown = []
    monkeypatch.setattr(
        FullFrameRenderer, "render_into", lambda self, picture, frame, *rest: shown.append(frame) or picture
    )
    rendered(subject, codes)
    assert len(shown) == len(codes) and set(shown) <= set(range(20, 31))


def test_a_loop_begins_as_it_ends(subject, codes):
    still = codes[:1].expand(40, -1)
    pictures = [colors(picture) for picture in rendered(subject, still, loop=True)]
    assert len(pictures) == 40 and np.abs(pictures[0] - pictures[-1]).mean() < 0.2  # the grain is fresh
    assert max(np.abs(pictures[0] - picture).mean() for picture in pictures) > 0.4


def test_the_frame_is_full_unless_an_option_needs_a_portrait(subject):
    old = replace(subject, playback=None)
    turned = RenderOptions(view=ViewChange(yaw_deg=3))
    assert frame_shown(subject, RenderOptions()) == "full"
    assert frame_shown(subject, RenderOptions(frame="portrait")) == "portrait"
    assert frame_shown(subject, turned) == frame_shown(subject, RenderOptions(motion=0.5)) == "portrait"
    assert frame_shown(old, RenderOptions()) == "portrait"
    with pytest.raises(FullFrameUnavailable, match="footage"):
        frame_shown(old, RenderOptions(frame="full"))


def test_a_video_of_full_frames(toy_run, tmp_path):
    stages = []
    options = RenderOptions(label=True, size=160)
    out = tmp_path / "out.mp4"
    done = render(toy_run, tone(tmp_path / "a.wav", 1.0), out, options, lambda *now: stages.append(now))
    info = ffmpeg.probe(out)
    assert (done.frame, done.width, done.height, done.frames) == ("full", 160, 128, 25)
    assert (info.width, info.height) == (160, 128) and info.has_audio
    assert stages[-1] == ("render", 25, 25)
    pictures = list(ffmpeg.read_frames(out))
    assert len(pictures) == 25 and pictures[0][-24:, :60].max() > 200, "the label is in the corner of the whole frame"
    assert abs(pictures[0][:8, :8, 2].mean() - 160) < 8, "the background is the footage's"


def test_a_cancelled_video_stops(subject, codes):
    def cancel(stage, done, total):
        if done == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(FullFrameRenderer(subject).render(codes, "track", cancel))


@pytest.mark.parametrize("frame", ["full", "portrait"])
@pytest.mark.parametrize("pose", ["track", "still"])
def test_a_silent_loop(toy_run, tmp_path, frame, pose):
    out = tmp_path / "loop.mp4"
    done = render(toy_run, None, out, RenderOptions(frame=frame, pose=pose, seed=2), duration_s=2.0)
    pictures = [picture.astype(int) for picture in ffmpeg.read_frames(out)]
    assert done.frames == len(pictures) == 50 and done.duration_s == 2.0
    assert not ffmpeg.probe(out).has_audio
    assert np.abs(pictures[0] - pictures[-1]).mean() < 3


def test_a_video_needs_either_audio_or_a_duration(toy_run, tmp_path):
    audio = tone(tmp_path / "a.wav", 1)
    for bad in ({"audio": None}, {"audio": audio, "duration_s": 2.0}, {"audio": None, "duration_s": 0.1}):
        with pytest.raises(ValueError, match="duration"):
            render(toy_run, out=tmp_path / "out.mp4", **bad)


def test_memory_does_not_grow_with_the_length(subject, codes, monkeypatch):
    """No more frames are in memory than are being rendered: the reader is asked for a frame when there is room for it."""
    taken = []
    read = FootageReader.read

    def counted(self, order, *rest, **more):
        for item in read(self, order, *rest, **more):
            taken.append(item[0])
            yield item

    monkeypatch.setattr(FootageReader, "read", counted)
    frames = FullFrameRenderer(subject).render(codes[:1].expand(60, -1), "track", silent)
    list(islice(frames, 10))
    assert 10 <= len(taken) <= 10 + 2 * usable_cores() + 1
    frames.close()


@pytest.mark.parametrize("frame", ["full", "portrait"])
def test_videos_of_another_shape_have_captions_in_the_picture(toy_run, tmp_path, frame, monkeypatch):
    monkeypatch.setattr(fonts, "SYSTEM_FOLDERS", ())
    words = [Word(0.0, 0.4, "Hello", False), Word(0.4, 0.8, "there", True)]
    options = {"frame": frame, "size": 128, "aspect": "9:16", "fit": "contain", "sides": "#000000"}
    videos = []
    for captions in ({}, {"captions": {"burn": {"position": "top"}}}):
        out = tmp_path / f"{len(videos)}.mp4"
        done = render(toy_run, tone(tmp_path / "a.wav", 0.8), out, RenderOptions(**options, **captions), words=words)
        assert (done.width, done.height, done.warnings) == (72, 128, ())
        videos.append(np.stack(list(ffmpeg.read_frames(out))))
    assert videos[0].shape[1:] == (128, 72, 3) and videos[0][:, :20].max() < 12
    assert videos[1][5, :60].max() > 150, "no letters"
    letters = render(
        toy_run,
        tone(tmp_path / "a.wav", 0.8),
        tmp_path / "x.mp4",
        RenderOptions(**options, **captions),
        words=[Word(0, 1, "你", False)],
    )
    assert [error.code for error in letters.warnings] == ["captions_unavailable"]
