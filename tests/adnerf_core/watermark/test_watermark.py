"""The invisible watermark: embedded in real videos, which a real ffmpeg then converts, crops and recolours."""

import subprocess

import cv2
import numpy as np
import pytest

from adnerf_core.files import ffmpeg, yuv
from adnerf_core.files.footage_reader import FootageReader
from adnerf_core.files.video_formats import FOOTAGE
from adnerf_core.watermark import detect as detection
from adnerf_core.watermark import embed, spread_spectrum
from adnerf_core.watermark.detect import detect
from adnerf_core.watermark.embed import WatermarkEmbedder
from adnerf_core.watermark.spread_spectrum import Crop, pool_cells
from tests.adnerf_core.clips import speaker, syllables

NUMBER, KEY, OTHER_KEY = 0xC0FFEE_123456, b"0123456789abcdef", b"fedcba9876543210"
EDGE, FRAMES = 160, 125
RECODED = ("-c:v", "libx264", "-crf", "28")
VP9 = ("-c:v", "libvpx-vp9", "-crf", "32", "-b:v", "0", "-deadline", "realtime", "-cpu-used", "8")
SMALLER = ("-vf", "scale=120:120", *RECODED)


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    return list(speaker(syllables(FRAMES), EDGE))


@pytest.fixture(scope="module")
def marked(clip) -> list[np.ndarray]:
    return list(WatermarkEmbedder(NUMBER, KEY, EDGE, EDGE).over(clip))


@pytest.fixture(scope="module")
def video(marked, tmp_path_factory):
    path = tmp_path_factory.mktemp("mark") / "marked.mp4"
    ffmpeg.write_video(path, marked)
    return path


def changed(video, *arguments, name="changed.mp4", before=()):
    """The video after ffmpeg did `arguments` to it."""
    out = video.with_name(name)
    quiet = [ffmpeg.ffmpeg_path(), "-loglevel", "error", "-y"]
    subprocess.run([*quiet, *before, "-i", video, *arguments, "-threads", "1", out], check=True)
    return out


def test_the_number_comes_back(video):
    found = detect(video, KEY)
    assert found.number == NUMBER and found.score > 20 and found.false_alarm < 1e-60


@pytest.mark.parametrize(
    "arguments",
    [
        RECODED,
        SMALLER,
        ("-r", "30", *RECODED),
        ("-vf", "eq=brightness=0.06:contrast=1.15:saturation=0.5", *RECODED),
        ("-vf", "crop=iw*0.95:ih*0.95"),
        ("-vf", "crop=iw*0.9:ih:0:0"),
        ("-vf", "pad=iw*16/9:ih:-1:-1"),
        ("-vf", "scale=200:140,hflip"),
    ],
    ids=[
        "crf28",
        "crf28 at 75 %",
        "30 fps",
        "brightness",
        "crop",
        "crop at one side",
        "bars",
        "mirrored and stretched",
    ],
)
def test_the_number_survives(video, arguments):
    assert detect(changed(video, *arguments), KEY).number == NUMBER


def test_the_number_survives_another_codec(video):
    webm = changed(video, *VP9, name="out.webm")
    assert detect(webm, KEY).number == NUMBER


def test_two_seconds_out_of_the_middle_are_enough(video):
    assert detect(changed(video, "-t", "2", *RECODED, before=("-ss", "1.7")), KEY).number == NUMBER


def test_the_number_survives_in_the_smallest_picture(tmp_path):
    ffmpeg.write_video(tmp_path / "small.mp4", WatermarkEmbedder(NUMBER, KEY, 64, 64).over(speaker(syllables(250), 64)))
    small = changed(tmp_path / "small.mp4", "-vf", "scale=48:48", *RECODED)
    assert detect(small, KEY).number == NUMBER


