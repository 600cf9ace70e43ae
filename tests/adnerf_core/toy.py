"""A toy dataset: an ellipsoid that nods and opens a dark mouth, above a block of shoulders. It is made in a second, without a tracker."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from adnerf_core.config import PRESETS
from adnerf_core.data.dataset import VERSION, SubjectDataset
from adnerf_core.face.landmarks import BROW_POINTS, IRISES, JAW, LEFT_EYE, NOSE_BRIDGE, NOSE_TIP, RIGHT_EYE
from adnerf_core.face.lip_pca import LIP_CHIN_LANDMARKS, LOWER_INNER, UPPER_INNER
from adnerf_core.face.lip_region import CALM_EDGE, UPPER_EDGE
from adnerf_core.files.ffmpeg import write_video, write_wav
from adnerf_core.files.run_dir import write_json
from adnerf_core.files.video_formats import FOOTAGE

SIZE, FRAMES, HELD_OUT_FROM, FOCAL, DISTANCE = 48, 66, 60, 96.0, 10.0
RADII = np.array([0.9, 1.2, 1.0])
CENTER = np.array([0.0, 0.0, -0.8])
FOOTAGE_SIZE, FOOTAGE_CROP = (80, 64), (16, 8, SIZE)
"""Width and height of the footage, px, and the square in it that the dataset's frames show (x, y, side)."""

_BASE = PRESETS["draft"]
TOY = _BASE.model_copy(
    update={
        "size": 48,
        "audio_steps": 30,
        "head_steps": 200,
        "torso_steps": 150,
        "rays": 1024,
        "checkpoint_every": 80,
        "field": _BASE.field.model_copy(update={"planes": (12, 32), "sides": 16, "torso_planes": (12, 32)}),
    }
)
SHORT = TOY.model_copy(update={"head_steps": 30, "torso_steps": 12, "rays": 256, "checkpoint_every": 10})
"""TOY learns the toy dataset in ten seconds; SHORT only runs through all phases."""


