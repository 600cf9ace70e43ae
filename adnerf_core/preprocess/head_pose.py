"""Head poses from the subject's own rigid points. No face model is needed.

1. bundle_adjust() fits the shape of the rigid points, the focal length and the motions to a subset of the frames.
2. estimate_poses() fits the motion of every frame, with shape and focal length fixed.
3. smooth() makes the motions agree with the optical flow, which removes the tracker's jitter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from adnerf_core.face.landmarks import CHIN, EYE_CORNERS, FOREHEAD_TOP, RIGID_LANDMARKS
from adnerf_core.preprocess.bundle_adjustment import bundle_adjust, estimate_poses
from adnerf_core.preprocess.pose_smoothing import pose_information_matrix, propagate_by_flow, smooth
from adnerf_core.preprocess.rigid_motions import Motions, orthographic_motions, project_centred, similarity

FOCAL_PRIOR = 2.0
"""Expected focal length over the picture's edge. It is that of a portrait lens: about 28 degrees of view across the crop."""

REFERENCE_EDGE = 512.0
"""Edge, px, to which all pictures are scaled for the fit, so that its thresholds in px do not depend on the size."""

SHAPE_FRAMES = 400
"""Frames, evenly spread, in the bundle adjustment: more change nothing but the time."""

MEAN_FACE_FRAMES, MEAN_FACE_ROUNDS = 200, 3
"""Frames, evenly spread, in the mean face, and rounds of aligning to the mean and averaging again."""

MIN_OUTLIER_PX, OUTLIER_RATIO = 3.0, 3.0
"""A frame is not trusted if the root mean square of its residuals exceeds both this many px, at 512 px, and this multiple of the median
frame's: its landmarks are then not those of the face."""


@dataclass(frozen=True)
class HeadTrack:
    """The head's shape and motion.

    Attributes:
        points: the rigid points (RIGID_LANDMARKS) in the head's frame.
        face: the mean face, all landmarks, in the head's frame.
        focal: focal length, px of the frames.
        motions: a motion per frame.
        valid: frames whose motion is trusted; the motions of the others are filled in.
        error_px: root mean square of landmarks minus projected points, per coordinate, over valid frames, px at 512 px.
        usual_error_px: the same in the median frame: something before the face now and then does not raise it.
    """

    points: Float[np.ndarray, "rigid 3"]
    face: Float[np.ndarray, "landmarks 3"]
    focal: float
    motions: Motions
    valid: Bool[np.ndarray, " frames"]
    error_px: float
    usual_error_px: float


def estimate_head_poses(
    landmarks: Float[np.ndarray, "frames landmarks 3"],
    flow: Float[np.ndarray, "frames rigid 2"],
    size: int,
    takes: Sequence[tuple[int, int]] = (),
) -> HeadTrack:
    """Fits the head's shape and motion to tracked landmarks.

    Args:
        landmarks: x, y in px of a square picture (origin at its upper left corner), z in px, smaller is nearer; NaN in
            frames without a face (some may be, not all).
        flow: how far the picture moved at each rigid point since the frame before, px (x right, y down); NaN if unknown.
        size: edge of the picture, px.
        takes: the first frame and the one after the last of each take; the motion of one does not go on in another. One take by default.
    """
    has_face = np.isfinite(landmarks[:, 0, 0])
    scale = REFERENCE_EDGE / size
    tracked = landmarks[has_face] * scale - (REFERENCE_EDGE / 2, REFERENCE_EDGE / 2, 0)
    tracked *= (1, -1, -1)  # to x right, y up, z towards the camera
    rigid = list(RIGID_LANDMARKS)
    observed = tracked[:, rigid, :2]
    face = mean_face(tracked)
    focal = FOCAL_PRIOR * REFERENCE_EDGE
    subset = np.unique(np.linspace(0, len(tracked) - 1, min(SHAPE_FRAMES, len(tracked))).astype(int))
    first = orthographic_motions(face[rigid], tracked[subset][:, rigid], focal)
    points, focal, _ = bundle_adjust(face[rigid], focal, first, observed[subset])
    points, face = to_head_frame(points, face)
    motions = orthographic_motions(points, tracked[:, rigid], focal)
    motions, error = estimate_poses(points, focal, motions, observed)

    trusted = error <= max(MIN_OUTLIER_PX, OUTLIER_RATIO * float(np.median(error)))
    valid = has_face.copy()
    valid[has_face] = trusted
    motions, observed = motions[trusted], observed[trusted]
    predicted, linked = propagate_by_flow(points, focal, motions, valid, flow * (scale, -scale))
    information = pose_information_matrix(points, focal, motions)
    smoothed = _smooth_takes(motions, predicted, linked, valid, information, takes)
    residual = project_centred(points, focal, smoothed[valid]) - observed
    squares = np.mean(residual**2, axis=(1, 2))
    error_px, usual_px = float(np.sqrt(squares.mean())), float(np.sqrt(np.median(squares)))
    return HeadTrack(points, face, focal / scale, smoothed, valid, error_px, usual_px)


