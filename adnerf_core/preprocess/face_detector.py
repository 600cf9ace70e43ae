"""FaceDetector finds all faces in a picture, also small ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from adnerf_core.face.blaze_face import BlazeFace

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
    """BlazeFace for small faces, on the whole picture and on parts of it. Raises MissingBackend if LiteRT is missing."""

    def __init__(self):
        self._find = BlazeFace.full_range()

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
        boxes = [face.box for face in self._find(tile) if face.score >= MIN_CONFIDENCE]
        return [(*map(float, low), *map(float, high - low)) for low, high in boxes]

    def close(self) -> None:
        """Releases the detector's resources."""
        del self._find


def _overlap(a: Box, b: Box) -> float:
    """The area that two boxes share over the smaller one's area: a tile may show only a part of a face."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0) / min(a[2] * a[3], b[2] * b[3])