def test_a_part_of_a_longer_video_is_found(video, clip, tmp_path):
    """Ten seconds of another scene come first; the scene cut does not outweigh the marked part."""
    others = (np.ascontiguousarray(clip[k % FRAMES][::-1]) for k in range(250))
    ffmpeg.write_video(tmp_path / "long.mp4", [*others, *ffmpeg.read_frames(video)])
    assert detect(tmp_path / "long.mp4", KEY).number == NUMBER


def test_nothing_is_found_in_unmarked_videos_or_with_another_key(video, clip, tmp_path):
    assert detect(video, OTHER_KEY) is None
    ffmpeg.write_video(tmp_path / "plain.mp4", clip)
    assert detect(tmp_path / "plain.mp4", KEY) is None
    ffmpeg.write_video(tmp_path / "still.mp4", [clip[0]] * 30)
    assert detect(tmp_path / "still.mp4", KEY) is None
    ffmpeg.write_video(tmp_path / "frame.mp4", [clip[0]])
    assert detect(tmp_path / "frame.mp4", KEY) is None


def test_scores_of_unmarked_videos_stay_below_the_bound(clip):
    """The scores of wrong keys do not depend on the video."""
    spectrum = detection.temporal_spectrum(*detection.luma_pairs(cv2.resize(frame, (64, 64)) for frame in clip))
    scores = [
        spread_spectrum.SpreadSpectrumCode(b"key number %6d" % k).decode(spectrum, [spread_spectrum.NO_CROP])[1]
        for k in range(60)
    ]
    assert np.median(scores) > 5 and max(scores) < 10


