"""The background of a video, and the extraction of the person in front of it."""

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
"""Opacities that become 0 and 1; those in between are stretched linearly. The fields leave a thin haze beside the person, which would
show before another background, and hardly reach full opacity inside (docs/decisions/0013-views.md)."""
INSET = 0.004
"""Distance from the edge of the opaque person at which its colours are free of the footage's background, in picture widths: 1 px
at 256 px, the blur of the fields."""
BLUR_STEPS = (1, 4, 16)
"""Radii, in units of the inset, over which colours are extended outwards: the nearest colours where there are any, else those from
further inside."""
MIN_OPACITY = 1e-3
"""Lower bound of the opacity that a premultiplied colour is divided by; where it is below, the colour is not used anyway."""


def make_background(
    subject: Subject, background: Background, picture: Path | None, size: int, device: str
) -> Float[Tensor, "size size 3"]:
    """Makes the background of a video.

    Args:
        subject: Gives the clean plate of its footage, for the kind `original`.
        background: The kind of background.
        picture: Picture file for the kind `image`; its middle square is used.
        size: Edge of the video, px.
        device: Device of the result.

    Returns:
        Colours 0..1; black for the kind `transparent`.

    Raises:
        NotMedia: If the picture is missing or cannot be read.
    """
    if background.kind == "transparent":
        return torch.zeros((size, size, 3), device=device)
    if background.kind == "color":
        red, green, blue = (int(background.color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return torch.tensor([red, green, blue], device=device).expand(size, size, 3)
    if background.kind == "image":
        image = read_background_image(picture)
        side_px = min(image.shape[:2])
        top, left = (image.shape[0] - side_px) // 2, (image.shape[1] - side_px) // 2
        image = image[top : top + side_px, left : left + side_px]
    else:
        image = (subject.background.cpu().numpy() * 255).round().astype(np.uint8)
    return image_to_tensor(resize(image, size), device)


def extract_foreground(
    color: Float[ndarray, "size size 3"], opacity: Float[ndarray, "size size"]
) -> Float[ndarray, "size size 4"]:
    """Extracts the person for compositing before another background (matting with colour decontamination).

    Along the outline the fields have learnt a share of the footage's background, which would be a fringe before another one. So
    the colours of partly opaque pixels come from the opaque person nearby. They are extended beyond the outline too, so that
    neither scaling nor subsampled chroma mixes in another colour.

    Args:
        color: Rendered colours, premultiplied by opacity, 0..1.
        opacity: Opacity of the person, 0..1.

    Returns:
        Straight colours (not premultiplied) and alpha, 0..1.
    """
    inset = max(1, round(INSET * len(opacity)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * inset + 1, 2 * inset + 1))
    solid = cv2.erode((opacity > ALPHA_WHITE).astype(np.float32), disc, borderType=cv2.BORDER_REPLICATE)
    extended, coverage = np.zeros_like(color), np.zeros_like(opacity)
    for step in BLUR_STEPS:
        weight = cv2.GaussianBlur(solid, (0, 0), step * inset)
        blurred = cv2.GaussianBlur(color * solid[..., None], (0, 0), step * inset)
        # Full use from a weight of 1/20 on: less is the tail of the blur, and ill-conditioned.
        share = (1 - coverage) * np.clip(20 * weight, 0, 1)
        extended += share[..., None] * (blurred / np.maximum(weight, 1e-6)[..., None])
        coverage += share
    alpha = np.clip((opacity - ALPHA_BLACK) / (ALPHA_WHITE - ALPHA_BLACK), 0, 1)[..., None]
    straight = color / np.maximum(opacity, MIN_OPACITY)[..., None]
    # The rendered colour of a pixel counts only if the pixel is nearly opaque: with alpha^4, half opacity gives it a sixteenth.
    own_share = np.maximum(alpha**4, solid[..., None])
    return np.concatenate([extended + own_share * (straight - extended), alpha], -1).clip(0, 1)
