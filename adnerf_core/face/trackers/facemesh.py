"""MediaPipe's FaceMesh solution: its model comes with the wheel, so it works without a download."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.errors import MissingBackend
from adnerf_core.face.suppress_stderr import suppress_stderr


class FaceMesh:
    """A FaceTracker on `mediapipe.solutions`."""

    def __init__(self, model: str | None = None):
        try:
            from mediapipe.python.solutions.face_mesh import FaceMesh as Solution
        except ImportError as error:
            raise MissingBackend("The facemesh tracker needs: pip install --no-deps mediapipe==0.10.21") from error
        with suppress_stderr():
            self._solution = Solution(static_image_mode=False, max_num_faces=1, refine_landmarks=True)
            self._solution.process(np.zeros((64, 64, 3), np.uint8))  # its threads chat while they start
        self._settled = False

    def __call__(self, frame: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "landmarks 3"] | None:
        height, width, _ = frame.shape
        with nullcontext() if self._settled else suppress_stderr():
            faces = self._solution.process(frame).multi_face_landmarks
        self._settled |= bool(faces)
        if not faces:
            return None
        return np.array([(p.x * width, p.y * height, p.z * width) for p in faces[0].landmark], np.float32)

    def close(self) -> None:
        self._solution.close()
