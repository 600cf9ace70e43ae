"""The torso's estimated motion against the known one."""

import cv2
import numpy as np

from adnerf_core.preprocess.torso_tracking import track_torso

SIZE, COUNT = 160, 21
TORSO = np.zeros((SIZE, SIZE), bool)
TORSO[90:150, 20:140] = True


def moving(truth: np.ndarray, texture: np.ndarray):
    def picture(k: int) -> np.ndarray:
        x, y, angle, scale = truth[k]
        half = SIZE / 2
        c, s = np.exp(scale) * np.cos(angle), np.exp(scale) * np.sin(angle)
        linear = np.array([[c, -s], [s, c]])
        shift = np.array([x, y]) * half + half - linear @ [half, half]
        return cv2.warpAffine(texture, np.column_stack([linear, shift]), (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)

    return picture


def texture() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)


def swaying() -> np.ndarray:
    t = np.arange(COUNT) / COUNT * 2 * np.pi
    return np.stack([0.06 * np.sin(t), 0.03 * np.sin(2 * t), 0.04 * np.sin(t), 0.02 * (1 - np.cos(t))], -1)


def test_known_sway_is_recovered():
    truth = swaying()
    motion = track_torso(range(COUNT), COUNT, 0, moving(truth, texture()), TORSO)
    # 0.004 half-edges are 0.3 px here; angle and scale in rad and log.
    assert np.abs(motion - truth).max(0)[:2].max() < 0.012 and np.abs(motion - truth).mean(0).max() < 0.004


def test_missing_frames_are_bridged():
    truth = swaying()
    present = [k for k in range(COUNT) if k not in (7, 8)]
    motion = track_torso(iter(present), COUNT, 0, moving(truth, texture()), TORSO)
    assert np.abs(motion[7:9] - truth[7:9]).max() < 0.02


def test_a_torso_without_texture_stands_still():
    flat = np.full((SIZE, SIZE), 90, np.uint8)
    assert not track_torso(range(COUNT), COUNT, 0, lambda k: flat, TORSO).any()
