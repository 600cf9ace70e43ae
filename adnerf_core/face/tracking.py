"""Face landmarks frame by frame, and the optical flow at the rigid ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from importlib import import_module
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.config import TrackerName
from adnerf_core.face.landmarks import NUM_LANDMARKS, RIGID_LANDMARKS

FLOW_WINDOW = 24
"""Edge of the frame over the edge of the windows that the flow compares: 21 px at 512 px, which hold a feature of the face
(an eye corner, the wing of the nose) and little else."""

MIN_WINDOW = 9
"""Smallest such window, px: below it, noise decides."""

PYRAMID_LEVELS = 2
"""Halvings of the resolution at which the flow is searched first: with two, motion larger than a window is found too."""

REACH_WINDOWS = 3
"""Windows between the points and the edge of what is compared: at the coarsest level, a window is four times as wide."""

MAX_RETURN_ERROR = 1 / 1000
"""Flow is discarded if following it forth and back ends further from the start than this, in edges of the frame: half a pixel at
512 px. Over a clear texture the flow returns far more closely."""


@runtime_checkable
class FaceTracker(Protocol):
    """Finds the landmarks of one face in the frames of a video, which are given in order."""

    def __call__(self, frame: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "landmarks 3"] | None:
        """Returns the landmarks of the next frame (RGB), or None if no face is found.

        x and y are px from the upper left corner of the frame; z is px too, and smaller values are nearer to the camera.
        """

    def close(self) -> None:
        """Releases the tracker's resources."""


TRACKERS: dict[TrackerName, str] = {
    "facemesh": "adnerf_core.face.trackers.facemesh:FaceMesh",
    "landmarker": "adnerf_core.face.trackers.landmarker:FaceLandmarker",
}
"""The trackers as `module:class`. They are imported on demand, since their libraries are optional."""


def load_tracker(name: TrackerName, model: str | None = None) -> FaceTracker:
    """Loads a tracker.

    Args:
        name: its name in the configuration.
        model: path of its model file, if it needs one.

    Raises:
        MissingBackend: if its library or model file is missing.
    """
    module, cls = TRACKERS[name].split(":")
    return getattr(import_module(module), cls)(model)


TrackedFrame = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A frame, its landmarks and the flow to it, as track() yields them."""


def track(frames: Iterable[np.ndarray], tracker: FaceTracker) -> Iterator[TrackedFrame]:
    """Tracks the face through a video.

    Args:
        frames: consecutive frames, [height, width, 3] uint8 RGB.
        tracker: it is closed in the end.

    Yields:
        For each frame: the frame; its landmarks [NUM_LANDMARKS, 3], as FaceTracker returns them, NaN without a face; and the
        optical flow [rigid landmarks, 2] from the previous frame, px (x right, y down), NaN where it is unknown.
    """
    rigid = list(RIGID_LANDMARKS)
    previous, points = None, None
    with closing(tracker):
        for frame in frames:
            gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            landmarks = tracker(frame)
            flow = np.full((len(rigid), 2), np.nan, np.float32)
            if points is not None and landmarks is not None:
                flow = optical_flow(previous, gray, points)
            previous, points = gray, None if landmarks is None else landmarks[rigid, :2]
            missing = np.full((NUM_LANDMARKS, 3), np.nan, np.float32)
            yield frame, missing if landmarks is None else landmarks, flow


def optical_flow(
    before: UInt8[np.ndarray, "height width"],
    after: UInt8[np.ndarray, "height width"],
    points: Float[np.ndarray, "n 2"],
) -> Float[np.ndarray, "n 2"]:
    """Returns how far the picture moves at `points` of `before`, px (pyramidal Lucas-Kanade).

    The flow is NaN if following it back from `after` does not return to the start (forward-backward error; Kalal et al.,
    2010).
    """
    window = max(MIN_WINDOW, before.shape[0] // FLOW_WINDOW) | 1
    options = {"winSize": (window, window), "maxLevel": PYRAMID_LEVELS}
    # Only the surroundings of the points are compared, which costs half as much. They begin where the coarsest level has a pixel, too.
    reach, step = REACH_WINDOWS * window, 1 << PYRAMID_LEVELS
    last = np.maximum(np.array(before.shape[::-1]) - reach, 0)  # a face may have left the picture
    corner = (points.min(0) - reach).clip(0, last).astype(int) // step * step
    end = (points.max(0) + reach).clip(corner + reach).astype(int)
    x, y = map(slice, corner, end)
    edge, before, after = before.shape[0], before[y, x], after[y, x]
    start = (points - corner)[:, None].astype(np.float32) - 0.5  # OpenCV's origin is the centre of the first pixel
    end, status, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, **options)
    back, status_back, _ = cv2.calcOpticalFlowPyrLK(after, before, end, None, **options)
    error = np.linalg.norm(back - start, axis=-1)
    lost = (error > edge * MAX_RETURN_ERROR) | (status == 0) | (status_back == 0)
    return np.where(lost, np.nan, (end - start)[:, 0])