@pytest.mark.parametrize("edge", [64, 128, 256, 1024])
def test_the_watermark_is_faint_and_changes_slowly(edge):
    rng = np.random.default_rng(0)
    wall = np.full((edge, edge, 3), 130, np.uint8)
    wall[: edge // 2] = cv2.resize(rng.integers(60, 200, (edge // 8, edge // 4, 3), np.uint8), (edge, edge // 2))
    marker = WatermarkEmbedder(NUMBER, KEY, edge, edge)
    changes = [marker.apply(wall, k).astype(int) - wall for k in range(50, 75)]
    plain = np.stack(changes)[:, edge // 2 + edge // 8 :]
    assert np.sqrt(np.square(plain).mean()) < 1.7 and np.abs(plain).max() <= 7
    assert np.abs(np.diff(plain, axis=0)).mean() < 0.5  # steps of 8 bits from frame to frame


@pytest.mark.parametrize("size", [(64, 64), (90, 161), (107, 107), (128, 128)])
def test_every_frame_has_at_least_the_promised_psnr(clip, size):
    """For any picture, time, number and key."""
    rng = np.random.default_rng(4)
    pictures = [
        cv2.resize(clip[70], size[::-1]),
        rng.integers(0, 256, (*size, 3), np.uint8),
        np.full((*size, 3), 128, np.uint8),
        np.kron(np.indices((2, 2)).sum(0) % 2 * 200 + 20, np.ones((*size, 3)))[: size[0], : size[1]].astype(np.uint8),
    ]
    pictures.append(np.dstack([pictures[0], rng.integers(0, 256, size, np.uint8)]))
    for k in range(8):
        marker = WatermarkEmbedder(NUMBER + k, b"key number %6d" % k, *size)
        for index, picture in enumerate(pictures * 5):
            made = marker.apply(picture, 17 * index + k)
            assert psnr(made[..., :3], picture[..., :3]) >= embed.MIN_PSNR_DB


@pytest.mark.parametrize("size", [(360, 640), (640, 360), (90, 160)], ids=["16:9", "9:16", "small"])
def test_planes_of_any_shape_are_marked(size, tmp_path):
    height, width = size
    clip = [cv2.resize(frame, (width, height)) for frame in speaker(syllables(FRAMES), EDGE)]
    ffmpeg.write_video(tmp_path / "footage.mp4", clip, container=FOOTAGE)
    read = FootageReader(tmp_path / "footage.mp4", width, height, FRAMES).read(range(FRAMES), planar=True)
    whole, least = (slice(0, height), slice(0, width)), []

    def watched(pictures):
        for _, picture in pictures:
            least.append(yuv.to_rgb(picture, whole))
            yield picture

    for k, made in enumerate(marked := list(WatermarkEmbedder(NUMBER, KEY, height, width).over(watched(read)))):
        assert psnr(yuv.to_rgb(made, whole), least[k]) >= embed.MIN_PSNR_DB
    ffmpeg.write_video(tmp_path / "marked.mp4", marked)
    small = changed(tmp_path / "marked.mp4", "-vf", f"scale={width * 3 // 8 * 2}:{height * 3 // 8 * 2}", *RECODED)
    assert detect(tmp_path / "marked.mp4", KEY).number == detect(small, KEY).number == NUMBER


def test_energy_added_by_rounding_is_removed():
    """Here most values round up, to 2, 3 and 2 steps: 40.6 dB."""
    steps = embed.quantize_to_psnr(np.full((64, 64, 1), 2.2, np.float32) * embed.TINT)
    assert embed.MIN_PSNR_DB <= psnr(steps, np.zeros_like(steps)) < 45


def psnr(made, picture):
    return 10 * np.log10(255**2 / np.mean(np.square(made.astype(float) - picture)))


def test_equal_numbers_give_equal_pixels_and_others_do_not(clip, marked):
    again = WatermarkEmbedder(NUMBER, KEY, EDGE, EDGE)
    assert np.array_equal(again.apply(clip[70], 70), marked[70])
    assert not np.array_equal(WatermarkEmbedder(NUMBER + 1, KEY, EDGE, EDGE).apply(clip[70], 70), marked[70])
    assert not np.array_equal(WatermarkEmbedder(NUMBER, OTHER_KEY, EDGE, EDGE).apply(clip[70], 70), marked[70])


def test_transparent_pixels_are_not_marked(clip):
    alpha = np.zeros((EDGE, EDGE, 1), np.uint8)
    alpha[:, 60:] = 255
    frame = np.dstack([clip[0], alpha])
    made = WatermarkEmbedder(NUMBER, KEY, EDGE, EDGE).apply(frame, 12)
    assert np.array_equal(made[:, :60], frame[:, :60]) and np.array_equal(made[..., 3], frame[..., 3])
    assert np.abs(made[:, 60:, :3].astype(int) - frame[:, 60:, :3]).mean() > 0.3


def test_white_and_black_do_not_overflow():
    for value in (0, 255):
        made = WatermarkEmbedder(NUMBER, KEY, 96, 128).apply(np.full((96, 128, 3), value, np.uint8), 3)
        assert np.abs(made.astype(int) - value).max() <= 9


@pytest.mark.parametrize(("number", "key"), [(1 << 48, KEY), (-1, KEY), (1, b"short")])
def test_numbers_that_do_not_fit_and_short_keys_are_refused(number, key):
    with pytest.raises(ValueError, match=r"does not fit|16 bytes"):
        WatermarkEmbedder(number, key, 64, 64)


@pytest.mark.parametrize("crop", [(0.0, 0.0, 0.0, 0.0), (0.1, 0.0, 0.05, 0.025), (-0.4, -0.4, 0.0, 0.0)])
def test_cells_are_pooled_in_the_original_picture(crop: Crop):
    """The coordinate of each pixel in the original, averaged over cells, is the centre of each cell that was not cut off."""
    positions = crop[0] + (np.arange(64) + 0.5) / 64 * (1 - crop[0] - crop[1])
    values = np.broadcast_to(positions[:, None], (1, 2, 64, 64)).astype(np.float32)
    areas = pool_cells(np.ones_like(values), crop)[0, 0]
    inside = areas > 0.999 * areas.max()
    cells = pool_cells(values, crop)[0, 0][inside] / areas[inside]
    centres = np.broadcast_to((np.arange(spread_spectrum.CELLS)[:, None] + 0.5) / spread_spectrum.CELLS, inside.shape)
    assert inside.mean() > 0.4 and np.allclose(cells, centres[inside], atol=0.02)
