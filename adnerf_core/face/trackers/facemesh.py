"""MediaPipe's face mesh with attention (Grishchenko et al., 2020), which sees lips and eyes a second time, enlarged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from adnerf_core.face.blaze_face import BlazeFace
from adnerf_core.face.networks import Graph, Network, read_model
from adnerf_core.face.trackers.mesh_tracker import MeshTracker

EYE_OUTLINE = 16
"""The first landmarks of an eye's region are the rims of the lids; the iris lies at their mean depth."""


class FaceMesh(MeshTracker):
    """A FaceTracker whose networks are part of this package. Raises MissingBackend if LiteRT is missing."""

    def __init__(self, model: str | None = None):
        super().__init__(BlazeFace.short_range(), AttentionMesh())


class AttentionMesh:
    """Finds 468 landmarks in a picture of a face, then those of lips, eyes and irises in enlarged parts of a feature map.

    The file has operators of MediaPipe's between the two: they place the enlarged parts and map the landmarks back.
    """

    edge = 192

    def __init__(self):
        mesh, refine, regions = _network_files()
        self._mesh, self._refine = Network(mesh), Network(refine)
        self._regions = [Region(**region) for region in regions]

    def __call__(self, picture: Float[np.ndarray, "1 edge edge 3"]) -> tuple[Float[np.ndarray, "478 3"], float]:
        """Returns the landmarks, of which x and y are px of the picture, and the logit that it is a face."""
        mesh, features, logit = self._mesh(picture)
        mesh = mesh.reshape(-1, 3).astype(np.float64)
        scale = self.edge / features.shape[1]  # px of the picture in a cell of the features
        places = [region.place(mesh[:, :2] / scale) for region in self._regions]
        enlarged = [region.enlarge(features[0], *place) for region, place in zip(self._regions, places, strict=True)]
        lips, right, left, right_iris, left_iris = (points[0] for points in self._refine(*enlarged))
        refined = lips, np.concatenate([right, right_iris]), np.concatenate([left, left_iris])
        irises = []
        for region, (matrix, origin), points in zip(self._regions, places, refined, strict=True):
            xy, count = points @ matrix.T + scale * origin, len(region.landmarks)
            mesh[region.landmarks, :2] = xy[:count]
            depth = mesh[region.landmarks[:EYE_OUTLINE], 2].mean()
            irises.append(np.column_stack([xy[count:], np.full(len(xy) - count, depth)]))
        return np.concatenate([mesh, *irises]), float(logit.item())


@cache
def _network_files() -> tuple[bytes, bytes, list[dict[str, Any]]]:
    """Both networks and the options of the regions. They are kept, for a tracker is loaded for each take: cutting takes a tenth of a second."""
    graph = Graph(read_model("face_landmark_with_attention.tflite"))
    suffixes = ("", "_1", "_2")  # lips, the right eye and the left one
    parts = [f"transform_tensor_bilinear_v2{suffix}" for suffix in suffixes]
    return (
        graph.cut(["input_1"], ["output_mesh", "p_re_lu_3", "conv_faceflag"]),
        graph.cut(parts, ["reshape_1", "reshape_3", "reshape_6", "reshape_4", "reshape_7"]),
        [graph.options(f"landmarks_to_transform_matrix_v2{suffix}") for suffix in suffixes],
    )


class Region:
    """A part of the face that the network sees enlarged: the rectangle around some landmarks, with a margin.

    Args:
        subset_idxs: the landmarks.
        left_rotation_idx, right_rotation_idx: two of them, which lie on a parallel to the rectangle's upper edge.
        scale_x, scale_y: edges of the rectangle over those of the landmarks' box.
        output_width, output_height: resolution of the enlarged part.
        target_rotation_radians: angle of the two landmarks in the enlarged part.
    """

    def __init__(
        self,
        subset_idxs: Sequence[int],
        left_rotation_idx: int,
        right_rotation_idx: int,
        scale_x: float,
        scale_y: float,
        output_width: int,
        output_height: int,
        target_rotation_radians: float,
    ):
        self.landmarks = np.array(subset_idxs)
        self._ends = [left_rotation_idx, right_rotation_idx]
        self._scale = np.array([scale_x / output_width, scale_y / output_height])
        self._size = np.array([output_width, output_height])
        self._centres = np.mgrid[:output_height, :output_width][::-1].reshape(2, -1) + 0.5
        self._angle = target_rotation_radians

    def place(self, points: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, " 2"]]:
        """Returns matrix and origin, with which a point of the enlarged part lies at `matrix @ point + origin`.

        Args:
            points: all landmarks of the face, (x, y), in cells of the feature map.
        """
        x, y = points[self._ends[1]] - points[self._ends[0]]
        angle = math.atan2(y, x) - self._angle
        axes = np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
        upright = points[self.landmarks] @ axes
        low, high = upright.min(0), upright.max(0)
        matrix = axes * ((high - low) * self._scale)
        return matrix, axes @ (low + high) / 2 - matrix @ (self._size / 2)

    def enlarge(
        self,
        features: Float[np.ndarray, "rows columns channels"],
        matrix: Float[np.ndarray, "2 2"],
        origin: Float[np.ndarray, " 2"],
    ) -> Float[np.ndarray, "1 height width channels"]:
        """Samples the enlarged part at a place bilinearly; it is 0 outside the feature map."""
        at = matrix @ self._centres + origin[:, None] - 0.5
        limit = np.array(features.shape[1::-1])[:, None] - 1
        inside = ((at >= 0) & (at <= limit)).all(0)
        at = np.clip(at, 0, limit)
        low = np.minimum(at.astype(int), limit - 1)
        (x, y), (right, down) = low, (at - low).astype(np.float32)[..., None]
        upper = features[y, x] * (1 - right) + features[y, x + 1] * right
        lower = features[y + 1, x] * (1 - right) + features[y + 1, x + 1] * right
        sampled = (upper * (1 - down) + lower * down) * inside[:, None]
        return sampled.astype(np.float32).reshape(1, *self._size[::-1], -1)