def make_toy_dataset(root: Path, seed: int = 0) -> SubjectDataset:
    """Writes a dataset of FRAMES frames of SIZE px, whose first audio feature is the opening of the mouth."""
    generator = np.random.default_rng(seed)
    (root / "frames").mkdir(parents=True)
    (root / "masks").mkdir()
    opening = 0.15 + 0.15 * np.sin(np.arange(FRAMES) * 0.9)
    eyes = 0.5 + 0.5 * np.cos(np.arange(FRAMES) * 0.23)
    poses = np.stack([_pose(0.1 * math.sin(k * 0.2), 0.05 * math.sin(k * 0.31)) for k in range(FRAMES)])
    plate = np.full((SIZE, SIZE, 3), (40, 90, 160), np.uint8)
    depose = np.stack([_landmarks(*shape) for shape in zip(opening, eyes, strict=True)])
    landmarks = np.stack([_project(poses[k], depose[k]) for k in range(FRAMES)])
    footage = np.tile(plate[0, 0], (FRAMES, FOOTAGE_SIZE[1], FOOTAGE_SIZE[0], 1))
    left, top, side = FOOTAGE_CROP
    for k in range(FRAMES):
        picture, mask = _draw(plate, poses[k], opening[k])
        cv2.imwrite(str(root / "frames" / f"{k:06d}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        cv2.imwrite(str(root / "masks" / f"{k:06d}.png"), mask[..., ::-1])
        footage[k, top : top + side, left : left + side] = picture
    write_video(root / "footage.mp4", footage, container=FOOTAGE)
    cv2.imwrite(str(root / "background.png"), plate[..., ::-1])
    features = generator.normal(0, 0.1, (FRAMES * 2, 80)).astype(np.float32)
    features[:, 0] = np.repeat(opening, 2) * 6
    np.save(root / "features.npy", features)
    np.savez(
        root / "track.npz", valid=np.ones(FRAMES, bool), landmarks=landmarks.astype(np.float32), pose=poses.astype(np.float32),
        points=depose[0][:8].astype(np.float32), point_ids=np.arange(8), depose=depose.astype(np.float32),
        opening=opening.astype(np.float32), eyes=eyes.astype(np.float32), torso=np.zeros((FRAMES, 4), np.float32),
    )  # fmt: skip
    write_wav(root / "audio.wav", generator.normal(0, 0.1, FRAMES * 640).astype(np.float32))
    write_json(root / "footage.json", {"frames": FRAMES, "frames_with_face": FRAMES, "warnings": []})
    write_json(root / "dataset.json", {
        "version": VERSION, "source": {"name": "toy", "sha256": "0"}, "size": SIZE, "frames": FRAMES, "held_out_from": HELD_OUT_FROM,
        "focal": FOCAL, "center": [SIZE / 2, SIZE / 2], "lag_ms": 0.0, "features": {"name": "mel", "width": 80, "rate": 50},
        "footage": {"width": FOOTAGE_SIZE[0], "height": FOOTAGE_SIZE[1], "crop": list(FOOTAGE_CROP)},
    })  # fmt: skip
    return SubjectDataset(root)


def _pose(yaw: float, pitch: float) -> np.ndarray:
    """Returns the camera-to-world pose of a head that is turned by `yaw` and `pitch` (rad), at DISTANCE."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    head = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    pose = np.eye(4)
    pose[:3, :3] = head.T
    pose[:3, 3] = head.T @ np.array([0, 0, DISTANCE])
    return pose


def _landmarks(opening: float, eyes: float) -> np.ndarray:
    """Returns 478 points in the head frame, of which only those that training reads have a meaningful place."""
    points = np.zeros((478, 3))
    for i, landmark in enumerate(JAW):
        angle = math.pi * i / (len(JAW) - 1)
        points[landmark] = -0.8 * math.cos(angle), -1.1 * math.sin(angle), -0.5
    for i, landmark in enumerate(CALM_EDGE):
        points[landmark] = 0.6 * (2 * i / (len(CALM_EDGE) - 1) - 1), -0.1, 0.0
    for i, landmark in enumerate(UPPER_EDGE):
        points[landmark] = 0.5 * (2 * i / (len(UPPER_EDGE) - 1) - 1), -0.2, 0.0
    for i, landmark in enumerate(LIP_CHIN_LANDMARKS):
        angle = 2 * math.pi * i / len(LIP_CHIN_LANDMARKS)
        points[landmark] = 0.3 * math.cos(angle), -0.5 + opening / 2 * math.sin(angle), 0.1
    points[list(UPPER_INNER), 1] = -0.5 + opening / 2
    points[list(LOWER_INNER), 1] = -0.5 - opening / 2
    for x, (corners, lids), iris in zip((-0.4, 0.4), (RIGHT_EYE, LEFT_EYE), IRISES, strict=True):
        for landmark, side in zip(corners, (math.copysign(0.1, x), math.copysign(0.1, -x)), strict=True):
            points[landmark] = x + side, 0.3, 0.1
        for pair in lids:
            for landmark, up in zip(pair, (0.03, -0.03), strict=True):
                points[landmark] = x, 0.3 + up * eyes, 0.1
        points[iris] = x + 0.02 * opening, 0.3, 0.1
    for i, landmark in enumerate(BROW_POINTS):
        points[landmark] = (-0.4 if i < 5 else 0.4), 0.6, 0.1
    points[NOSE_TIP], points[NOSE_BRIDGE] = (0, -0.1, 0.3), (0, 0.1, 0.2)
    return points


def _project(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Projects points of the head frame; returns (x, y) in px, and z of the camera frame."""
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    return np.stack(
        [SIZE / 2 + FOCAL * local[:, 0] / -local[:, 2], SIZE / 2 - FOCAL * local[:, 1] / -local[:, 2], local[:, 2]], -1
    )


def _draw(plate: np.ndarray, pose: np.ndarray, opening: float) -> tuple[np.ndarray, np.ndarray]:
    """Intersects a ray for each pixel with the ellipsoid; returns the image and the mask, RGB."""
    steps = np.arange(SIZE) + 0.5 - SIZE / 2
    cols, rows = np.meshgrid(steps, steps)
    directions = np.stack([cols / FOCAL, -rows / FOCAL, -np.ones_like(cols)], -1) @ pose[:3, :3].T
    origin, scaled = (pose[:3, 3] - CENTER) / RADII, directions / RADII
    a, b, c = (scaled**2).sum(-1), (scaled * origin).sum(-1), (origin**2).sum() - 1
    hit = b**2 - a * c > 0
    place = CENTER + (origin + scaled * ((-b - np.sqrt(np.maximum(b**2 - a * c, 0))) / a)[..., None]) * RADII
    head = hit.astype(np.uint8) * 255
    torso = ((rows > 12) & (np.abs(cols) < 20) & ~hit).astype(np.uint8) * 255
    color = np.stack([200 + 40 * place[..., 0], 150 + 40 * place[..., 1], np.full_like(cols, 120)], -1)
    mouth = (np.abs(place[..., 0]) < 0.3) & (np.abs(place[..., 1] + 0.5) < opening / 2)
    color[mouth] = 10
    picture = np.where(hit[..., None], color, np.where(torso[..., None] > 0, (60, 60, 60), plate))
    return picture.clip(0, 255).astype(np.uint8), np.stack([head, torso, np.zeros_like(head)], -1)
