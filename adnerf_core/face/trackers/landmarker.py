"""MediaPipe's FaceLandmarker task: newer than FaceMesh, but it needs its model file (face_landmarker.task)."""

from __future__ import annotations

import math
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.config import FPS
from adnerf_core.errors import MissingBackend
from adnerf_core.face.blaze_face import BlazeFace
from adnerf_core.face.networks import Network
from adnerf_core.face.trackers.mesh_tracker import MeshTracker

MIN_CUTOFF, CUTOFF_PER_SPEED, SPEED_CUTOFF = 0.05, 80.0, 1.0
"""The task's parameters of the One Euro filter: cutoff frequency of landmarks at rest, Hz; its growth with their speed, Hz per face
size a second; and the cutoff frequency of that speed, Hz."""


class FaceLandmarker(MeshTracker):
    """A FaceTracker with the networks of a task file. Raises MissingBackend if LiteRT or the file is missing."""

    def __init__(self, model: str | None):
        if model is None or not Path(model).is_file():
            raise MissingBackend(
                f"The landmarker tracker needs the model file face_landmarker.task ({model or 'no path given'}).",
                "Download it from MediaPipe's page on the Face Landmarker and give its path as `tracker_model`.",
            )
        try:
            with ZipFile(model) as task:
                detector, mesh = task.read("face_detector.tflite"), task.read("face_landmarks_detector.tflite")
        except (BadZipFile, KeyError) as error:
            raise MissingBackend(
                f"{model} is not a face_landmarker.task.",
                "Download it again from MediaPipe's page on the Face Landmarker, and give its path as `tracker_model`.",
            ) from error
        super().__init__(BlazeFace.short_range(detector), TaskMesh(mesh))
        self._filter = OneEuroFilter()

    def __call__(self, frame: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "landmarks 3"] | None:
        landmarks = super().__call__(frame)
        if landmarks is None:
            self._filter = OneEuroFilter()
            return None
        return self._filter(landmarks).astype(np.float32)


class TaskMesh:
    """Finds 478 landmarks in a picture of a face with the task's network, whose file is `model`."""

    edge = 256

    def __init__(self, model: bytes):
        self._network = Network(model)

    def __call__(self, picture: Float[np.ndarray, "1 edge edge 3"]) -> tuple[Float[np.ndarray, "478 3"], float]:
        """Returns the landmarks, of which x and y are px of the picture, and the logit that it is a face."""
        points, logit, _ = self._network(picture)
        return points.reshape(-1, 3), float(logit.item())


class OneEuroFilter:
    """Smooths landmarks over time, the less the faster they move (Casiez et al., 2012), as the task does for videos."""

    def __init__(self):
        self._raw: np.ndarray | None = None

    def __call__(self, landmarks: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Returns the smoothed landmarks of the next frame, px."""
        if self._raw is None:
            self._raw, self._smooth, self._speed = landmarks, landmarks, np.zeros_like(landmarks)
            return landmarks
        size = np.ptp(landmarks[:, :2], axis=0).mean()
        speed = (landmarks - self._raw) * (FPS / size)
        self._speed = self._speed + _weight(SPEED_CUTOFF) * (speed - self._speed)
        weight = _weight(MIN_CUTOFF + CUTOFF_PER_SPEED * np.abs(self._speed))
        self._raw, self._smooth = landmarks, self._smooth + weight * (landmarks - self._smooth)
        return self._smooth


def _weight(cutoff: float | np.ndarray) -> float | np.ndarray:
    """Returns the weight of a new value in a low-pass filter of first order; `cutoff` in Hz."""
    return 1 / (1 + FPS / (2 * math.pi * cutoff))
