"""MediaPipe's FaceMesh solution. Its model is part of the wheel, so that it works without a download."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.errors import MissingBackend
from adnerf_core.face.suppress_stderr import suppress_stderr


class FaceMesh:
    """A FaceTracker on `mediapipe.solutions`. Raises MissingBackend if MediaPipe is missing."""

    def __init__(self, model: str | None = None):
        try:
            from mediapipe.python.solutions.face_mesh import FaceMesh as Solution
        except ImportError as error:
            raise MissingBackend("The facemesh tracker needs: pip install --no-deps mediapipe==0.10.21") from error
        with suppress_stderr():
            self._solution = Solution(static_image_mode=False, max_num_faces=1, refine_landmarks=True)
            # Its threads log while they start, so let them start here: on a picture without a face.
            self._solution.process(np.zeros((64, 64, 3), np.uint8))
        self._has_found_a_face = False  # until then, further parts of the graph may start and log

    def __call__(self, frame: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "landmarks 3"] | None:
        height, width, _ = frame.shape
        with nullcontext() if self._has_found_a_face else suppress_stderr():
            faces = self._solution.process(frame).multi_face_landmarks
        self._has_found_a_face |= bool(faces)
        if not faces:
            return None
        return np.array([(p.x * width, p.y * height, p.z * width) for p in faces[0].landmark], np.float32)

    def close(self) -> None:
        """Releases the tracker's resources."""
        self._solution.close()
