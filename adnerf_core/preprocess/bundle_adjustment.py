"""Head pose from the subject's own rigid points: bundle adjustment, then poses, then smoothing over time.

No face model is needed: the shape of the head (RIGID points), one focal length and one rigid motion a frame are
fitted to the landmarks together. With X a point in the head's frame and (R_k, t_k) the motion of frame k,

    X_c = R_k X + t_k        u = f x_c / -z_c        v = -f y_c / -z_c        (u, v from the centre of the picture)

in OpenGL's camera frame (x right, y up, looking down -z). Three steps, each a vectorised Gauss-Newton or closed form:

1. `bundle_adjust`    bundle adjustment of shape, focal length and motions on a subset of the frames
2. `estimate_poses`  the motion of every frame on its own, given shape and focal length
3. `smooth`       the motions made to agree with the flow of the picture, which knows the change from frame to frame
                  far better than the landmarks do, and drifts where they do not

The focal length can hardly be seen from a talking head, so it is held near a prior instead of trusted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import solveh_banded
from scipy.spatial.transform import Rotation

from adnerf_core.face import landmarks as mesh

FOCAL_PRIOR = 2.0
"""Expected focal length over the picture's edge: a portrait lens."""
FOCAL_STIFFNESS = 0.1
"""Cost, px^2 a residual at 512 px, of a focal length wrong by a factor e."""
HUBER_PX = 1.5
"""Residual at 512 px from which a landmark counts less."""
SHAPE_FRAMES = 400
"""Frames, evenly spread, that the bundle adjustment sees: more change nothing but the time."""
FLOW_WEIGHT = 6.0
"""Trust in the picture's flow from frame to frame over the tracker's landmarks: raised until the texture of the face
stood still under the pose on real clips; higher still, and the pose drifts from the landmarks."""
BENDING = 0.05
"""Weight of squared second differences of the motion: fills gaps, and is too small to damp what was seen."""
FLOW_POINTS = 12
"""Points whose flow is known that a link between two frames needs."""

_REFERENCE_EDGE = 512.0


@dataclass(frozen=True)
class Motions:
    """Rigid motions head -> camera: X_c = rotation @ X + translation."""

    rotation: Float[np.ndarray, "frames 3 3"]
    translation: Float[np.ndarray, "frames 3"]

    def __getitem__(self, index) -> Motions:
        return Motions(self.rotation[index], self.translation[index])

    def camera_to_world(self) -> Float[np.ndarray, "frames 4 4"]:
        """The same as camera poses: the inverse motion as 4x4 matrices."""
        pose = np.tile(np.eye(4), (len(self.rotation), 1, 1))
        pose[:, :3, :3] = self.rotation.transpose(0, 2, 1)
        pose[:, :3, 3] = -np.einsum("fji,fj->fi", self.rotation, self.translation)
        return pose

    def yaw_deg(self) -> Float[np.ndarray, " frames"]:
        """Turn of the head to its own left (right in the picture), degrees."""
        return np.degrees(np.arctan2(self.rotation[:, 0, 2], self.rotation[:, 2, 2]))


@dataclass(frozen=True)
class HeadTrack:
    """What `estimate_head_poses` finds.

    points: the rigid points (mesh.RIGID) in the head's frame; face: the mean face, all landmarks, in the same frame;
    focal: px at the picture's edge `size`; valid: frames whose pose is trusted (the others have a filled-in motion);
    error_px: rms of landmarks minus projected points (each coordinate) over valid frames, px at 512.
    """

    points: Float[np.ndarray, "rigid 3"]
    face: Float[np.ndarray, "landmarks 3"]
    focal: float
    motions: Motions
    valid: Bool[np.ndarray, " frames"]
    error_px: float


