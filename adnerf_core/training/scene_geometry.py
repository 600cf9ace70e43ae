"""Estimates the geometry of a subject's scene from its footage: the head's box, the height of the nose, hair, and the range of poses."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from adnerf_core.cameras.cameras import Camera, pose_angles, project
from adnerf_core.cameras.depth_plane import points_at_depth
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.data.region_labels import NECK_DEPTH
from adnerf_core.face.landmarks import BROW_POINTS, EAR_LOBES, NOSE_BRIDGE, NOSE_TIP
from adnerf_core.face.lip_pca import LIPS
from adnerf_core.models.base import SceneGeometry

FRONT, BACK = 0.8, -2.0
"""Extent of the head's box in depth, head units, with a margin: the tip of the nose and the back of the skull. One for all heads: the
head frame is scaled by the eyes, and the footage hardly shows the back."""
SILHOUETTE_DEPTH = -0.6
"""Depth at which the outline of the head's mask is assumed to lie, head units: about that of the ears, where a head is widest."""
BOX_MARGIN, BOX_PERCENTILE = 0.1, 2
"""The head's box ends BOX_MARGIN head units outside this percentile of the outlines (and 100 minus it), so that a few bad masks do not
enlarge it."""
DEFAULT_SILHOUETTE = ((-1.0, -1.5), (1.0, 1.5))
"""Least and largest (x, y) of a head, head units, for a frame whose mask shows none."""
NOSE_SOFTNESS = 0.06
"""Half-width of the transition between the regions of the sound and of the eyes at the middle of the nose, head units."""
MOUTH_MARGIN = 0.15
"""Margin of the mouth's box around the lips, head units: its features fade out there."""
EYES_MARGIN = 0.25
"""Margin of the eyes' box around the brows and below the bridge of the nose, head units: it ends at the temples, before the hair."""
MIN_ANGLE_STD, MIN_TRANSLATION_STD = 0.01, 0.02
"""Least standard deviations (rad, head units) by which pose codes are divided. If a head hardly moves, tracking noise would otherwise
become a large code."""
HAIR_BESIDE, HAIR_ABOVE, HAIR_BELOW = 0.25, 0.15, -0.3
"""The points at which hanging hair is looked for, from the ear lobes: outwards, up and down, head units. They lie beyond the ears, on
either side of the cut between head and torso."""
MAX_FRAMES = 60
"""Frames that are measured, spread over the training part; percentiles of more change little."""


