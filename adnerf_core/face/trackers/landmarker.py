"""MediaPipe's FaceLandmarker task: newer than FaceMesh, but it needs its model file (face_landmarker.task)."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.config import FPS
from adnerf_core.errors import MissingBackend
from adnerf_core.face.suppress_stderr import suppress_stderr


class FaceLandmarker:
    """A FaceTracker on `mediapipe.tasks`. Raises MissingBackend if MediaPipe or the model file is missing."""

    def __init__(self, model: str | None):
        if model is None or not Path(model).is_file():
            raise MissingBackend(
                f"The landmarker tracker needs the model file face_landmarker.task ({model or 'no path given'}).",
                "Download it from MediaPipe's page on the Face Landmarker and give its path as `tracker_model`.",
            )
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise MissingBackend("The landmarker tracker needs: pip install --no-deps mediapipe==0.10.21") from error
        options = vision.FaceLandmarkerOptions(BaseOptions(model), running_mode=vision.RunningMode.VIDEO)
        with suppress_stderr():
            self._task = vision.FaceLandmarker.create_from_options(options)
        self._image, self._format = mediapipe.Image, mediapipe.ImageFormat.SRGB
        self._count = 0
        self._has_found_a_face = False  # until then, further parts of the graph may start and log

    def __call__(self, frame: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "landmarks 3"] | None:
        height, width, _ = frame.shape
        image = self._image(self._format, np.ascontiguousarray(frame))
        with nullcontext() if self._has_found_a_face else suppress_stderr():
            faces = self._task.detect_for_video(image, self._count * 1000 // FPS).face_landmarks
        self._count += 1
        self._has_found_a_face |= bool(faces)
        if not faces:
            return None
        return np.array([(p.x * width, p.y * height, p.z * width) for p in faces[0]], np.float32)

    def close(self) -> None:
        """Releases the tracker's resources."""
        self._task.close()