def estimate_head_poses(
    landmarks: Float[np.ndarray, "frames landmarks 3"], flow: Float[np.ndarray, "frames rigid 2"], size: int
) -> HeadTrack:
    """Fits the head's shape and its motion.

    landmarks: x, y in px of a square picture with edge `size` (origin at its upper left corner), z in px, smaller is
    nearer; NaN in frames without a face, of which there may be some but not all. flow: how far the picture moved at
    each rigid point since the frame before, px (x right, y down); NaN where unknown.
    """
    found = np.isfinite(landmarks[:, 0, 0])
    scale = _REFERENCE_EDGE / size
    seen = landmarks[found] * scale - (_REFERENCE_EDGE / 2, _REFERENCE_EDGE / 2, 0)
    seen *= (1, -1, -1)  # to x right, y up, z towards the camera
    rigid = list(mesh.RIGID_LANDMARKS)
    observed = seen[:, rigid, :2]
    face = mean_face(seen)
    focal = FOCAL_PRIOR * _REFERENCE_EDGE
    subset = np.unique(np.linspace(0, len(seen) - 1, min(SHAPE_FRAMES, len(seen))).astype(int))
    first = orthographic_motions(face[rigid], seen[subset][:, rigid], focal)
    points, focal, _ = bundle_adjust(face[rigid], focal, first, observed[subset])
    points, face = to_head_frame(points, face)
    motions = orthographic_motions(points, seen[:, rigid], focal)
    motions, error = estimate_poses(points, focal, motions, observed)

    trusted = error <= max(3.0, 3.0 * float(np.median(error)))
    valid = found.copy()
    valid[found] = trusted
    motions, observed = motions[trusted], observed[trusted]
    moved, linked = _propagate_by_flow(points, focal, motions, valid, flow * (scale, -scale))
    smoothed = smooth(motions, moved, linked, valid, pose_information_matrix(points, focal, motions))
    residual = project(points, focal, smoothed[valid]) - observed
    return HeadTrack(points, face, focal / scale, smoothed, valid, float(np.sqrt(np.mean(residual**2))))


def _propagate_by_flow(points, focal, motions: Motions, valid, flow) -> tuple[Motions, Bool[np.ndarray, " valid"]]:
    """The motion of each valid frame as its predecessor's motion and the flow since tell it, and where they do."""
    at = np.flatnonzero(valid)
    arrived = np.roll(project(points, focal, motions), 1, axis=0) + flow[at]
    known = np.isfinite(arrived[..., 0]).sum(1) >= FLOW_POINTS
    linked = known & (np.diff(at, prepend=-2) == 1)
    moved = Motions(motions.rotation.copy(), motions.translation.copy())
    if linked.any():
        fitted, _ = estimate_poses(points, focal, motions[linked], arrived[linked])
        moved.rotation[linked], moved.translation[linked] = fitted.rotation, fitted.translation
    return moved, linked


def mean_face(landmarks: Float[np.ndarray, "frames landmarks 3"]) -> Float[np.ndarray, "landmarks 3"]:
    """Mean of the tracker's own 3-D landmarks after alignment by their rigid points, in the head's frame.

    A rough shape to start from; its depths are the tracker's guess.
    """
    rigid = list(mesh.RIGID_LANDMARKS)
    subset = landmarks[np.unique(np.linspace(0, len(landmarks) - 1, min(200, len(landmarks))).astype(int))]
    mean = subset[len(subset) // 2]
    for _ in range(3):
        rotation, scale, shift = similarity(mean[rigid], subset[:, rigid])
        back = (subset - shift[:, None]) / scale[:, None, None]
        mean = np.einsum("fji,fnj->fni", rotation, back).mean(0)
    x = mean[mesh.EYE_CORNERS[1]] - mean[mesh.EYE_CORNERS[0]]
    unit = np.linalg.norm(x)
    x = x / unit
    y = mean[mesh.FOREHEAD_TOP] - mean[mesh.CHIN]
    y = y - x * (x @ y)
    y /= np.linalg.norm(y)
    axes = np.stack([x, y, np.cross(x, y)])
    return (mean - mean[rigid].mean(0)) @ axes.T / unit


def to_head_frame(
    points: Float[np.ndarray, "rigid 3"], face: Float[np.ndarray, "landmarks 3"]
) -> tuple[Float[np.ndarray, "rigid 3"], Float[np.ndarray, "landmarks 3"]]:
    """Moves both shapes to the head's frame exactly: origin at the centre of `points`, unit between the eye corners."""
    rigid = list(mesh.RIGID_LANDMARKS)
    right, left = (rigid.index(corner) for corner in mesh.EYE_CORNERS)
    rotation, _, _ = similarity(points, face[rigid][None])
    points = (points - points.mean(0)) @ rotation[0].T / np.linalg.norm(points[left] - points[right])
    rotation, scale, shift = similarity(face[rigid], points[None])
    return points, scale[0] * face @ rotation[0].T + shift[0]


def similarity(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "frames n 3"]
) -> tuple[Float[np.ndarray, "frames 3 3"], Float[np.ndarray, " frames"], Float[np.ndarray, "frames 3"]]:
    """Least-squares rotation, scale and shift of each frame with target = scale * rotation @ source + shift."""
    source_mean, target_mean = source.mean(0), target.mean(1)
    a, b = source - source_mean, target - target_mean[:, None]
    u, s, vt = np.linalg.svd(np.einsum("fni,nj->fij", b, a))
    sign = np.sign(np.linalg.det(u @ vt))
    s[:, 2] *= sign
    u[:, :, 2] *= sign[:, None]
    rotation = u @ vt
    scale = s.sum(1) / np.sum(a**2)
    return rotation, scale, target_mean - scale[:, None] * np.einsum("fij,j->fi", rotation, source_mean)


