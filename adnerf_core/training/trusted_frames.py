"""Which frames of the footage may be shown with other lips: those that show the face as most others do."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import binary_dilation, binary_opening

from adnerf_core.cameras.cameras import project
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.face.landmarks import EAR_LOBES, JAW
from adnerf_core.face.lip_region import CALM_EDGE

CUT_MARGIN = 2
"""Frames before and after a cut that are not shown: encoders and cameras blend two shots over a frame or two."""
HIDDEN_MARGIN = 3
"""Frames before and after those with something before the mouth that are not shown either: a hand is half there for a tenth of a second."""
MIN_HIDDEN = 3
"""Consecutive frames that must differ from the others: hands stay longer, and a single frame is a rare shape of the mouth, at which the
stretches that are played should not break."""
PICTURE_SIZE, BLUR_PX = 256, 2.0
"""Edge of the pictures in which the lower face is compared, px, and the standard deviation of the blur before, which makes the
comparison indifferent to errors of the pose of a pixel or two."""
GRID = 14
"""Columns and rows of the points at which the lower face is compared: they are .1 head units apart, half as wide as a finger."""
COMPONENTS = 5
"""Principal components of the lower face's colours: what speech, turns of the head and changes of light do to them. With
ten, a finger that stays for four seconds becomes a component itself."""
FIT_SHARE, FIT_ROUNDS = 0.75, 4
"""The components are first fitted to this share of the frames, the most usual ones, then anew to those that fit them, FIT_ROUNDS times in
all: frames with something before the mouth shall not become a component."""
HIDDEN_RATIO = 2.4
"""A frame whose colours differ from the components by more than this times the median has something before the mouth. On the reference
clip the ratio is 2.2 at most. A hand, a finger, a microphone and a cup that are painted over the mouth for 4 s of its 46 are found in every
frame; for 10 s, all but the finger. Measured on every second frame with slightly other settings."""


def trusted_frames(dataset: SubjectDataset, track: Track, fits: Bool[ndarray, " frames"]) -> Bool[ndarray, " frames"]:
    """Returns the frames that may be shown.

    They are valid, fit the trained head, have nothing before the mouth, and are not beside a cut. None of the held-out part is among them.

    Args:
        dataset: the footage.
        track: its refined track.
        fits: whether the pose refinement found each frame to fit the trained head.
    """
    numbers = np.flatnonzero(track.valid[: dataset.held_out_from])
    hidden = np.zeros(len(fits), bool)
    hidden[numbers[covered(lower_face_colors(dataset, track, numbers))]] = True
    beside_cut = np.zeros(len(fits), bool)
    for cut in dataset.manifest.get("cuts", ()):
        beside_cut[max(0, cut - CUT_MARGIN) : cut + CUT_MARGIN] = True
    hidden = binary_dilation(binary_opening(hidden, np.ones(MIN_HIDDEN)), iterations=HIDDEN_MARGIN)
    trusted = fits & track.valid & ~beside_cut & ~hidden
    trusted[dataset.held_out_from :] = False
    return trusted


def covered(colors: Float[ndarray, "frames values"]) -> Bool[ndarray, " frames"]:
    """Finds the frames in which something covers the lower face.

    Its colours are described by their principal components over the frames that look alike; the residual of a frame that shows something
    else is large.

    Args:
        colors: colours at the same places of the face in each frame, 0..1.
    """
    distance = np.abs(colors - np.median(colors, 0)).mean(1)
    fitted = distance <= np.quantile(distance, FIT_SHARE)
    for _ in range(FIT_ROUNDS):
        mean = colors[fitted].mean(0)
        usual, residual = colors[fitted] - mean, colors - mean
        components = np.linalg.eigh(usual.T @ usual)[1][:, -COMPONENTS:]
        residual = residual - residual @ components @ components.T
        score = np.sqrt((residual**2).mean(1))
        fitted = score <= HIDDEN_RATIO * np.median(score)
    return ~fitted


def lower_face_colors(dataset: SubjectDataset, track: Track, numbers: ndarray) -> Float[ndarray, "frames values"]:
    """Returns the colours, 0..1, at a grid of places of the lower face in the frames `numbers`."""
    points = torch.from_numpy(_grid(np.median(track.canonical_landmarks[numbers], axis=0))).float()
    camera = dataset.camera.resized(PICTURE_SIZE)
    colors = np.empty((len(numbers), len(points) * 3), np.float32)
    for row, k in zip(colors, numbers.tolist(), strict=True):
        picture = cv2.GaussianBlur(dataset.picture(k, PICTURE_SIZE), (0, 0), BLUR_PX)
        places = project(camera, torch.from_numpy(track.pose[k]).float(), points).numpy()
        rows, cols = places.astype(int).clip(0, PICTURE_SIZE - 1).T
        row[:] = picture[rows, cols].ravel() / 255
    return colors


def _grid(face: Float[ndarray, "478 3"]) -> Float[ndarray, "points 3"]:
    """Returns places on the surface of the lower face: a grid between the jaw line and the upper edge of what the lips can move."""
    jaw = JAW[JAW.index(EAR_LOBES[0]) : JAW.index(EAR_LOBES[1]) + 1]
    outline = face[[*jaw, *CALM_EDGE[::-1]], :2].astype(np.float32)
    axes = (np.linspace(low, high, GRID) for low, high in zip(outline.min(0), outline.max(0), strict=True))
    grid = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    grid = grid[[cv2.pointPolygonTest(outline[:, None], tuple(point), False) > 0 for point in grid.tolist()]]
    depth = LinearNDInterpolator(face[:, :2], face[:, 2])(grid)
    return np.column_stack([grid, depth])[np.isfinite(depth)]
