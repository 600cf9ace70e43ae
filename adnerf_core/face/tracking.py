"""Face landmarks, frame by frame, and the flow of the picture at the rigid ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from importlib import import_module
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.config import TrackerName
from adnerf_core.face import landmarks as mesh


@runtime_checkable
@runtime_checkable
class FaceTracker(Protocol):
    """Finds the mesh of the one face in the frames of a video, given in order."""

    def __call__(self, frame: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "landmarks 3"] | None:
        """Landmarks of the next frame (RGB): x, y in px from its upper left corner, z in px, smaller is nearer.

        None where no face is found.
        """

    def close(self) -> None: ...


TRACKERS: dict[TrackerName, str] = {
    "facemesh": "adnerf_core.face.trackers.facemesh:FaceMesh",
    "landmarker": "adnerf_core.face.trackers.landmarker:FaceLandmarker",
}


def load_tracker(name: TrackerName, model: str | None = None) -> FaceTracker:
    """The tracker called `name`; `model` is its model file where it needs one.

    Raises MissingBackend where its library or model file is not there.
    """
    module, cls = TRACKERS[name].split(":")
    return getattr(import_module(module), cls)(model)


TrackedFrame = tuple[np.ndarray, np.ndarray, np.ndarray]


def track(frames: Iterable[np.ndarray], tracker: FaceTracker) -> Iterator[TrackedFrame]:
    """Follows the face: yields each frame with its landmarks [landmarks, 3] and the flow [rigid, 2] since the last frame.

    Landmarks are NaN where no face is found; flow (px, x right, y down) is NaN where it is not known. Closes the tracker.
    """
    rigid = list(mesh.RIGID_LANDMARKS)
    before, points = None, None
    with closing(tracker):
        for frame in frames:
            gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            landmarks = tracker(frame)
            flow = np.full((len(rigid), 2), np.nan, np.float32)
            if points is not None and landmarks is not None:
                flow = optical_flow(before, gray, points)
            before, points = gray, None if landmarks is None else landmarks[rigid, :2]
            missing = np.full((mesh.NUM_LANDMARKS, 3), np.nan, np.float32)
            yield frame, missing if landmarks is None else landmarks, flow


def optical_flow(
    before: UInt8[np.ndarray, "height width"],
    after: UInt8[np.ndarray, "height width"],
    points: Float[np.ndarray, "n 2"],
) -> Float[np.ndarray, "n 2"]:
    """How far the picture moves at `points` of `before`, px; NaN where following it back does not return."""
    window = max(9, before.shape[0] // 24) | 1
    options = {"winSize": (window, window), "maxLevel": 2}
    start = points[:, None].astype(np.float32) - 0.5  # OpenCV's origin is the centre of the first pixel
    end, there, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, **options)
    back, again, _ = cv2.calcOpticalFlowPyrLK(after, before, end, None, **options)
    lost = (np.linalg.norm(back - start, axis=-1) > before.shape[0] / 1000) | (there == 0) | (again == 0)
    return np.where(lost, np.nan, (end - start)[:, 0])
