"""The clean plate of a camera that moves, and of a background that moves, against the known one."""

from __future__ import annotations

import cv2
import numpy as np
from skimage.data import astronaut

from adnerf_core.preprocess.background import clean_plate

EDGE = 160


def scene(k: int, camera: np.ndarray | None = None, screen: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Frame k of a room with a person (a grey disk) who sways, and its mask; `camera` maps the room to the frame."""
    room = cv2.resize(astronaut(), (EDGE, EDGE))
    if screen:
        room[20:60, 100:150] = np.roll(room[20:60, 100:150], 7 * k, axis=1)
        cv2.rectangle(room, (105 + 3 * k % 30, 25), (115 + 3 * k % 30, 55), (255, 255, 255), -1)
    person = np.zeros((EDGE, EDGE), np.uint8)
    cv2.circle(person, (70 + round(12 * np.sin(k)), 120), 40, 255, -1)
    room[person > 0] = 128
    if camera is not None:
        room, person = (
            cv2.warpAffine(each, camera, (EDGE, EDGE), borderMode=cv2.BORDER_REFLECT) for each in (room, person)
        )
    return room, person / 255


def error(plate: np.ndarray, where: np.ndarray) -> float:
    return float(np.abs(plate - cv2.resize(astronaut(), (EDGE, EDGE)).astype(float)).mean(-1)[where].mean())


def test_a_pan_and_a_zoom_are_taken_out():
    """What the person hides in the first frame is shown by the others, whose camera stands elsewhere."""
    cameras = [np.array([[1 + 0.004 * k, 0, 1.2 * k], [0, 1 + 0.004 * k, -0.7 * k]]) for k in (0, 3, 6, 9, -4, -8)]
    pairs = [scene(k, camera) for k, camera in enumerate(cameras)]
    hidden = [cv2.dilate(scene(k)[1], np.ones((17, 17))) > 0 for k in range(6)]
    uncovered = (pairs[0][1] > 0) & ~np.all(hidden, axis=0)
    moved, _, _ = clean_plate(pairs)
    aligned, hole, moving = clean_plate(pairs, align=True)
    assert uncovered.sum() > 100 and error(aligned, uncovered) < 0.5 * error(moved, uncovered)
    assert 0.05 < hole < 0.3 and moving < 0.1


def test_where_the_background_moves_the_plate_shows_one_moment():
    pairs = [scene(k, screen=True) for k in range(12)]
    plate, _, moving = clean_plate(pairs)
    assert np.abs(plate[25:55, 105:145] - pairs[0][0][25:55, 105:145].astype(float)).mean() < 4
    assert 0.03 < moving < 0.15
    plate, _, moving = clean_plate([scene(k) for k in range(12)])
    clear = np.ones((EDGE, EDGE), bool)
    clear[75:, 15:125] = False
    assert moving == 0 and error(plate, clear) == 0