def _smooth_takes(
    motions: Motions,
    predicted: Motions,
    linked: Bool[np.ndarray, " valid"],
    valid: Bool[np.ndarray, " frames"],
    information: Float[np.ndarray, "6 6"],
    takes: Sequence[tuple[int, int]],
) -> Motions:
    """Calls smooth() for each take; frames outside all takes get the motion of the nearest valid frame before or after."""
    number = np.cumsum(valid) - 1
    nearest = np.clip(number, 0, None)
    rotation, translation = motions.rotation[nearest].copy(), motions.translation[nearest].copy()
    for first, end in takes or [(0, len(valid))]:
        inside = valid[first:end]
        if inside.any():
            part = number[first:end][inside]
            smoothed = smooth(motions[part], predicted[part], linked[part], inside, information)
            rotation[first:end], translation[first:end] = smoothed.rotation, smoothed.translation
    return Motions(rotation, translation)


def mean_face(landmarks: Float[np.ndarray, "frames landmarks 3"]) -> Float[np.ndarray, "landmarks 3"]:
    """Averages the tracker's 3-D landmarks after aligning them by their rigid points; its depths are the tracker's estimate.

    Args:
        landmarks: x right, y up, z towards the camera.

    Returns:
        The mean in the head's frame: x from the right to the left outer eye corner, whose distance is 1; y from chin to
        forehead, orthogonal to x; the origin is the centre of the rigid points.
    """
    rigid = list(RIGID_LANDMARKS)
    count = min(MEAN_FACE_FRAMES, len(landmarks))
    subset = landmarks[np.unique(np.linspace(0, len(landmarks) - 1, count).astype(int))]
    mean = subset[len(subset) // 2]
    for _ in range(MEAN_FACE_ROUNDS):
        rotation, scale, shift = similarity(mean[rigid], subset[:, rigid])
        back = (subset - shift[:, None]) / scale[:, None, None]
        mean = np.einsum("fji,fnj->fni", rotation, back).mean(0)
    x = mean[EYE_CORNERS[1]] - mean[EYE_CORNERS[0]]
    unit = np.linalg.norm(x)
    x = x / unit
    y = mean[FOREHEAD_TOP] - mean[CHIN]
    y = y - x * (x @ y)
    y /= np.linalg.norm(y)
    axes = np.stack([x, y, np.cross(x, y)])
    return (mean - mean[rigid].mean(0)) @ axes.T / unit


def to_head_frame(
    points: Float[np.ndarray, "rigid 3"], face: Float[np.ndarray, "landmarks 3"]
) -> tuple[Float[np.ndarray, "rigid 3"], Float[np.ndarray, "landmarks 3"]]:
    """Moves both shapes to the head's frame: origin at the centre of `points`, whose outer eye corners are 1 apart.

    `points` is turned so that it fits `face`; then `face` is aligned to `points` in rotation, scale and position.
    """
    rigid = list(RIGID_LANDMARKS)
    right, left = (rigid.index(corner) for corner in EYE_CORNERS)
    rotation, _, _ = similarity(points, face[rigid][None])
    points = (points - points.mean(0)) @ rotation[0].T / np.linalg.norm(points[left] - points[right])
    rotation, scale, shift = similarity(face[rigid], points[None])
    return points, scale[0] * face @ rotation[0].T + shift[0]
