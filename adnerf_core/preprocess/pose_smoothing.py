"""Removes the tracker's jitter from the head's motions, with the help of the optical flow.

The flow tells how the picture changes from one frame to the next far better than the landmarks do, but adding it up drifts.
The landmarks jitter, but do not drift. smooth() combines both.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import solveh_banded
from scipy.spatial.transform import Rotation

from adnerf_core.preprocess.bundle_adjustment import estimate_poses, linearise
from adnerf_core.preprocess.rigid_motions import Motions, project_centred

FLOW_WEIGHT = 6.0
"""Weight of the optical flow over the landmarks. It was raised until the texture of the face stood still under the pose on real clips;
beyond that, the pose drifts away from the landmarks."""

BENDING_WEIGHT = 0.05
"""Weight of the squared second differences of the motion: it fills gaps smoothly, and is too small to damp what was observed."""

MIN_FLOW_POINTS = 12
"""Points with known flow that a link between two frames needs: they give 24 equations for the six parameters of a motion."""

NUMERICAL_WEIGHT = 1e-9
"""Added to the diagonal, so that the system stays numerically regular if a frame is neither valid nor linked."""

INFORMATION_FRAMES = 200
"""Frames, evenly spread, over which the information matrix is averaged."""


def propagate_by_flow(
    points: Float[np.ndarray, "n 3"],
    focal: float,
    motions: Motions,
    valid: Bool[np.ndarray, " frames"],
    flow: Float[np.ndarray, "frames n 2"],
) -> tuple[Motions, Bool[np.ndarray, " valid"]]:
    """Predicts the motion of each valid frame from that of its predecessor and the flow between them.

    Args:
        points: the rigid points in the head's frame.
        focal: focal length, px.
        motions: one per valid frame.
        valid: which frames have a motion.
        flow: how far the picture moved at each point since the frame before, (u, v), px; NaN if unknown.

    Returns:
        The predicted motions, and for which of the valid frames there is a prediction (the others keep their motion).
    """
    at = np.flatnonzero(valid)
    arrived = np.roll(project_centred(points, focal, motions), 1, axis=0) + flow[at]
    known = np.isfinite(arrived[..., 0]).sum(1) >= MIN_FLOW_POINTS
    linked = known & (np.diff(at, prepend=-2) == 1)
    predicted = Motions(motions.rotation.copy(), motions.translation.copy())
    if linked.any():
        fitted, _ = estimate_poses(points, focal, motions[linked], arrived[linked])
        predicted.rotation[linked], predicted.translation[linked] = fitted.rotation, fitted.translation
    return predicted, linked


def pose_information_matrix(
    points: Float[np.ndarray, "n 3"], focal: float, motions: Motions
) -> Float[np.ndarray, "6 6"]:
    """Returns H, such that a small change d of the motion moves the points by d' H d px^2 (mean over points and frames)."""
    subset = motions[:: max(1, len(motions.rotation) // INFORMATION_FRAMES)]
    jm = linearise(points, focal, subset, project_centred(points, focal, subset)).by_motion
    return np.einsum("fnci,fncj->ij", jm, jm) / (len(subset.rotation) * len(points))


def smooth(
    motions: Motions,
    predicted: Motions,
    linked: Bool[np.ndarray, " valid"],
    valid: Bool[np.ndarray, " frames"],
    information: Float[np.ndarray, "6 6"],
) -> Motions:
    """Removes jitter from the motions of the `valid` frames and fills in the others.

    Minimises, over paths q_k of six coordinates in which one unit is one px of mean movement of the points (so that rotation
    and translation are weighted by what they do to the picture), with p the given and m the predicted motions,

        sum |q_k - p_k|^2 + FLOW_WEIGHT sum |(q_k - q_k-1) - (m_k - p_k-1)|^2 + BENDING_WEIGHT sum |q_k-1 - 2 q_k + q_k+1|^2

    Jitter is removed, since the flow does not show it. Fast motion is neither damped nor delayed, since the flow shows it.

    Args:
        motions: one per valid frame, with the tracker's jitter.
        predicted: the same frames, predicted by the flow; see propagate_by_flow().
        linked: which of them have a prediction.
        valid: which frames have a motion.
        information: see pose_information_matrix().

    Returns:
        A motion for every frame.
    """
    centre = Rotation.from_matrix(motions.rotation).mean()
    root = np.linalg.cholesky(information).T

    def coordinates(m: Motions) -> Float[np.ndarray, "n 6"]:
        turns = (Rotation.from_matrix(m.rotation) * centre.inv()).as_rotvec()
        return np.concatenate([turns, m.translation], 1) @ root.T

    at, frames = np.flatnonzero(valid), len(valid)
    path = coordinates(motions)
    target, weight, link, change = np.zeros((frames, 6)), np.zeros(frames), np.zeros(frames), np.zeros((frames, 6))
    target[at], weight[at] = path, 1.0
    link[at[linked]] = FLOW_WEIGHT
    change[at[linked]] = (coordinates(predicted) - np.roll(path, 1, axis=0))[linked]
    target += link[:, None] * change
    target[:-1] -= (link[:, None] * change)[1:]
    solution = np.linalg.solve(root, solveh_banded(_bands(weight, link), target).T).T
    return Motions((Rotation.from_rotvec(solution[:, :3]) * centre).as_matrix(), solution[:, 3:])


def _bands(weight: Float[np.ndarray, " frames"], link: Float[np.ndarray, " frames"]) -> Float[np.ndarray, "3 frames"]:
    """The symmetric matrix of smooth()'s normal equations for solveh_banded: the diagonal last, then the upper diagonals."""
    frames = len(weight)
    bands = np.zeros((3, frames))
    bands[2] = weight + link + NUMERICAL_WEIGHT
    bands[2, :-1] += link[1:]
    bands[1, 1:] -= link[1:]
    for i, a in enumerate((1.0, -2.0, 1.0)):
        for j, b in enumerate((1.0, -2.0, 1.0)[i:], start=i):
            bands[2 - (j - i), j : frames - 2 + j] += BENDING_WEIGHT * a * b
    return bands
