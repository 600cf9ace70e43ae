"""Reading, writing, resizing and converting images; the only place that knows that OpenCV stores colours as BGR.

Images are [rows, cols, 3] uint8 RGB everywhere else.
"""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from adnerf_core.errors import NotMedia, NotReady
from adnerf_core.files.media_kinds import HEAD_BYTES, refused_kind
from adnerf_core.files.run_dir import atomic

MAX_IMAGE_PIXELS = 4096 * 4096
"""Largest background picture, px: the same limit as for the pictures of a video (ffmpeg_process.MAX_PIXELS)."""

TRAINING_QUALITY = 95
"""JPEG quality of frames that are learnt from, on OpenCV's scale of 0..100. With full chroma, compression changes them by less
than the footage's own compression has done already."""

PREVIEW_QUALITY = 90
"""JPEG quality of previews, which are only looked at: about two thirds of the bytes of TRAINING_QUALITY."""


def read_rgb(path: Path, remedy: str | None = None) -> UInt8[np.ndarray, "rows cols 3"]:
    """Reads an image of a dataset or run.

    Args:
        path: a PNG or JPEG file.
        remedy: the remedy of the error; NotReady's own by default.

    Raises:
        NotReady: if the file is missing or damaged.
    """
    return cv2.cvtColor(_read(path, cv2.IMREAD_COLOR, remedy), cv2.COLOR_BGR2RGB)


def read_gray(path: Path) -> UInt8[np.ndarray, "rows cols"]:
    """Reads the brightness of an image, as read_rgb(); from a JPEG file in a third of the time, since its colours are not decoded."""
    return _read(path, cv2.IMREAD_GRAYSCALE)


def _read(path: Path, mode: int, remedy: str | None = None) -> np.ndarray:
    image = cv2.imread(str(path), mode)
    if image is None:
        raise NotReady(f"{path} is missing or damaged.", remedy)
    return image


def write_rgb(
    path: Path, image: UInt8[np.ndarray, "rows cols 3"], *, quality: int = PREVIEW_QUALITY, full_chroma: bool = False
) -> None:
    """Writes an image atomically, as PNG or JPEG by the suffix of `path`.

    Args:
        path: the file; its folder is created.
        image: RGB.
        quality: of a JPEG, 0..100.
        full_chroma: whether a JPEG keeps the colours at full resolution (4:4:4) instead of half (4:2:0).

    Raises:
        DiskFull: if the disk has no space left.
    """
    data = (
        encode_jpeg(image, quality, full_chroma=full_chroma) if path.suffix == ".jpg" else _encode(path.suffix, image)
    )
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def encode_jpeg(image: UInt8[np.ndarray, "rows cols 3"], quality: int, *, full_chroma: bool = False) -> bytes:
    """Encodes an RGB image as JPEG, with `quality` 0..100; see write_rgb() for `full_chroma`."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if full_chroma:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return _encode(".jpg", image, options)


def decode_rgb(data: bytes) -> UInt8[np.ndarray, "rows cols 3"]:
    """Decodes a PNG or JPEG that is known to be valid."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def resize(image: UInt8[np.ndarray, "rows cols 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Resizes a square image to `size` px.

    Shrinking averages areas, which does not alias; enlarging interpolates bicubically, which keeps edges.
    """
    if image.shape[0] == size:
        return image
    method = cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=method)


def image_to_tensor(image: UInt8[np.ndarray, "rows cols 3"], device: str) -> Float[Tensor, "rows cols 3"]:
    """Converts an image to colours 0..1 on `device`."""
    return torch.from_numpy(image).to(device).float() / 255


def to_uint8(color: Float[np.ndarray, "rows cols channels"]) -> UInt8[np.ndarray, "rows cols channels"]:
    """Converts colours to bytes; values outside 0..1 are clipped."""
    return (color.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def read_background_image(path: Path | None) -> UInt8[np.ndarray, "rows cols 3"]:
    """Reads the background picture that a client has sent.

    Raises:
        NotMedia: if it is missing, not a readable PNG, JPEG or WebP, or has more than MAX_IMAGE_PIXELS.
    """
    if path is None:
        raise NotMedia(
            "Background kind `image` needs a picture.", "Send the picture together with the options, as `background`."
        )
    try:
        with warnings.catch_warnings():
            # Pillow warns of damage that it repairs, and of sizes that are refused below.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
                if image.width * image.height > MAX_IMAGE_PIXELS:
                    raise NotMedia(
                        f"The background picture has {image.width}x{image.height} pixels.",
                        "Scale it down to at most 4096x4096.",
                    )
                return np.asarray(_as_shown(image))
    except Image.DecompressionBombError as error:
        raise NotMedia(
            "The background picture has far too many pixels.", "Scale it down to at most 4096x4096."
        ) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise NotMedia(_unreadable(path), "Send a PNG, JPEG or WebP file, whole and undamaged.") from error


def _unreadable(path: Path) -> str:
    """What is wrong with a picture that is no PNG, JPEG or WebP, or a damaged one: phones write HEIC, which people take for JPEG."""
    with suppress(OSError), path.open("rb") as file:
        kind = refused_kind(file.read(HEAD_BYTES))
        if (
            kind is not None
            and kind.endswith(("image", "photograph"))
            and not kind.startswith(("a PNG", "a JPEG", "a WebP"))
        ):
            return f"The background picture is {kind}."
    return "The background picture cannot be read."


def _as_shown(image: Image.Image) -> Image.Image:
    """Converts a picture to RGB as viewers show it: upright, transparent parts before white, 16 bit as 8, colours as in sRGB."""
    image = _in_srgb(ImageOps.exif_transpose(image))
    if image.mode.startswith("I"):  # 16 bit, whose conversion would cut off all beyond 255
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257 + 0.5).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _in_srgb(image: Image.Image) -> Image.Image:
    """Converts the colours of a picture with a profile, such as Display P3 of phones or Adobe RGB of cameras; others stay as they are."""
    profile = image.info.get("icc_profile")
    mode = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB"}.get(image.mode)
    if not profile or mode is None:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode) or image
    except (ImageCms.PyCMSError, OSError):  # a damaged profile, or one of another kind of colours: viewers ignore it
        return image


def _encode(suffix: str, image: UInt8[np.ndarray, "rows cols 3"], options: list[int] | None = None) -> bytes:
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options or [])
    return data.tobytes()
