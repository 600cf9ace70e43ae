"""FaceDetector finds all faces in a picture, also small ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from adnerf_core.errors import MissingBackend
from adnerf_core.face.suppress_stderr import suppress_stderr

MIN_CONFIDENCE = 0.7
"""Smallest score of a face: blobs and textures reach 0.65, faces lie above 0.75."""

TILINGS = (1, 2, 4)
"""Tiles per edge in which faces are looked for, one after the other."""

TILE_OVERLAP = 1.25
"""Edge of a tile over the distance between tiles: a face that one tile cuts lies whole in another if it is small."""

LARGE_FACE = 0.25
"""Height of the largest face over the edge of a tile from which no smaller tiles are needed: any other face that is large enough to
matter has been found too."""

MAX_OVERLAP = 0.2
"""Overlap of two boxes, over the area of the smaller one, from which they are the same face."""

Box = tuple[float, float, float, float]
"""(x, y, width, height), px."""


class FaceDetector:
    """MediaPipe's full-range detector, whose model is part of the wheel. Raises MissingBackend if MediaPipe is missing."""

    def __init__(self):
        try:
            from mediapipe.python.solutions.face_detection import FaceDetection
        except ImportError as error:
            raise MissingBackend("Finding faces needs: pip install --no-deps mediapipe==0.10.21") from error
        with suppress_stderr():
            self._solution = FaceDetection(model_selection=1)
            self._solution.process(np.zeros((64, 64, 3), np.uint8))

    def __call__(self, frame: UInt8[np.ndarray, "height width 3"]) -> list[Box]:
        """Returns the boxes of the faces in an RGB picture, the highest first.

        The detector scales its input down, so that it misses small faces. It therefore sees the whole picture first, then
        ever smaller overlapping tiles, until the largest face is large in them.
        """
        height, width, _ = frame.shape
        boxes: list[Box] = []
        for tiles in TILINGS:
            longer = max(height, width)
            edge = longer if tiles == 1 else int(TILE_OVERLAP * longer / tiles)
            xs, ys = ({int(v) for v in np.linspace(0, max(0, length - edge), tiles)} for length in (width, height))
            for x in sorted(xs):
                for y in sorted(ys):
                    tile = frame[y : y + edge, x : x + edge]
                    boxes += [(x + bx, y + by, bw, bh) for bx, by, bw, bh in self._detect(tile)]
            boxes.sort(key=lambda box: -box[3])
            if boxes and boxes[0][3] > LARGE_FACE * edge:
                break
        distinct: list[Box] = []
        for box in boxes:
            if all(_overlap(box, other) < MAX_OVERLAP for other in distinct):
                distinct.append(box)
        return distinct

    def _detect(self, tile: np.ndarray) -> list[Box]:
        height, width, _ = tile.shape
        detections = self._solution.process(np.ascontiguousarray(tile)).detections or []
        faces = [detection for detection in detections if detection.score[0] >= MIN_CONFIDENCE]
        boxes = [face.location_data.relative_bounding_box for face in faces]
        return [(b.xmin * width, b.ymin * height, b.width * width, b.height * height) for b in boxes]

    def close(self) -> None:
        """Releases the detector's resources."""
        self._solution.close()


def _overlap(a: Box, b: Box) -> float:
    """The area that two boxes share over the smaller one's area: a tile may show only a part of a face."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0) / min(a[2] * a[3], b[2] * b[3])
