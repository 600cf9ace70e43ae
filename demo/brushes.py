"""The brushes that paint what the picture lacks: clothes, hair, beard, cap and glasses. Lengths are in source px.

A brush for the head paints into its layer [rows, columns, 4] uint8 RGBA, in place; one for the body returns the layer.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from demo.easel import (
    CHIN,
    EYES,
    HEAD_ROWS,
    JAW_LINE,
    LEFT,
    LIPS,
    MOUTH_CORNERS,
    NOSE_BASE,
    PAINT,
    PHOTO_ROWS,
    TOP,
    Easel,
    rgba,
)

SHOULDERS = (
    (150, 27),
    (162, 34),
    (178, 37),
    (193, 43),
    (206, 64),
    (220, 94),
    (234, 114),
    (256, 127),
    (300, 138),
    (460, 152),
)
"""Half the width of neck and body at rows of the picture, in source px."""

NECKLINE = 214
"""Lowest row of the neckline, source px."""


def suit(easel: Easel, image: np.ndarray, person: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Returns the body of the picture: the suit, with what the head hides filled in."""
    chin = easel.points[CHIN, 1]
    behind = (head > 0.02) & (easel.y < chin + 3)
    hole = cv2.dilate(behind.astype(np.uint8) * 255, np.ones((5, 5)))
    rows = slice((HEAD_ROWS - 20 - TOP) * PAINT, (PHOTO_ROWS - TOP) * PAINT)
    filled = np.clip(image, 0, 255).astype(np.uint8)
    filled[rows] = cv2.inpaint(filled[rows], hole[rows], 3, cv2.INPAINT_TELEA)
    shown = np.where(easel.y > HEAD_ROWS + 3, person / 255, 0)
    shown[easel.y >= PHOTO_ROWS] = 0
    return rgba(filled, cv2.GaussianBlur(shown.astype(np.float32), (0, 0), 0.5 * PAINT))


