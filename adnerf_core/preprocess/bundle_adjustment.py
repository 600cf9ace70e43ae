"""Bundle adjustment: the shape of the head, one focal length, and the head's motion in each frame, fitted to landmarks.

With X a point in the head's frame, (R_k, t_k) the motion of frame k and f the focal length, the point is seen at

    X_c = R_k X + t_k        u = f x_c / -z_c        v = f y_c / -z_c

in OpenGL's camera frame (x right, y up, looking down -z; u, v from the centre of the picture). Gauss-Newton minimises the
sum of Huber's function of the distances between the (u, v) of all points and frames and the landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from adnerf_core.preprocess.rigid_motions import Motions, project_centred

FOCAL_STIFFNESS = 0.1
"""Penalty of a focal length that is wrong by a factor e, px^2 per residual at 512 px. The focal length can hardly be determined from a
head that stays at one distance, so it is held near its prior."""

SHAPE_STIFFNESS = 1e-3
"""Penalty of moving a point of the shape, relative to what its landmarks say about it: just enough to fix what the pictures leave
open, which are the scale, the head's frame and, for a head that does not turn, the depths."""

HUBER_PX = 1.5
"""Distance of a landmark from its projection, px at 512 px, above which it counts less (Huber's function): about twice the
root mean square of the distances on real clips, which is 0.8 px at most."""

MAX_LOG_FOCAL_STEP = 0.3
"""Largest change of the logarithm of the focal length in one step: the linearisation holds no further."""

ADJUST_STEPS, POSE_STEPS = 12, 8
"""Gauss-Newton steps at most. Fewer are made once the steps fall below the tolerances."""

ADJUST_TOLERANCE, POSE_TOLERANCE = 1e-5, 1e-6
"""Steps smaller than this (rad, head units) end the iteration."""


@dataclass(frozen=True)
class Linearisation:
    """Residuals and their derivatives, all multiplied by the root of Huber's weight; zero for unknown landmarks.

    Attributes:
        residual: r, px.
        by_motion: dr / d(w, d), with (w, d) as in Motions.moved().
        by_point: dr / dX.
        by_focal: dr / d(log f).
    """

    residual: Float[np.ndarray, "frames n 2"]
    by_motion: Float[np.ndarray, "frames n 2 6"]
    by_point: Float[np.ndarray, "frames n 2 3"]
    by_focal: Float[np.ndarray, "frames n 2"]


def linearise(
    points: Float[np.ndarray, "n 3"], focal: float, motions: Motions, observed: Float[np.ndarray, "frames n 2"]
) -> Linearisation:
    """Linearises the projection errors of `points` about the present parameters.

    Args:
        points: points in the head's frame.
        focal: focal length, px.
        motions: the head's motions.
        observed: the landmarks, (u, v), px; NaN if unknown.
    """
    frames, n, _ = observed.shape
    turned = points @ motions.rotation.transpose(0, 2, 1)
    camera = turned + motions.translation[:, None]
    inverse = -1.0 / camera[..., 2]
    projected = focal * camera[..., :2] * inverse[..., None]
    residual = projected - observed
    # A small rotation w moves the turned point p by w x p, and row @ (w x p) = (p x row) @ w. The rows are those of du / dX_c, (s, 0, q),
    # and dv / dX_c, (0, s, r); written out, since numpy.cross() is slow.
    s, (q, r), (x, y, z) = (
        focal * inverse,
        np.moveaxis(projected * inverse[..., None], -1, 0),
        np.moveaxis(turned, -1, 0),
    )
    by_motion = np.zeros((frames, n, 2, 6))
    by_motion[..., 0, 3] = by_motion[..., 1, 4] = s
    by_motion[..., 0, 5], by_motion[..., 1, 5] = q, r
    by_motion[..., 0, 0], by_motion[..., 0, 1], by_motion[..., 0, 2] = y * q, z * s - x * q, -y * s
    by_motion[..., 1, 0], by_motion[..., 1, 1], by_motion[..., 1, 2] = y * r - z * s, -x * r, x * s
    by_point = (by_motion[..., 3:].reshape(frames, 2 * n, 3) @ motions.rotation).reshape(frames, n, 2, 3)
    unknown = ~np.isfinite(residual[..., :1])
    residual = np.where(unknown, 0.0, residual)
    distance = np.linalg.norm(residual, axis=-1, keepdims=True)
    weight = np.where(unknown, 0.0, np.sqrt(HUBER_PX / np.maximum(distance, HUBER_PX)))
    return Linearisation(
        residual * weight, by_motion * weight[..., None], by_point * weight[..., None], projected * weight
    )


