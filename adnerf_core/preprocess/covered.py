"""Finds the frames in which something is before the mouth: those that do not show the lower face as most others do; and what is before it
in all frames, such as a microphone on a stand: it stays where it is in the picture while the head moves."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import binary_dilation, binary_opening

from adnerf_core.face.landmarks import EAR_LOBES, JAW
from adnerf_core.face.lip_region import CALM_EDGE

HIDDEN_MARGIN = 3
"""Frames before and after those with something before the mouth that are left out too: a hand is half there for a tenth of a second."""
MIN_HIDDEN = 3
"""Consecutive frames that must differ from the others: hands stay longer, and a single frame is a rare shape of the mouth, at which the
stretches that are played should not break."""
PICTURE_SIZE, BLUR_PX = 256, 2.0
"""Edge of the pictures in which the lower face is compared, px, and the standard deviation of the blur before, which makes the
comparison indifferent to errors of the pose of a pixel or two."""
BLUR_REACH = 8
"""Px beyond which OpenCV's blur of that width does not reach: three standard deviations, and a margin."""
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
MIN_RESIDUAL = 0.04
"""Least such difference, of 1 (10 grey levels): where hardly anything moves, a rare shape of the mouth has a large ratio too."""

FIXED_RATIO, MIN_FIXED_CHANGE = 0.5, 0.02
"""A place shows something that stands still if its colour, where it is in the picture, changes by less than this share of what it changes by
where it is on the face; and by how much the latter must change, of 1: a face without texture tells nothing (docs/footage.md)."""


def covered(
    colors: Float[ndarray, "frames values"], numbers: Int[ndarray, " frames"], count: int
) -> Bool[ndarray, " count"]:
    """Marks the frames in which something covers the lower face, and HIDDEN_MARGIN frames around them.

    Args:
        colors: colours at the same places of the face in each frame, 0..1.
        numbers: the frames; others have no mesh.
        count: the number of all frames.
    """
    differs, unknown = np.zeros(count, bool), np.ones(count, bool)
    differs[numbers[unusual(colors)]], unknown[numbers] = True, False
    # Where a hand covers most, no mesh was found: such a frame counts with its neighbours.
    hidden = differs & binary_opening(differs | unknown, np.ones(MIN_HIDDEN))
    return binary_dilation(hidden, iterations=HIDDEN_MARGIN)


def unusual(colors: Float[ndarray, "frames values"]) -> Bool[ndarray, " frames"]:
    """Finds the frames whose colours are not those of most others.

    They are described by their principal components over the frames that look alike; the residual of a frame that shows something
    else is large.
    """
    distance = np.abs(colors - np.median(colors, 0)).mean(1)
    fitted = distance <= np.quantile(distance, FIT_SHARE)
    for _ in range(FIT_ROUNDS):
        mean = colors[fitted].mean(0)
        usual, residual = colors[fitted] - mean, colors - mean
        components = np.linalg.eigh(usual.T @ usual)[1][:, -COMPONENTS:]
        residual = residual - residual @ components @ components.T
        score = np.sqrt((residual**2).mean(1))
        fitted = score <= max(HIDDEN_RATIO * np.median(score), MIN_RESIDUAL)
    return ~fitted


def fixed_share(colors: Float[ndarray, "frames 2 values"]) -> float:
    """Returns the share of the lower face, 0..1, at which something is seen that stands still; 0 if the head or the camera does not tell.

    Args:
        colors: as LowerFace.colors() returns them.
    """
    change = np.abs(colors - np.median(colors, axis=0)).mean(0).reshape(2, -1, 3).mean(-1)
    on_face, in_picture = change
    return float(np.mean((in_picture < FIXED_RATIO * on_face) & (on_face > MIN_FIXED_CHANGE)))


class LowerFace:
    """A grid of places on the surface of the lower face, and their colours in a frame."""

    def __init__(
        self, canonical: Float[ndarray, "frames 478 3"], poses: Float[ndarray, "frames 4 4"], focal: float, size: int
    ):
        """Places the grid.

        Args:
            canonical: landmarks in the head frame, without NaN.
            poses: camera-to-world, of the same frames.
            focal: focal length, px of the frames.
            size: edge of the frames, px.
        """
        self._points = _grid(np.median(canonical, axis=0))
        self._focal = focal / size * PICTURE_SIZE
        self._usual = np.median([self._places(pose) for pose in poses], axis=0).astype(int)

    def colors(self, frame: UInt8[ndarray, "size size 3"], pose: Float[ndarray, "4 4"]) -> Float[ndarray, "2 values"]:
        """Returns the colours, 0..1, in a frame (RGB) with the camera-to-world `pose`: of the face, and where it usually is in the picture."""
        picture = cv2.resize(frame, (PICTURE_SIZE, PICTURE_SIZE), interpolation=cv2.INTER_AREA)
        places = np.stack([self._places(pose), self._usual])
        # Only the face's surroundings are blurred, with all that a blurred pixel depends on.
        low = (places.min((0, 1)) - BLUR_REACH).clip(0)
        high = places.max((0, 1)) + BLUR_REACH + 1
        near = cv2.GaussianBlur(picture[low[0] : high[0], low[1] : high[1]], (0, 0), BLUR_PX)
        rows, cols = np.moveaxis(places - low, -1, 0)
        return near[rows, cols].reshape(2, -1).astype(np.float32) / 255

    def _places(self, pose: Float[ndarray, "4 4"]) -> Int[ndarray, "points 2"]:
        """Where the places are seen, (row, column)."""
        x, y, z = ((self._points - pose[:3, 3]) @ pose[:3, :3]).T
        seen = PICTURE_SIZE / 2 + self._focal * np.stack([-y, x], -1) / -z[:, None]
        return seen.astype(int).clip(0, PICTURE_SIZE - 1)


def _grid(face: Float[ndarray, "478 3"]) -> Float[ndarray, "points 3"]:
    """Returns places on the surface of the lower face: a grid between the jaw line and the upper edge of what the lips can move."""
    jaw = JAW[JAW.index(EAR_LOBES[0]) : JAW.index(EAR_LOBES[1]) + 1]
    outline = face[[*jaw, *CALM_EDGE[::-1]], :2].astype(np.float32)
    axes = (np.linspace(low, high, GRID) for low, high in zip(outline.min(0), outline.max(0), strict=True))
    grid = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    grid = grid[[cv2.pointPolygonTest(outline[:, None], tuple(point), False) > 0 for point in grid.tolist()]]
    depth = LinearNDInterpolator(face[:, :2], face[:, 2])(grid)
    return np.column_stack([grid, depth])[np.isfinite(depth)]
