"""The region of the lips holds what speech moves, and little else."""

import cv2
import numpy as np
import pytest

from adnerf_core.face.landmarks import CHIN, EAR_LOBES, EYE_POINTS, JAW, NOSE_BRIDGE
from adnerf_core.face.lip_pca import LIPS
from adnerf_core.face.lip_region import CALM_EDGE, JAW_ENDS, UPPER_EDGE, lip_region, lower_face


def faces(drops) -> np.ndarray:
    """A face seen from the front whose jaw hangs `drops` head units lower, frame by frame, at the chin; nothing above the mouth moves."""
    points = np.zeros((478, 3), np.float32)
    angles = np.linspace(0, np.pi, len(JAW))
    points[list(JAW), 0], points[list(JAW), 1] = -0.9 * np.cos(angles), -0.3 - 1.1 * np.sin(angles)
    around = np.linspace(0, 2 * np.pi, len(LIPS), endpoint=False)
    points[list(LIPS), 0], points[list(LIPS), 1] = 0.3 * np.cos(around), -0.8 + 0.15 * np.sin(around)
    points[list(CALM_EDGE), 0], points[list(CALM_EDGE), 1] = np.linspace(-0.7, 0.7, len(CALM_EDGE)), -0.25
    points[list(UPPER_EDGE), 0], points[list(UPPER_EDGE), 1] = np.linspace(-0.5, 0.5, len(UPPER_EDGE)), -0.55
    points[list(EYE_POINTS), 1] = 0.1
    frames = np.repeat(points[None], len(drops), 0)
    share = np.clip(-0.8 - points[:, 1], 0, None) / 0.6
    frames[:, :, 1] -= np.array(drops, np.float32)[:, None] * share
    return frames


def holds(outline: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.array(
        [cv2.pointPolygonTest(outline[:, None, :2], (float(x), float(y)), False) >= 0 for x, y, _ in points]
    )


def test_chin_and_lips_of_every_frame_are_inside_and_the_eyes_are_not():
    frames = faces([0.0] * 50 + [0.3] * 50)
    outline = lip_region(frames)
    for frame in frames[[0, 99]]:
        assert holds(outline, frame[[*LIPS, CHIN]]).all()
    assert not holds(outline, frames[0][[*EYE_POINTS, NOSE_BRIDGE]]).any()


def test_a_wider_mouth_makes_a_longer_region_but_a_stray_detection_does_not():
    shut, wide, stray = (
        lip_region(faces(drops))[:, 1].min() for drops in ([0.0] * 300, [0.0, 0.3] * 150, [0.3] + [0.0] * 299)
    )
    assert wide == pytest.approx(shut - 0.3, abs=0.03)
    assert stray == pytest.approx(shut, abs=0.03)


def test_the_throat_is_held_but_not_the_corners_of_the_jaw_and_the_cheekbones():
    frames = faces([0.0] * 10)
    outline, around = lip_region(frames), lower_face(frames)
    calm = frames[0][[*EAR_LOBES, *JAW[: JAW.index(JAW_ENDS[0]) - 1]]]
    assert outline[:, 1].min() < frames[0][CHIN, 1] - 0.25
    assert not holds(outline, calm).any() and not holds(outline, frames[0][[*CALM_EDGE]]).any()
    assert holds(around, frames[0][[*EAR_LOBES]]).all() and holds(around, outline).all()
    assert outline[outline[:, 1].argmin(), 2] < frames[0][CHIN, 2]  # the throat lies behind the chin