def estimate_scene_geometry(dataset: SubjectDataset, track: Track, size: int) -> SceneGeometry:
    """Estimates the geometry from the training part of a dataset.

    Args:
        dataset: the footage.
        track: its track, not refined.
        size: side of the images of the run, px.
    """
    trained = np.flatnonzero(track.valid[: dataset.held_out_from])
    measured = trained[:: max(1, len(trained) // MAX_FRAMES)]
    outlines = np.stack([_silhouette(dataset, track, int(frame)) for frame in measured])
    low = np.percentile(outlines[:, 0], BOX_PERCENTILE, axis=0) - BOX_MARGIN
    high = np.percentile(outlines[:, 1], 100 - BOX_PERCENTILE, axis=0) + BOX_MARGIN
    low[1] -= NECK_DEPTH
    center, half = (low + high) / 2, (high - low) / 2
    nose_height = np.nanmean(track.canonical_landmarks[trained][:, [NOSE_TIP, NOSE_BRIDGE], 1])
    angles = pose_angles(torch.from_numpy(track.pose[trained]).double())
    min_std = [MIN_ANGLE_STD] * 3 + [MIN_TRANSLATION_STD] * 3
    return SceneGeometry(
        camera=dataset.camera.resized(size),
        box_center=(float(center[0]), float(center[1]), (FRONT + BACK) / 2),
        box_half=(float(half[0]), float(half[1]), (FRONT - BACK) / 2),
        nose=float((nose_height - center[1]) / half[1]),
        nose_soft=float(NOSE_SOFTNESS / half[1]),
        hair=hanging_hair(dataset, track, measured),
        pose_mean=tuple(angles.mean(0).tolist()),
        pose_std=tuple(np.maximum(angles.std(0).numpy(), min_std).tolist()),
        mouth=mouth_box(track.canonical_landmarks[trained], center, half),
        eyes=eyes_box(track.canonical_landmarks[trained], center, half),
    )


def mouth_box(
    landmarks: Float[ndarray, "frames points 3"], center: Float[ndarray, 2], half: Float[ndarray, 2]
) -> tuple[float, float, float, float]:
    """Returns the box in which the lips open: centre (x, y) and half sides (x, y), in the units of a head's box.

    Args:
        landmarks: in the head frame, head units; NaN where a frame has none.
        center: (x, y) of the head's box, head units.
        half: its half sides, likewise.
    """
    return _box(landmarks[:, LIPS, :2], MOUTH_MARGIN, center, half)


def eyes_box(
    landmarks: Float[ndarray, "frames points 3"], center: Float[ndarray, 2], half: Float[ndarray, 2]
) -> tuple[float, float, float, float]:
    """Returns the box in which the lids move, around brows and bridge of the nose; arguments and result as of mouth_box."""
    return _box(landmarks[:, [*BROW_POINTS, NOSE_BRIDGE], :2], EYES_MARGIN, center, half)


def _box(
    points: Float[ndarray, "frames points 2"], margin: float, center: Float[ndarray, 2], half: Float[ndarray, 2]
) -> tuple[float, float, float, float]:
    low = np.nanpercentile(points.min(1), 1, axis=0) - margin
    high = np.nanpercentile(points.max(1), 99, axis=0) + margin
    return (*(((low + high) / 2 - center) / half).tolist(), *((high - low) / 2 / half).tolist())


def hanging_hair(dataset: SubjectDataset, track: Track, frames: Int[ndarray, " n"]) -> tuple[float, float]:
    """Measures on which shoulders hair hangs down.

    Hair hangs where the mask shows head above the cut between head and torso, and torso below it, at a place beside the ear where
    a neck would leave the background visible.

    Args:
        dataset: the footage.
        track: its track.
        frames: the valid frames to measure.

    Returns:
        The share of the frames, 0..1, with hair on the person's right and on the left.
    """
    lobes = np.nanmean(track.canonical_landmarks[frames][:, EAR_LOBES], axis=0)
    outwards = (-HAIR_BESIDE, HAIR_BESIDE)
    points = [lobe + (x, y, 0) for lobe, x in zip(lobes, outwards, strict=True) for y in (HAIR_ABOVE, HAIR_BELOW)]
    points = torch.tensor(np.array(points), dtype=torch.float32)
    count = np.zeros(2)
    for frame in frames:
        pixels = project(dataset.camera, torch.from_numpy(track.pose[frame]).float(), points)
        rows, cols = pixels.long().clamp(0, dataset.size - 1).numpy().T
        head, torso = dataset.mask(int(frame), dataset.size)[rows, cols].T > 127
        count += head[::2] & torso[1::2]
    right, left = count / len(frames)
    return float(right), float(left)


def _silhouette(dataset: SubjectDataset, track: Track, frame: int) -> Float[ndarray, "2 2"]:
    """Returns the least and the largest (x, y) of the head's mask, projected to SILHOUETTE_DEPTH in the head frame, head units."""
    camera: Camera = dataset.camera
    rows, cols = np.nonzero(dataset.mask(frame, dataset.size)[..., 0] > 127)
    if len(rows) == 0:
        return np.array(DEFAULT_SILHOUETTE)
    corners = np.array([[c, r] for c in (cols.min(), cols.max()) for r in (rows.min(), rows.max())], float)
    pose = track.pose[frame].astype(float)
    depth = np.full(len(corners), SILHOUETTE_DEPTH)
    points = points_at_depth(corners[None], depth, pose[None], camera.focal, camera.center)[0]
    return np.stack([points[:, :2].min(0), points[:, :2].max(0)])
