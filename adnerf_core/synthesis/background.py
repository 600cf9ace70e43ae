"""What stands behind the person, and the person's clean outline before it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from adnerf_core.config import Background
from adnerf_core.files.images import image_to_tensor, read_background_image, resize
from adnerf_core.synthesis.subject import Subject

ALPHA_BLACK, ALPHA_WHITE = 0.1, 0.9
"""Opacities that count as none and as all: what lies between is stretched over the whole range."""
RIM = 0.004
"""How far inside of what is solid colours are taken for its outline, in widths of the picture."""


def make_background(
    subject: Subject, background: Background, picture: Path | None, size: int, device: str
) -> Float[Tensor, "size size 3"]:
    """The background at the video's size, 0..1: the footage's plate, one colour, a picture cut to a square, or black (for
    kind transparent: nothing).

    Raises NotMedia where the picture is missing or cannot be read.
    """
    if background.kind == "transparent":
        return torch.zeros((size, size, 3), device=device)
    if background.kind == "color":
        red, green, blue = (int(background.color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return torch.tensor([red, green, blue], device=device).expand(size, size, 3)
    if background.kind == "image":
        image = read_background_image(picture)
        edge = min(image.shape[:2])
        top, left = (image.shape[0] - edge) // 2, (image.shape[1] - edge) // 2
        image = image[top : top + edge, left : left + edge]
    else:
        image = (subject.background.cpu().numpy() * 255).round().astype(np.uint8)
    return image_to_tensor(resize(image, size), device)


def extract_foreground(
    color: Float[ndarray, "size size 3"], opacity: Float[ndarray, "size size"]
) -> Float[ndarray, "size size 4"]:
    """The person alone, as straight colour (not multiplied by opacity) and opacity, 0..1.

    `color` is premultiplied. Along the outline the fields have learnt a share of the footage's background, which would be a
    fringe before another one: where the person is not quite opaque, the colours are taken from beside it, and they run on
    outside of the outline, so that neither scaling nor a codec's coarse colours bring in anything else. A breath of haze
    counts as nothing.
    """
    reach = max(1, round(RIM * len(opacity)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    sure = cv2.erode((opacity > ALPHA_WHITE).astype(np.float32), disc, borderType=cv2.BORDER_REPLICATE)
    beside, found = np.zeros_like(color), np.zeros_like(opacity)
    # The nearest colours where there are any, else those from further inside.
    for sigma in (reach, 4 * reach, 16 * reach):
        near = cv2.GaussianBlur(sure, (0, 0), sigma)
        colors = cv2.GaussianBlur(color * sure[..., None], (0, 0), sigma) / np.maximum(near, 1e-6)[..., None]
        share = (1 - found) * np.clip(20 * near, 0, 1)
        beside += share[..., None] * colors
        found += share
    alpha = np.clip((opacity - ALPHA_BLACK) / (ALPHA_WHITE - ALPHA_BLACK), 0, 1)[..., None]
    straight = color / np.maximum(opacity, 1e-3)[..., None]
    trust = np.maximum(alpha**4, sure[..., None])
    return np.concatenate([beside + trust * (straight - beside), alpha], -1).clip(0, 1)