def bundle_adjust(
    shape: Float[np.ndarray, "n 3"], focal: float, motions: Motions, observed: Float[np.ndarray, "frames n 2"]
) -> tuple[Float[np.ndarray, "n 3"], float, Motions]:
    """Fits shape, focal length and motions together.

    A Gauss-Newton step solves, with m_k the motion of frame k (6 parameters) and s the shared parameters (the points and the
    logarithm of the focal length, 3 n + 1),

        A_k m_k + B_k s = -g_k  for each k,        sum_k B_k' m_k + C s = -h

    Since no two frames share a motion, the m_k are eliminated (the Schur complement):

        (C - sum_k B_k' A_k^-1 B_k) s = -(h - sum_k B_k' A_k^-1 g_k),        m_k = -A_k^-1 (g_k + B_k s)

    which leaves one small dense system, whatever the number of frames.

    Args:
        shape: initial points, head units; they also are the prior of the shape.
        focal: initial focal length, px; it also is the prior.
        motions: initial motions.
        observed: the landmarks, (u, v), px at 512 px.

    Returns:
        The points, the focal length and the motions.
    """
    prior_shape, prior_focal = shape, focal
    frames, n, _ = observed.shape
    pull = SHAPE_STIFFNESS * frames * (focal / -motions.translation[:, 2].mean()) ** 2
    stiffness = FOCAL_STIFFNESS * observed.size
    for _ in range(ADJUST_STEPS):
        jacobian = linearise(shape, focal, motions, observed)
        a, b, c, g, h = _normal_equations(jacobian)
        c[np.arange(3 * n), np.arange(3 * n)] += pull
        c[-1, -1] += stiffness
        h[:-1] += (pull * (shape - prior_shape)).ravel()
        h[-1] += stiffness * np.log(focal / prior_focal)
        solved = np.linalg.solve(a, np.concatenate([b, g[..., None]], -1))
        reduced = c - np.tensordot(b, solved[..., :-1], ((0, 1), (0, 1)))  # einsum would not use BLAS
        step = -np.linalg.solve(reduced, h - np.einsum("fik,fi->k", b, solved[..., -1]))
        motions = motions.moved(-solved[..., -1] - solved[..., :-1] @ step)
        shape = shape + step[:-1].reshape(n, 3)
        focal *= float(np.exp(np.clip(step[-1], -MAX_LOG_FOCAL_STEP, MAX_LOG_FOCAL_STEP)))
        if np.abs(step).max() < ADJUST_TOLERANCE:
            break
    return shape, focal, motions


def _normal_equations(
    jacobian: Linearisation,
) -> tuple[
    Float[np.ndarray, "frames 6 6"],
    Float[np.ndarray, "frames 6 shared"],
    Float[np.ndarray, "shared shared"],
    Float[np.ndarray, "frames 6"],
    Float[np.ndarray, " shared"],
]:
    """A, B, C, g and h of bundle_adjust(), without the priors. C is block-diagonal in the points."""
    r, jm, jp, jf = jacobian.residual, jacobian.by_motion, jacobian.by_point, jacobian.by_focal
    frames, n, _ = r.shape
    a, g = _motion_equations(jacobian)
    b = np.zeros((frames, 6, 3 * n + 1))
    b[:, :, :-1] = (jm.swapaxes(2, 3) @ jp).transpose(0, 2, 1, 3).reshape(frames, 6, 3 * n)
    b[:, :, -1] = np.einsum("fnci,fnc->fi", jm, jf)
    c = np.zeros((3 * n + 1, 3 * n + 1))
    blocks = c[:-1, :-1].reshape(n, 3, n, 3)
    each = np.arange(n)
    blocks[each, :, each, :] = np.einsum("fnci,fncj->nij", jp, jp)
    c[-1, :-1] = c[:-1, -1] = np.einsum("fnci,fnc->ni", jp, jf).ravel()
    c[-1, -1] = np.sum(jf**2)
    h = np.append(np.einsum("fnci,fnc->ni", jp, r).ravel(), np.sum(jf * r))
    return a, b, c, g, h


def _motion_equations(jacobian: Linearisation) -> tuple[Float[np.ndarray, "frames 6 6"], Float[np.ndarray, "frames 6"]]:
    """A and g of bundle_adjust(); einsum would take ten times as long."""
    frames = len(jacobian.residual)
    rows = jacobian.by_motion.reshape(frames, -1, 6)
    columns = rows.transpose(0, 2, 1)
    return columns @ rows, (columns @ jacobian.residual.reshape(frames, -1, 1))[..., 0]


def estimate_poses(
    points: Float[np.ndarray, "n 3"], focal: float, motions: Motions, observed: Float[np.ndarray, "frames n 2"]
) -> tuple[Motions, Float[np.ndarray, " frames"]]:
    """Fits the motion of each frame on its own, with the shape and the focal length fixed (Gauss-Newton).

    Args:
        points: points in the head's frame.
        focal: focal length, px.
        motions: initial motions.
        observed: the landmarks, (u, v), px; NaN if unknown.

    Returns:
        The motions, and the root mean square of the residuals of each frame, px.
    """
    for _ in range(POSE_STEPS):
        jacobian = linearise(points, focal, motions, observed)
        a, g = _motion_equations(jacobian)
        step = -np.linalg.solve(a, g[..., None])[..., 0]
        motions = motions.moved(step)
        if np.abs(step).max() < POSE_TOLERANCE:
            break
    residual = project_centred(points, focal, motions) - observed
    return motions, np.sqrt(np.nanmean(residual**2, (1, 2)))