def orthographic_motions(
    shape: Float[np.ndarray, "n 3"], landmarks: Float[np.ndarray, "frames n 3"], focal: float
) -> Motions:
    """Motions to start from: the tracker's 3-D landmarks taken as a scaled orthographic view."""
    rotation, scale, shift = similarity(shape, landmarks)
    depth = focal / scale
    return Motions(rotation, np.stack([shift[:, 0] / scale, shift[:, 1] / scale, -depth], 1))


def project(
    points: Float[np.ndarray, "*frames n 3"], focal: float, motions: Motions
) -> Float[np.ndarray, "frames n 2"]:
    """Points of the head (the same or others in each frame) as seen: u right, v up, px from the picture's centre."""
    camera = points @ motions.rotation.transpose(0, 2, 1) + motions.translation[:, None]
    return focal * camera[..., :2] / -camera[..., 2:]


def _linearise(points, focal, motions, observed):
    """Residuals and their derivatives, Huber-weighted: r [F, n, 2], by motion [F, n, 2, 6], by point [F, n, 2, 3], by
    the logarithm of the focal length [F, n, 2]."""
    turned = np.einsum("fij,nj->fni", motions.rotation, points)
    camera = turned + motions.translation[:, None]
    inverse = -1.0 / camera[..., 2]
    projected = focal * camera[..., :2] * inverse[..., None]
    residual = projected - observed
    by_camera = np.zeros((*residual.shape, 3))
    by_camera[..., 0, 0] = by_camera[..., 1, 1] = focal * inverse
    by_camera[..., 2] = projected * inverse[..., None]
    # a small rotation d moves the turned point by d x p, so that row @ (d x p) = (p x row) @ d
    by_motion = np.concatenate([np.cross(turned[..., None, :], by_camera), by_camera], -1)
    by_point = np.einsum("fnci,fij->fncj", by_camera, motions.rotation)
    unknown = ~np.isfinite(residual[..., :1])
    residual = np.where(unknown, 0.0, residual)
    distance = np.linalg.norm(residual, axis=-1, keepdims=True)
    weight = np.where(unknown, 0.0, np.sqrt(HUBER_PX / np.maximum(distance, HUBER_PX)))
    return residual * weight, by_motion * weight[..., None], by_point * weight[..., None], projected * weight


def _moved(motions: Motions, step: Float[np.ndarray, "frames 6"]) -> Motions:
    turn = Rotation.from_rotvec(step[:, :3]).as_matrix()
    return Motions(turn @ motions.rotation, motions.translation + step[:, 3:])


def bundle_adjust(
    shape: Float[np.ndarray, "n 3"], focal: float, motions: Motions, observed: Float[np.ndarray, "frames n 2"]
) -> tuple[Float[np.ndarray, "n 3"], float, Motions]:
    """Bundle adjustment: the shape, the focal length (px) and the motions that explain `observed` best.

    Gauss-Newton with the motions eliminated (each frame's 6x6 block is inverted, the rest is one small dense system).
    Weak pulls to the starting shape and focal length settle what the pictures cannot: scale, frame and depth.
    """
    prior_shape, prior_focal = shape, focal
    frames, n, _ = observed.shape
    pull = 1e-3 * frames * (focal / -motions.translation[:, 2].mean()) ** 2
    stiffness = FOCAL_STIFFNESS * observed.size
    for _ in range(12):
        r, jm, jp, jf = _linearise(shape, focal, motions, observed)
        a = np.einsum("fnci,fncj->fij", jm, jm)
        b = np.zeros((frames, 6, 3 * n + 1))
        b[:, :, :-1] = np.einsum("fnci,fncj->finj", jm, jp).reshape(frames, 6, 3 * n)
        b[:, :, -1] = np.einsum("fnci,fnc->fi", jm, jf)
        c = np.zeros((3 * n + 1, 3 * n + 1))
        blocks = c[:-1, :-1].reshape(n, 3, n, 3)
        each = np.arange(n)
        blocks[each, :, each, :] = np.einsum("fnci,fncj->nij", jp, jp) + pull * np.eye(3)
        c[-1, :-1] = c[:-1, -1] = np.einsum("fnci,fnc->ni", jp, jf).ravel()
        c[-1, -1] = np.sum(jf**2) + stiffness
        gm = np.einsum("fnci,fnc->fi", jm, r)
        gp = np.einsum("fnci,fnc->ni", jp, r) + pull * (shape - prior_shape)
        g = np.append(gp.ravel(), np.sum(jf * r) + stiffness * np.log(focal / prior_focal))
        solved = np.linalg.solve(a, np.concatenate([b, gm[..., None]], -1))
        reduced = c - np.einsum("fik,fil->kl", b, solved[..., :-1])
        step = -np.linalg.solve(reduced, g - np.einsum("fik,fi->k", b, solved[..., -1]))
        motions = _moved(motions, -solved[..., -1] - solved[..., :-1] @ step)
        shape = shape + step[:-1].reshape(n, 3)
        focal *= float(np.exp(np.clip(step[-1], -0.3, 0.3)))
        if np.abs(step).max() < 1e-5:
            break
    return shape, focal, motions


