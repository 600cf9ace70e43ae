"""Things that pass before the mouth: a hand and a microphone, as RGBA layers."""

from __future__ import annotations

import cv2
import numpy as np

FINGERS = ((-0.34, -0.98, 0.105), (-0.11, -1.12, 0.11), (0.12, -1.08, 0.11), (0.33, -0.88, 0.095), (0.62, -0.3, 0.115))
"""Tips of a hand's fingers, the thumb last: x, y from the middle of the palm and half the width, in heights of a face."""


def paint_hand(face: float, skin: tuple[int, int, int]) -> np.ndarray:
    """Returns the back of a hand with a part of the arm; `face` is the height of the speaker's face, px."""
    size = int(4.4 * face) // 2 * 2
    mask, dents = np.zeros((size, size), np.uint8), np.zeros((size, size), np.float32)
    unit, middle = 0.62 * face, size / 2

    def at(x: float, y: float) -> tuple[int, int]:
        return round(middle + x * unit), round(middle + y * unit)

    cv2.ellipse(mask, at(0, 0), (round(0.47 * unit), round(0.55 * unit)), 0, 0, 360, 255, -1, cv2.LINE_AA)
    for number, (x, y, half) in enumerate(FINGERS):
        start = at(0.75 * x if number < 4 else 0.25, -0.3 if number < 4 else 0.2)
        cv2.line(mask, start, at(x, y), 255, round(2 * half * unit), cv2.LINE_AA)
        if number < 3:
            gap = (x + FINGERS[number + 1][0]) / 2
            cv2.line(dents, at(0.85 * gap, -0.4), at(gap, -0.92), 1.0, max(1, round(0.03 * unit)), cv2.LINE_AA)
    cv2.fillPoly(mask, [np.array([at(-0.34, 0.2), at(0.36, 0.2), at(0.5, 3.4), at(-0.46, 3.4)])], 255, cv2.LINE_AA)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.02 * unit)
    round_edge = cv2.GaussianBlur(mask, (0, 0), 0.14 * unit).astype(np.float32) / 255
    shade = 0.62 + 0.4 * np.clip(2 * round_edge - 0.9, 0, 1) - 0.3 * cv2.GaussianBlur(dents, (0, 0), 0.025 * unit)
    shade += 0.02 * cv2.GaussianBlur(np.random.default_rng(3).normal(size=mask.shape), (0, 0), 0.05 * unit) / 0.05
    color = np.array(skin, np.float32) * shade[..., None].astype(np.float32)
    return np.clip(np.dstack([color, mask]), 0, 255).astype(np.uint8)


def paint_microphone(face: float) -> np.ndarray:
    """Returns a reporter's microphone; `face` is the height of the speaker's face, px."""
    size = int(7 * face) // 2 * 2
    y, x = (np.mgrid[:size, :size].astype(np.float32) - size / 2) / (0.62 * face)
    ball = 1 - np.hypot(x / 0.36, y / 0.42)
    stick = (1 - np.abs(x) / 0.15) * (y > 0)
    light = np.clip(1 - np.hypot(x + 0.12, y + 0.14) / 0.5, 0, 1)
    grain = np.random.default_rng(4).normal(size=x.shape)
    foam = np.array([58, 60, 66]) * (0.5 + 0.9 * light + 0.06 * grain)[..., None]
    metal = np.array([44, 44, 48]) * (0.6 + 1.4 * np.exp(-(((x + 0.06) / 0.05) ** 2)))[..., None]
    cover = np.clip(np.maximum(ball * 0.36, stick * 0.15) * 0.62 * face, 0, 1)
    color = np.where((ball > 0)[..., None], foam, metal)
    return np.clip(np.dstack([color, cover * 255]), 0, 255).astype(np.uint8)
