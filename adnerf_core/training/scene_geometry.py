"""Measures a subject in its footage: where the head is, where the nose is, how the head moves."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from adnerf_core.cameras.cameras import Camera, pose_angles, project
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.data.ray_batches import NECK_DEPTH
from adnerf_core.face.landmarks import LOBES, NOSE_BRIDGE, NOSE_TIP
from adnerf_core.models.base import SceneGeometry

FRONT, BACK = 0.8, -2.0
"""The head's extent in depth, head units: the tip of the nose and the back of the skull, with margin."""
MIDDLE = -0.6
"""Depth of the head's silhouette, head units."""
HAIR_BESIDE, HAIR_ABOVE, HAIR_BELOW = 0.25, 0.15, -0.3
"""Where hair on the shoulders is looked for, from the ear lobes outwards, up and down, head units: beyond the ears, on either side
of the cut between head and torso."""
MAX_FRAMES = 60
"""Frames that are enough to see how far the head reaches."""


def estimate_scene_geometry(dataset: SubjectDataset, track: Track, size: int) -> SceneGeometry:
    """The SceneGeometry of a subject, from the training part of its dataset, for pictures of `size` px."""
    trained = np.flatnonzero(track.valid[: dataset.held_out_from])
    camera = dataset.camera.resized(size)
    looked_at = trained[:: max(1, len(trained) // MAX_FRAMES)]
    reach = np.stack([_silhouette(dataset, track, int(k)) for k in looked_at])
    low, high = np.percentile(reach[:, 0], 2, axis=0) - 0.1, np.percentile(reach[:, 1], 98, axis=0) + 0.1
    low[1] -= NECK_DEPTH
    center, half = (low + high) / 2, (high - low) / 2
    middle = np.nanmean(track.canonical_landmarks[trained][:, [NOSE_TIP, NOSE_BRIDGE], 1])
    angles = pose_angles(torch.from_numpy(track.pose[trained]).double())
    return SceneGeometry(
        camera=camera,
        box_center=(float(center[0]), float(center[1]), (FRONT + BACK) / 2),
        box_half=(float(half[0]), float(half[1]), (FRONT - BACK) / 2),
        nose=float((middle - center[1]) / half[1]),
        nose_soft=float(0.06 / half[1]),
        hair=hanging_hair(dataset, track, looked_at),
        pose_mean=tuple(angles.mean(0).tolist()),
        # A head that hardly moves must not turn tracking noise into a large code.
        pose_std=tuple(np.maximum(angles.std(0).numpy(), [0.01] * 3 + [0.02] * 3).tolist()),
    )


def _silhouette(dataset: SubjectDataset, track: Track, frame: int) -> Float[ndarray, "2 2"]:
    """Least and largest (x, y) of the head's mask at `frame`, taken to the head's frame at the depth of the silhouette."""
    camera: Camera = dataset.camera
    rows, cols = np.nonzero(dataset.mask(frame, dataset.size)[..., 0] > 127)
    if len(rows) == 0:
        return np.array([[-1.0, -1.5], [1.0, 1.5]])
    corners = np.array([[c, r] for c in (cols.min(), cols.max()) for r in (rows.min(), rows.max())], float)
    pose = track.pose[frame].astype(float)
    local = np.column_stack(
        [
            (corners[:, 0] - camera.center[0]) / camera.focal,
            (camera.center[1] - corners[:, 1]) / camera.focal,
            -np.ones(4),
        ]
    )
    directions = local @ pose[:3, :3].T
    reach = pose[:3, 3] + directions * ((MIDDLE - pose[2, 3]) / directions[:, 2])[:, None]
    return np.stack([reach[:, :2].min(0), reach[:, :2].max(0)])


def hanging_hair(dataset: SubjectDataset, track: Track, frames: Int[ndarray, " n"]) -> tuple[float, float]:
    """The share of `frames` in which hair hangs down on the person's right, and left: head above the cut and torso below it,
    where a neck leaves the background free."""
    lobes = np.nanmean(track.canonical_landmarks[frames][:, LOBES], axis=0)
    outwards = (-HAIR_BESIDE, HAIR_BESIDE)
    places = [lobe + (x, y, 0) for lobe, x in zip(lobes, outwards, strict=True) for y in (HAIR_ABOVE, HAIR_BELOW)]
    places = torch.tensor(np.array(places), dtype=torch.float32)
    hangs = np.zeros(2)
    for frame in frames:
        pixels = project(dataset.camera, torch.from_numpy(track.pose[frame]).float(), places)
        rows, cols = pixels.long().clamp(0, dataset.size - 1).numpy().T
        head, torso = dataset.mask(int(frame), dataset.size)[rows, cols].T > 127
        hangs += head[::2] & torso[1::2]
    right, left = hangs / len(frames)
    return float(right), float(left)