def estimate_poses(
    points: Float[np.ndarray, "n 3"], focal: float, motions: Motions, observed: Float[np.ndarray, "frames n 2"]
) -> tuple[Motions, Float[np.ndarray, " frames"]]:
    """Each frame's motion on its own, given shape and focal length; and the rms of its residuals in px.

    Points that are NaN in `observed` do not count.
    """
    for _ in range(8):
        r, jm, _, _ = _linearise(points, focal, motions, observed)
        a = np.einsum("fnci,fncj->fij", jm, jm)
        step = -np.linalg.solve(a, np.einsum("fnci,fnc->fi", jm, r)[..., None])[..., 0]
        motions = _moved(motions, step)
        if np.abs(step).max() < 1e-6:
            break
    residual = project(points, focal, motions) - observed
    return motions, np.sqrt(np.nanmean(residual**2, (1, 2)))


def pose_information_matrix(
    points: Float[np.ndarray, "n 3"], focal: float, motions: Motions
) -> Float[np.ndarray, "6 6"]:
    """How many squared px (mean over the points) a change of the motion is worth, averaged over frames."""
    subset = motions[:: max(1, len(motions.rotation) // 200)]
    _, jm, _, _ = _linearise(points, focal, subset, project(points, focal, subset))
    return np.einsum("fnci,fncj->ij", jm, jm) / (len(subset.rotation) * len(points))


def smooth(
    motions: Motions,
    moved: Motions,
    linked: Bool[np.ndarray, " valid"],
    valid: Bool[np.ndarray, " frames"],
    information: Float[np.ndarray, "6 6"],
) -> Motions:
    """Removes jitter from the motions of the `valid` frames and fills in the others.

    motions: one a valid frame, each with the tracker's jitter; moved: the same frames, each from its predecessor's
    motion and the flow of the picture since, where `linked`. Least squares over coordinates in which one unit is one px
    of mean movement, so that rotation and translation are weighed by what can be seen:

        sum |q_k - motions_k|^2 + FLOW_WEIGHT sum |(q_k - q_k-1) - (moved_k - motions_k-1)|^2 + BENDING sum |q''|^2

    Jitter goes, since the flow does not show it; fast motion stays, undamped and without lag, since the flow does.
    """
    centre = Rotation.from_matrix(motions.rotation).mean()
    root = np.linalg.cholesky(information).T

    def seen(m: Motions) -> Float[np.ndarray, "n 6"]:
        turns = (Rotation.from_matrix(m.rotation) * centre.inv()).as_rotvec()
        return np.concatenate([turns, m.translation], 1) @ root.T

    at, frames = np.flatnonzero(valid), len(valid)
    place = seen(motions)
    target, weight, link, change = np.zeros((frames, 6)), np.zeros(frames), np.zeros(frames), np.zeros((frames, 6))
    target[at], weight[at] = place, 1.0
    link[at[linked]] = FLOW_WEIGHT
    change[at[linked]] = (seen(moved) - np.roll(place, 1, axis=0))[linked]
    target += link[:, None] * change
    target[:-1] -= (link[:, None] * change)[1:]

    bands = np.zeros((3, frames))  # the symmetric system's diagonal (last row) and upper diagonals, for solveh_banded
    bands[2] = weight + link + 1e-9
    bands[2, :-1] += link[1:]
    bands[1, 1:] -= link[1:]
    for i, a in enumerate((1.0, -2.0, 1.0)):
        for j, b in enumerate((1.0, -2.0, 1.0)[i:], start=i):
            bands[2 - (j - i), j : frames - 2 + j] += BENDING * a * b
    path = solveh_banded(bands, target)
    values = np.linalg.solve(root, path.T).T
    return Motions((Rotation.from_rotvec(values[:, :3]) * centre).as_matrix(), values[:, 3:])