def jumper(easel: Easel, skin: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Returns a body with a neck of the colour `skin` and a knitted jumper."""
    half = PchipInterpolator(*np.array(SHOULDERS, float).T, extrapolate=True)(easel.y).astype(np.float32)
    across = (easel.x - easel.center) / half
    shown = np.clip((1 - np.abs(across)) * half * PAINT / 2 + 0.5, 0, 1) * (easel.y > SHOULDERS[0][0])
    shade = 1.08 - 0.45 * np.abs(across) ** 2.5 - 0.0006 * (easel.y - 180)
    folds = 0.05 * easel.noise(30, 45) + 0.03 * easel.noise(9, 28)
    knit = 0.025 * np.sin(easel.x * 2.4) * np.sin(easel.y * 1.7) + 0.02 * easel.noise(0.7, 0.7)
    cloth = np.array(color, np.float32) * (shade + folds + knit)[..., None]
    beside = (easel.x - easel.center) / 38
    neck_shade = 1.0 - 0.33 * np.clip(np.abs(beside), 0, 1.3) ** 2.2 + 0.015 * easel.noise(2, 2)
    tendons = 0.05 * np.cos(beside * 5.2) * np.clip((easel.y - 185) / 15, 0, 1)
    # Shaded skin is redder: light has gone through it.
    neck = np.asarray(skin, np.float32) * (0.92 * neck_shade + tendons)[..., None] ** np.array([0.93, 1.0, 1.03])
    edge = NECKLINE - 17 * np.abs(beside) ** 2.0
    worn = np.clip((easel.y - edge) * PAINT / 2 + 0.5, 0, 1)[..., None]
    hem = np.exp(-(((easel.y - edge - 4.5) / 0.8) ** 2)) * 0.3 + np.exp(-(((easel.y - edge + 1) / 2.5) ** 2)) * 0.25
    return rgba((neck + (cloth - neck) * worn) * (1 - hem * (np.abs(beside) < 2))[..., None], shown)


def short_cut(easel: Easel, face: np.ndarray) -> np.ndarray:
    """Returns which part of the head stays when its hair is cut short, 0..1."""
    top, left, right = easel.points[10], easel.points[234], easel.points[454]
    middle, ears = (left[0] + right[0]) / 2, (left[1] + right[1]) / 2
    radii = (right[0] - left[0]) / 2 + 8, ears - top[1] + 34
    across, up = (easel.x - middle) / radii[0], np.minimum(easel.y - ears, 0) / radii[1]
    skull = (np.abs(across) ** 2.6 + np.abs(up) ** 2.6) ** (1 / 2.6)  # rounder than an ellipse
    kept = np.clip((1 - skull) * radii[0] / 2 + 0.5, 0, 1) * np.clip((ears + 8 - easel.y) / 8, 0, 1)
    return np.maximum(kept * (1 + 0.1 * np.clip(easel.noise(1.5, 3), -1, 1)), face).clip(0, 1)


def strands(easel: Easel, color: np.ndarray, wave: float = 1.0) -> np.ndarray:
    """Returns the colours of hair that hangs down."""
    bend = easel.x + wave * 4 * np.sin(easel.y / 19 + easel.x / 40)
    at_x, at_y = (bend - LEFT) * PAINT, (easel.y - TOP) * PAINT
    fine = cv2.remap(
        easel.noise(1.0, 60) + 0.8 * easel.noise(4, 120), at_x, at_y, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT
    )
    return np.asarray(color, np.float32) * np.clip(0.85 + 0.22 * fine, 0.25, 1.7)[..., None]


def hair_behind(easel: Easel, body: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Returns the body with long hair behind the neck."""
    side = np.abs(easel.x - easel.center)
    cover = np.clip((72 - side) / 8, 0, 1) * np.clip((easel.y - 70) / 20, 0, 1) * np.clip((265 - easel.y) / 12, 0, 1)
    layer = rgba(strands(easel, color) * 0.45, cover)
    _over(layer, body[..., :3].astype(np.float32), body[..., 3] / np.float32(255))
    return layer


def long_hair(easel: Easel, layer: np.ndarray, color: np.ndarray) -> None:
    """Lets hair fall from the temples over the shoulders."""
    side = easel.x - (easel.points[234, 0] + easel.points[454, 0]) / 2
    rows = np.array([20, 60, 95, 140, 190, 235, 268, 290.0])
    outer = PchipInterpolator(rows, [40, 70, 78, 80, 84, 88, 82, 66.0])(np.clip(easel.y, 20, 290))
    inner = PchipInterpolator(rows, [40, 58, 46, 42, 33, 38, 48, 60.0])(np.clip(easel.y, 20, 290))
    ragged = 1.2 * easel.noise(3, 50)
    inside = np.minimum(np.abs(side) - inner, outer + ragged - np.abs(side))
    cover = (
        np.clip(inside / 5, 0, 1)
        * np.clip((easel.y - 55) / 25, 0, 1)
        * np.clip((288 + 4 * ragged - easel.y) / 14, 0, 1)
    )
    shade = 1.0 - 0.35 * np.exp(-np.clip(inside, 0, None) / 7) * (easel.y > 120)
    _over(layer, strands(easel, color) * shade[..., None].astype(np.float32), cover)


def beard(easel: Easel, layer: np.ndarray, color: np.ndarray, density: float) -> None:
    """Paints a full beard, `density` 0..1."""
    points = easel.points
    corners = points[list(MOUTH_CORNERS), :2]
    nose, chin = points[NOSE_BASE, :2], points[CHIN, :2]
    from_ears = [points[234, :2] + (2, 8), points[192, :2] + (0, 4), corners[0] + (-9, -4), nose + (-11, 4)]
    to_ears = [nose + (11, 4), corners[1] + (9, -4), points[416, :2] + (0, 4), points[454, :2] + (-2, 8)]
    jaw = [
        points[k, :2]
        for k in (323, 361, 288, 397, 365, 379, 378, 400, 377, CHIN, 148, 176, 149, 150, 136, 172, 58, 132, 93)
    ]
    jaw = [p + (0, 7 * np.clip((p[1] - corners[0, 1]) / (chin[1] - corners[0, 1]), 0, 1)) for p in jaw]
    area = easel.polygon(np.array([*from_ears, *to_ears, *jaw]), soft=2.2)
    bare = easel.lines(LIPS, soft=1.2, grow=1)
    hairs = 0.5 + 0.5 * np.clip(easel.noise(0.9, 2.6), -1, 1)
    cover = np.clip(area * (1.25 - 0.5 * (1 - hairs)), 0, 1) * (1 - bare) * (0.35 + 0.6 * density)
    texture = color * (0.62 + 0.3 * hairs + 0.05 * easel.noise(5, 5))[..., None]
    _over(layer, texture, cover)


def hat(easel: Easel, layer: np.ndarray, color: np.ndarray) -> None:
    """Puts a knitted cap over the hair."""
    middle, brow = (easel.points[234, 0] + easel.points[454, 0]) / 2, easel.points[10, 1] + 4
    side, rim = easel.x - middle, brow + 7 - 6 * np.cos((easel.x - middle) / 48)
    radius = 71 - 4 * np.clip((easel.y - brow) / 20, 0, 1)
    dome = np.hypot(side / radius, np.minimum(easel.y - brow, 0) / 84)
    cover = np.clip((1 - dome) * 35 + 0.5, 0, 1) * np.clip((rim + 6 - easel.y) * PAINT + 0.5, 0, 1)
    band = (easel.y > rim - 17) & (dome < 1.2)
    ribs = 0.10 * np.cos(np.arcsin(np.clip(side / radius, -1, 1)) * 36) + 0.05 * np.cos(easel.y * 2.2)
    shade = 1.0 - 0.5 * np.clip(dome, 0, 1) ** 3 + np.where(band, 0.1, 0) + ribs + 0.04 * easel.noise(1, 1)
    shade -= 0.3 * np.exp(-(((easel.y - rim + 17) / 1.6) ** 2))
    below = np.exp(-np.clip(easel.y - rim - 6, 0, None) / 4) * (easel.y > rim + 6) * 0.35 * (np.abs(side) < radius)
    layer[..., :3] = layer[..., :3] * (1 - below[..., None])
    _over(layer, color * shade[..., None], cover)


def mask(easel: Easel, layer: np.ndarray, color: np.ndarray) -> None:
    """Puts a cloth over nose, mouth and chin."""
    points = easel.points
    top = points[NOSE_BASE, :2] + (0, -16)
    outline = [points[k, :2] for k in JAW_LINE] + [top]
    cover = easel.polygon(np.array(outline), soft=0.8, grow=2)
    beside = np.abs(easel.x - easel.center) / 45
    pleats = 0.06 * np.sin((easel.y - top[1]) * 0.7)
    _over(layer, color * (1.05 - 0.3 * beside**2 + pleats + 0.02 * easel.noise(1, 1))[..., None], cover)


def glasses(easel: Easel, dark: bool = False) -> np.ndarray:
    """Returns a layer with glasses: dark rims, and lenses with a weak reflection, or `dark` ones."""
    rims, lens = np.zeros(easel.x.shape, np.float32), np.zeros(easel.x.shape, np.float32)
    centers = [easel.points[list(eye), :2].mean(0) + (0, 3) for eye in EYES]
    slope = (centers[1][1] - centers[0][1]) / (centers[1][0] - centers[0][0])
    for center in centers:
        x, y = easel.x - center[0], easel.y - center[1] - slope * (easel.x - center[0])
        distance = ((np.abs(x) / 18.5) ** 3 + (np.abs(y) / 13.5) ** 3) ** (1 / 3)
        rims = np.maximum(rims, np.clip((1.15 - np.abs(distance - 1) * 13) * PAINT, 0, 1))
        lens = np.maximum(lens, (distance < 1) * (0.05 + 0.12 * np.exp(-(((x + y + 9) / 4) ** 2))))
        if dark:
            rims = np.maximum(rims, 0.97 * (distance < 1))
    middle = (centers[0] + centers[1]) / 2
    bridge = easel.y - middle[1] + 4 - slope * (easel.x - middle[0]) + 0.02 * (easel.x - middle[0]) ** 2
    between = np.abs(easel.x - middle[0]) < np.abs(centers[1][0] - centers[0][0]) / 2 - 17
    rims = np.maximum(rims, np.clip((1.4 - np.abs(bridge)) * PAINT, 0, 1) * between)
    beside = np.abs(easel.x - middle[0]) - np.abs(centers[1][0] - centers[0][0]) / 2 - 18
    reach = (easel.points[454, 0] - easel.points[234, 0]) / 2 - np.abs(centers[1][0] - centers[0][0]) / 2 - 18
    temple = easel.y - middle[1] + 4 - slope * (easel.x - middle[0])
    rims = np.maximum(rims, np.clip((1.5 - np.abs(temple)) * PAINT, 0, 1) * (beside > 0) * (beside < reach))
    rims = cv2.GaussianBlur(rims, (0, 0), 0.35 * PAINT)
    color = np.where(rims[..., None] > lens[..., None], np.array([28, 24, 26], np.float32), np.float32(235))
    return rgba(color, np.maximum(rims, lens))


def _over(layer: np.ndarray, color: np.ndarray, cover: np.ndarray) -> None:
    """Lays `color` over the layer where `cover` (0..1) is; the layer's own coverage grows with it."""
    old = layer[..., 3].astype(np.float32) / 255
    alpha = cover + old * (1 - cover)
    mixed = color * cover[..., None] + layer[..., :3] * (old * (1 - cover))[..., None]
    visible = np.maximum(alpha, 1e-3)[..., None]
    layer[:] = rgba(np.where(alpha[..., None] > 0, mixed / visible, layer[..., :3]), alpha)
