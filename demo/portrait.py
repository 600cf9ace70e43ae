"""A portrait that can be animated: a head that turns in front of a body, with a mouth and eyelids that move.

Lengths are in distances of the outer eye corners ("units") unless they are said to be px.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from demo.easel import CHIN, EYE_CORNERS, NOSE_BASE, PAINT
from demo.looks import Layers

# Lines of the face mesh, each from left to right in the picture.
UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))

CAMERA = 9.0
"""Distance of the camera, units: about 80 cm, as in front of a screen."""

GRID = 4
"""Distance between the nodes on which movement is computed, px: it is smooth, and so 16 times cheaper."""

DARK, TONGUE = np.array([42, 16, 18], np.float32), np.array([120, 52, 54], np.float32)
"""Colours inside the mouth, RGB."""
MARGIN = 0.6
"""How far the head may move out of its place, units: drawing is limited to this window around it."""

SHADOW = 0.45
"""How much light the head takes from the body right below it."""


class Shape(NamedTuple):
    """The pose and expression of one frame. All defaults together are the portrait with its mouth shut."""

    opening: float = 0.0  # gap between the lips, units
    rounding: float = 0.0  # -1 spread .. 1 round
    eyes: float = 1.0  # 0 shut .. 1 wide
    yaw: float = 0.0  # degrees, the head turns to its own left
    pitch: float = 0.0  # degrees, it nods upwards
    roll: float = 0.0  # degrees, it tilts clockwise in the picture
    x: float = 0.0  # units, the head's own shift to the right and down in the picture
    y: float = 0.0
    sway: float = 0.0  # units, the shoulders' shift, likewise; the head goes with them
    rise: float = 0.0


class Puppet:
    """Draws a painted speaker in a given Shape.

    Attributes:
        unit: length of a unit, px of the drawing.
        eyes_at: point between the eyes in the default Shape, (x, y), px of the drawing.
        height, width: of the drawing, px.
    """

    def __init__(self, layers: Layers, scale: float = 1.0):
        """Makes a puppet; `scale` is px of the drawing per source px."""
        factor = scale / PAINT
        points = layers.points * factor
        self.unit = float(np.linalg.norm(np.subtract(*points[list(EYE_CORNERS), :2])))
        self.eyes_at = points[list(EYE_CORNERS), :2].mean(0)
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        self.body, self.head, worn = (
            cv2.resize(a, None, fx=factor, fy=factor, interpolation=method) for a in layers[:3]
        )
        self.height, self.width = self.head.shape[:2]
        self.worn = _Worn(worn) if worn[..., 3].any() else None
        self.mouth = Mouth(self.head, points, self.unit)
        self.lids = [Lid(self.head, points, *lines, self.unit) for lines in zip(UPPER_LIDS, LOWER_LIDS, strict=True)]
        shown = np.argwhere(self.head[..., 3] > 0)
        reach = MARGIN * self.unit
        low = np.maximum(shown.min(0) - reach, 0).astype(int) // GRID * GRID
        high = np.minimum(shown.max(0) + reach, self.head.shape[:2]).astype(int)
        self.window = slice(low[0], high[0]), slice(low[1], high[1])
        rows, columns = (np.arange(a, b + GRID, GRID, dtype=np.float32) for a, b in zip(low, high, strict=True))
        self.nodes = np.stack(np.meshgrid(columns, rows), -1)
        self.depth = self._relief(points)
        pixels = [np.arange(b - a, dtype=np.float32) / GRID for a, b in zip(low, high, strict=True)]
        self.between_nodes = np.meshgrid(pixels[1], pixels[0])

    def __call__(self, shape: Shape) -> np.ndarray:
        """Returns a drawing, [height, width, 4] uint8 RGBA, to be laid over whatever is behind the speaker."""
        layer = self.head.copy()
        self.mouth.draw(layer, shape.opening, shape.rounding)
        for lid in self.lids:
            lid.draw(layer, shape.eyes)
        if self.worn is not None:
            self.worn.draw(layer)
        source = cv2.remap(self._source(shape), *self.between_nodes, cv2.INTER_LINEAR)
        head = cv2.remap(layer, source, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        shift = np.array([[1, 0, shape.sway * self.unit], [0, 1, shape.rise * self.unit]])
        drawing = cv2.warpAffine(
            self.body, shift, (self.width, self.height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        lay_over(drawing[self.window], head, self._shadow(head))
        return drawing

    def _shadow(self, head: np.ndarray) -> np.ndarray:
        """Returns the shadow of the head on the body, [rows, columns] 0..1: below and behind the chin."""
        small = cv2.resize(head[..., 3], None, fx=1 / GRID, fy=1 / GRID, interpolation=cv2.INTER_AREA).astype(
            np.float32
        )
        down = np.array([[1, 0, 0], [0, 1, 0.14 * self.unit / GRID]])
        small = cv2.GaussianBlur(cv2.warpAffine(small, down, small.shape[::-1]), (0, 0), 0.16 * self.unit / GRID)
        return cv2.resize(small, head.shape[1::-1], interpolation=cv2.INTER_LINEAR) * (SHADOW / 255)

    def _relief(self, points: np.ndarray) -> np.ndarray:
        """The depth towards the camera at the nodes of the head.

        The depth of the face is that of its landmarks; hair and skull are an ellipsoid that continues it. The slope at its
        edge is limited, so that the picture does not fold when the head turns.
        """
        radii = np.array([1.22, 1.42])
        at = (self.nodes - self.eyes_at) / self.unit
        known = (points[::2, :2] - self.eyes_at) / self.unit
        depth = -points[::2, 2] / self.unit
        depth += np.median(1.2 * np.sqrt(np.clip(1 - ((known / radii) ** 2).sum(1), 0, 1)) - depth)
        angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], 1)
        hair = 0.8 * circle[circle[:, 1] < 0.1]
        known = np.concatenate([known, circle * radii, hair * radii, 2 * circle * radii])
        depth = np.concatenate(
            [depth, np.full(len(circle), 0.25), np.full(len(hair), 1.2 * 0.6), np.full(len(circle), 0.0)]
        )
        relief = RBFInterpolator(known, depth, smoothing=0.02, neighbors=40)(at.reshape(-1, 2)).reshape(at.shape[:2])
        return cv2.GaussianBlur(relief.astype(np.float32), (0, 0), 0.1 * self.unit / GRID)

    def _source(self, shape: Shape) -> np.ndarray:
        """The position in the head's layer, px, that is seen at each node of the drawing: [rows, columns, 2].

        It inverts position + flow(position) = node by fixed-point iteration, which converges since the flow is smooth.
        """
        flow = self._displacement(self.nodes, self.depth, shape)
        position = self.nodes
        for _ in range(8):
            at = (position - self.nodes[0, 0]) / GRID
            position = self.nodes - cv2.remap(flow, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return position

    def eyes(self, shape: Shape) -> np.ndarray:
        """Returns where the point between the eyes is in the drawing of a Shape, (x, y), px."""
        at = ((self.eyes_at - self.nodes[0, 0]) / GRID).astype(np.float32)
        depth = cv2.remap(self.depth, at[None, None], None, cv2.INTER_LINEAR)
        return self.eyes_at + self._displacement(self.eyes_at, depth[0, 0], shape)

    def _displacement(self, position: np.ndarray, depth: np.ndarray, shape: Shape) -> np.ndarray:
        """The displacement of points of the head, [..., 2] px, at `depth`, units, by a Shape, [..., 2] px."""
        at = (position - self.eyes_at) / self.unit
        scale = (CAMERA - depth) / CAMERA
        pivot = np.array([0.0, 1.0, -0.1])
        x, y, z = at[..., 0] * scale - pivot[0], at[..., 1] * scale - pivot[1], depth - pivot[2]
        yaw, pitch, roll = np.radians([shape.yaw, shape.pitch, shape.roll])
        x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
        y, z = y * np.cos(pitch) - z * np.sin(pitch), z * np.cos(pitch) + y * np.sin(pitch)
        x, y = x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)
        scale = CAMERA / (CAMERA - (z + pivot[2]))
        head = np.stack([(x + pivot[0] + shape.x) * scale, (y + pivot[1] + shape.y) * scale], -1) - at
        return ((np.array([shape.sway, shape.rise]) + head) * self.unit).astype(np.float32)


def lay_over(picture: np.ndarray, layer: np.ndarray, shadow: np.ndarray | None = None) -> None:
    """Lays an RGBA layer over a picture of the same size, RGB or RGBA, in place.

    Args:
        picture: [rows, columns, 3 or 4] uint8.
        layer: [rows, columns, 4] uint8, straight alpha.
        shadow: how much the layer darkens what is behind it, [rows, columns] 0..1.
    """
    cover = layer[..., 3].astype(np.float32) / 255
    behind = np.ascontiguousarray(picture[..., :3])
    if shadow is not None:
        behind = cv2.multiply(behind, cv2.merge([1 - shadow] * 3), dtype=cv2.CV_8U)
    if picture.shape[2] == 4:
        alpha = np.maximum(picture[..., 3], layer[..., 3])
        cover = np.minimum(cover * 255 / np.maximum(alpha, 1), 1)  # colours are not premultiplied
        picture[..., 3] = alpha
    picture[..., :3] = cv2.blendLinear(cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB), behind, cover, 1 - cover)


class _Worn:
    """A layer in front of the face that moves with the head: glasses."""

    def __init__(self, worn: np.ndarray):
        shown = np.argwhere(worn[..., 3] > 0)
        self.window = tuple(slice(a, b + 1) for a, b in zip(shown.min(0), shown.max(0), strict=True))
        self.worn = worn[self.window]

    def draw(self, layer: np.ndarray) -> None:
        """Draws it into `layer`."""
        lay_over(layer[self.window], self.worn)


class _Patch:
    """A rectangle of the head's layer in which something moves; x, y are the coordinates of its pixels in the whole layer."""

    def __init__(self, image: np.ndarray, left: float, top: float, right: float, bottom: float):
        self.rows = slice(max(0, int(top)), min(image.shape[0], int(bottom) + 1))
        self.columns = slice(max(0, int(left)), min(image.shape[1], int(right) + 1))
        self.y, self.x = np.mgrid[self.rows, self.columns].astype(np.float32)
        self.image = image
        self.original = image[self.rows, self.columns].astype(np.float32)

    def sample(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns the layer's colours and coverage at other positions."""
        return cv2.remap(self.image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC)


class Mouth(_Patch):
    """Lips, jaw, and the inside of the mouth. The portrait smiles with open lips, so shut lips are drawn over its teeth."""

    def __init__(self, image: np.ndarray, points: np.ndarray, unit: float):
        self.upper, self.lower = points[list(UPPER_LIP), :2], points[list(LOWER_LIP), :2]
        self.center = (self.upper[0] + self.upper[-1]) / 2
        self.half = np.linalg.norm(self.upper[-1] - self.upper[0]) / 2
        self.nose, self.chin, self.unit = points[NOSE_BASE, 1], points[CHIN, 1], unit
        middle = self.center[0]
        super().__init__(image, middle - 0.9 * unit, self.nose, middle + 0.9 * unit, self.chin + 0.45 * unit)

    def draw(self, layer: np.ndarray, opening: float, rounding: float) -> None:
        """Draws the mouth into `layer`; see Shape for the parameters."""
        x, y, unit = self.x, self.y, self.unit
        # All movement fades out inside the patch, or its border would show.
        reach = np.where(y < self.center[1], self.center[1] - self.nose, 0.42 * unit)
        near = smoothstep(1 - np.hypot((x - self.center[0]) / (0.72 * unit), (y - self.center[1]) / reach))
        from_x = x + (x - self.center[0]) * (0.4 if rounding > 0 else 0.2) * rounding * near
        across = (from_x - self.center[0]) / self.half
        profile = np.clip(1 - across**2, 0, None) ** 0.75
        margin = 0.015 * unit * profile
        upper_0, lower_0 = line(self.upper, from_x) - margin, line(self.lower, from_x) + margin
        seam = upper_0 + 0.45 * (lower_0 - upper_0)
        gap = opening * unit * profile
        upper, lower = seam - 0.2 * gap, seam + 0.8 * gap

        jaw = 0.7 * opening * unit * smoothstep(1 - np.abs(x - self.center[0]) / (0.8 * unit))
        to_chin = smoothstep((y - lower) / (self.chin + jaw - lower))
        past_chin = smoothstep((y - self.chin - jaw) / (0.4 * unit))
        below = ((lower - lower_0) * (1 - to_chin) + jaw * to_chin) * (1 - past_chin)
        above = (upper - upper_0) * (1 - smoothstep((upper - y) / (upper - self.nose)))
        skin = self.sample(from_x, np.where(y < (upper + lower) / 2, y - above, y - below)).astype(np.float32)

        soft = max(1.0, 0.015 * unit)
        crease = 0.45 * profile * np.exp(-(((y - seam) / (1.2 * soft)) ** 2))
        inside = np.clip((y - upper) / soft, 0, 1) * np.clip((lower - y) / soft, 0, 1)
        lips = skin * ((1 - crease) * (1 - inside))[..., None]
        lips[..., :3] += self._inside(profile, lower, opening) * inside[..., None]
        lips[..., 3] = np.maximum(skin[..., 3], 255 * inside)
        layer[self.rows, self.columns] = np.clip(np.rint(lips), 0, 255)

    def _inside(self, profile: np.ndarray, lower: np.ndarray, opening: float) -> np.ndarray:
        """The teeth, which do not move, and below them a dark hollow with a part of the tongue."""
        x, y, unit = self.x, self.y, self.unit
        soft = 0.025 * unit
        edge = line(self.lower, x) - 0.01 * unit
        teeth = (smoothstep((y - line(self.upper, x) + soft) / soft) * smoothstep((edge - y) / soft))[..., None]
        tongue = (smoothstep((y - lower + 0.12 * unit) / (0.12 * unit)) * np.clip(opening / 0.25, 0, 1) * profile)[
            ..., None
        ]
        hollow = DARK + (TONGUE - DARK) * tongue
        return (hollow * (1 - teeth) + self.original[..., :3] * 0.92 * teeth) * (0.45 + 0.55 * profile[..., None])


class Lid(_Patch):
    """An upper eyelid, which slides over the eye; the skin up to the brow stretches with it."""

    def __init__(self, image: np.ndarray, points: np.ndarray, upper: tuple, lower: tuple, unit: float):
        self.upper, self.lower = points[list(upper), :2], points[list(lower), :2]
        self.brow = self.upper[:, 1].min() - 0.13 * unit
        super().__init__(image, self.upper[0, 0], self.brow, self.upper[-1, 0], self.lower[:, 1].max() + 0.05 * unit)

    def draw(self, layer: np.ndarray, openness: float) -> None:
        """Draws the lid into `layer`; `openness` is 0 (shut) to 1 (wide)."""
        start, stop = line(self.upper, self.x), line(self.lower, self.x)
        edge = start + (1 - openness) * np.clip(stop - start, 0, None)
        stretched = self.brow + (self.y - self.brow) * (start - self.brow) / (edge - self.brow)
        shut = np.clip(self.y - edge, -0.5, 0.5)[..., None]
        picture = self.sample(self.x, np.minimum(stretched, start)) * (0.5 - shut) + self.original * (0.5 + shut)
        layer[self.rows, self.columns] = np.clip(np.rint(picture), 0, 255)


def smoothstep(x: np.ndarray) -> np.ndarray:
    """Returns 3 x^2 - 2 x^3 for x clipped to 0..1."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def line(points: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Returns the height at `at` of the polyline through `points` [n, 2], in order of x; constant beyond its ends."""
    return np.interp(at, points[:, 0], points[:, 1]).astype(np.float32)
