"""Images: reading, writing, and conversion to tensors."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from adnerf_core.errors import NotMedia
from adnerf_core.files.run_dir import atomic

LARGEST_PICTURE = 4096 * 4096

QUALITY = 90


def image_to_tensor(picture: ndarray, device: str) -> Float[Tensor, "rows cols 3"]:
    """An RGB uint8 picture as colours 0..1."""
    return torch.from_numpy(picture).to(device).float() / 255


def to_uint8(color: Float[np.ndarray, "rows cols channels"]) -> UInt8[np.ndarray, "rows cols channels"]:
    """Colours 0..1 as bytes."""
    return (color.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def write_jpeg(path: Path, picture: UInt8[np.ndarray, "rows cols 3"]) -> None:
    """Writes an RGB picture, whole or not at all. Raises DiskFull."""
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    with atomic(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def read_picture(path: Path | None) -> UInt8[ndarray, "rows cols 3"]:
    """A picture file as RGB. Raises NotMedia where it is missing, no PNG, JPEG or WebP, or has too many pixels."""
    if path is None:
        raise NotMedia(
            "Background kind `image` needs a picture.", "Send the picture beside the options, as `background`."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Pillow's, of what it bridges over and of sizes that are refused here anyway
            with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
                if image.width * image.height > LARGEST_PICTURE:
                    raise NotMedia(
                        f"The background has {image.width}x{image.height} pixels.",
                        "Scale it down to 4096x4096 at most.",
                    )
                return np.asarray(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise NotMedia("The background has far too many pixels.", "Scale it down to 4096x4096 at most.") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise NotMedia("The background is no picture that can be read.", "Send a PNG, JPEG or WebP file.") from error
