"""BlazeFace, MediaPipe's detector of faces (Bazarevsky et al., 2019): boxes with the eyes and four other points."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.face.networks import Network, read_model
from adnerf_core.face.squares import Square

SAME_FACE = 0.3
"""Intersection over union from which two boxes are the same face and are averaged, as in MediaPipe."""


@dataclass(frozen=True)
class Face:
    """A face in a picture.

    Attributes:
        score: 0..1.
        box: upper left and lower right corner, [2, 2], (x, y), px.
        points: right eye, left eye, nose, mouth, right ear, left ear, [6, 2], (x, y), px.
    """

    score: float
    box: Float[np.ndarray, "2 2"]
    points: Float[np.ndarray, "6 2"]


class BlazeFace:
    """Finds the faces in a picture.

    Args:
        model: content of the network's file.
        edge: edge of the network's input, px.
        min_score: smallest score of a box that counts.
        anchors: (edge, number) of each grid of anchors: the cells along its edge, and the boxes that the network predicts for a cell.
    """

    def __init__(self, model: bytes, edge: int, min_score: float, anchors: tuple[tuple[int, int], ...]):
        self._network, self._edge, self._min_logit = Network(model), edge, np.log(min_score / (1 - min_score))
        grids = [np.repeat(_cell_centres(cells), number, axis=0) for cells, number in anchors]
        self._anchors = np.concatenate(grids)

    @classmethod
    def short_range(cls, model: bytes | None = None) -> BlazeFace:
        """Loads the network for faces near the camera, from this package or from the content of its file."""
        return cls(model or read_model("face_detection_short_range.tflite"), 128, 0.5, ((16, 2), (8, 6)))

    @classmethod
    def full_range(cls) -> BlazeFace:
        """Loads the network that also finds small faces."""
        return cls(read_model("face_detection_full_range_sparse.tflite"), 192, 0.6, ((48, 1),))

    def __call__(self, frame: UInt8[np.ndarray, "height width 3"]) -> list[Face]:
        """Returns the faces in an RGB picture, the highest score first."""
        height, width, _ = frame.shape
        whole = Square(width / 2, height / 2, max(height, width))
        pixels = whole.crop(frame, self._edge, cv2.BORDER_CONSTANT)
        raw, logits = self._network(pixels[None].astype(np.float32) / 127.5 - 1)
        logits = logits[0, :, 0]
        found = np.flatnonzero((logits >= self._min_logit) & (raw[0, :, 2:4] >= 0).all(1))
        found = found[np.argsort(-logits[found], kind="stable")]
        pairs = raw[0, found].reshape(-1, 8, 2) / self._edge  # centre, size, and six points
        pairs[:, 1] /= 2
        anchors = self._anchors[found, None]
        points = np.concatenate([pairs[:, :1] - pairs[:, 1:2], pairs[:, :1] + pairs[:, 1:2], pairs[:, 2:]], 1) + anchors
        points = points * whole.edge + (whole.x - whole.edge / 2, whole.y - whole.edge / 2)
        return _average(points, 1 / (1 + np.exp(-logits[found].astype(np.float64))))


def _cell_centres(cells: int) -> Float[np.ndarray, "n 2"]:
    """Returns the (x, y) of the centres of a grid's cells, row by row; the grid's edge is 1."""
    y, x = (np.mgrid[:cells, :cells] + 0.5) / cells
    return np.stack([x.ravel(), y.ravel()], 1)


def _average(points: Float[np.ndarray, "n 8 2"], scores: Float[np.ndarray, " n"]) -> list[Face]:
    """Joins boxes of the same face (weighted non-maximum suppression); `scores` descend."""
    faces = []
    while len(scores):
        same = _overlaps(points[:, :2], points[0, :2]) > SAME_FACE
        same[0] = True  # also a box without an area
        mean = np.average(points[same], axis=0, weights=scores[same])
        faces.append(Face(float(scores[0]), mean[:2], mean[2:]))
        points, scores = points[~same], scores[~same]
    return faces


def _overlaps(boxes: Float[np.ndarray, "n 2 2"], box: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, " n"]:
    """Returns the intersection over union of each box with one."""
    shared = np.minimum(boxes[:, 1], box[1]) - np.maximum(boxes[:, 0], box[0])
    intersection = np.clip(shared, 0, None).prod(1)
    union = (boxes[:, 1] - boxes[:, 0]).prod(1) + (box[1] - box[0]).prod() - intersection
    return intersection / np.maximum(union, np.finfo(float).tiny)
