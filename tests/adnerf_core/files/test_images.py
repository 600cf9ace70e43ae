"""Reading, writing and resizing images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.data import astronaut

from adnerf_core.errors import NotMedia, NotReady
from adnerf_core.files import images


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return astronaut()[:64, 100:196]


def test_a_png_keeps_every_pixel_and_its_colours(tmp_path, picture):
    images.write_rgb(tmp_path / "new" / "a.png", picture)
    assert np.array_equal(images.read_rgb(tmp_path / "new" / "a.png"), picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), picture)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


def test_a_jpeg_is_better_with_higher_quality_and_full_chroma(tmp_path, picture):
    errors = []
    for quality, full_chroma in ((60, False), (95, False), (95, True)):
        images.write_rgb(tmp_path / "a.jpg", picture, quality=quality, full_chroma=full_chroma)
        errors.append(np.abs(images.read_rgb(tmp_path / "a.jpg").astype(int) - picture).mean())
        same = images.decode_rgb(images.encode_jpeg(picture, quality, full_chroma=full_chroma))
        assert np.array_equal(same, images.read_rgb(tmp_path / "a.jpg"))
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("content", [None, b"no image"])
def test_a_missing_or_damaged_image_is_reported(tmp_path, content):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(NotReady, match="missing or damaged") as caught:
        images.read_rgb(tmp_path / "a.png", "Run preprocess again.")
    assert caught.value.remedy == "Run preprocess again."


@pytest.mark.parametrize("size", [16, 64, 100])
def test_resizing_keeps_the_mean_colour(picture, size):
    square = picture[:, :64]
    resized = images.resize(square, size)
    assert resized.shape == (size, size, 3)
    assert resized.mean((0, 1)) == pytest.approx(square.mean((0, 1)), abs=2)


def test_a_background_must_be_a_readable_image_of_a_sensible_size(tmp_path, picture, monkeypatch):
    Image.fromarray(picture).save(tmp_path / "a.webp", lossless=True)
    assert np.array_equal(images.read_background_image(tmp_path / "a.webp"), picture)
    (tmp_path / "text.png").write_text("no image")
    monkeypatch.setattr(images, "MAX_IMAGE_PIXELS", 64 * 95)
    for path in (None, tmp_path / "text.png", tmp_path / "missing.png", tmp_path / "a.webp"):
        with pytest.raises(NotMedia) as caught:
            images.read_background_image(path)
        assert caught.value.remedy


def test_a_background_is_read_as_it_is_shown(tmp_path, picture):
    """Upright by its EXIF orientation, white where it is transparent, and 16 bits as 8."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    Image.fromarray(picture).rotate(90, expand=True).save(tmp_path / "phone.png", exif=exif)
    assert np.array_equal(images.read_background_image(tmp_path / "phone.png"), picture)
    alpha = np.zeros(picture.shape[:2], np.uint8)
    alpha[:, :50] = 255
    Image.fromarray(np.dstack([picture, alpha])).save(tmp_path / "alpha.png")
    shown = images.read_background_image(tmp_path / "alpha.png")
    assert np.array_equal(shown[:, :50], picture[:, :50]) and (shown[:, 50:] == 255).all()
    grey = picture[..., 0].astype(np.uint16) * 257
    Image.fromarray(grey).save(tmp_path / "deep.png")
    assert np.array_equal(images.read_background_image(tmp_path / "deep.png"), picture[..., [0, 0, 0]])


def test_the_colour_profile_of_a_background_counts(tmp_path, picture):
    """A profile whose red and blue are swapped; a damaged one is ignored, as viewers do."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    for name, data, channels in (
        ("a.png", profile, [0, 1, 2]),
        ("b.png", swapped, [2, 1, 0]),
        ("c.png", b"x" * 300, [0, 1, 2]),
    ):
        Image.fromarray(picture).save(tmp_path / name, icc_profile=data)
        shown = images.read_background_image(tmp_path / name)
        assert np.abs(shown.astype(int) - picture[..., channels]).max() <= 2, name


def test_a_phones_photograph_that_is_no_jpeg_is_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    with pytest.raises(NotMedia, match="is a HEIC image"):
        images.read_background_image(tmp_path / "a.jpg")
