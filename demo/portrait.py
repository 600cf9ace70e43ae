"""A portrait that can be animated: a relief of the head, a mouth and eyelids that move, in front of a still background.

The portrait is scikit-image's picture of an astronaut. Lengths are in distances of the outer eye corners ("units") unless they
are said to be px.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import skimage.data
from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation
from scipy.interpolate import RBFInterpolator

from adnerf_core.face.suppress_stderr import suppress_stderr
from adnerf_core.face.trackers.facemesh import FaceMesh

CROP = (76, 0, 300)
"""The part of the picture that is used, head and shoulders: x, y and edge, px of the picture."""

# Lines of the face mesh, each from left to right in the picture.
UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
EYES = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133)),
    ((362, 398, 384, 385, 386, 387, 388, 466, 263), (362, 382, 381, 380, 374, 373, 390, 249, 263)),
)
CHIN, NOSE_BASE, EYE_CORNERS = 152, 2, (33, 263)

CAMERA = 9.0
"""Distance of the camera, units: about 80 cm, as in front of a screen."""

GRID = 4
"""Distance between the nodes on which movement is computed, px: it is smooth, and so 16 times cheaper."""

DARK, TONGUE = np.array([42, 16, 18], np.float32), np.array([120, 52, 54], np.float32)
"""Colours inside the mouth, RGB."""


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
    """Draws the portrait in a given Shape, `size` px square."""

    def __init__(self, size: int):
        left, top, edge = CROP
        portrait = skimage.data.astronaut()[top : top + edge, left : left + edge]
        points = find_landmarks(cv2.resize(portrait, (512, 512), interpolation=cv2.INTER_CUBIC)) * (size / 512)
        self.size = size
        self.unit = float(np.linalg.norm(np.subtract(*points[list(EYE_CORNERS), :2])))
        self.eyes_at = points[list(EYE_CORNERS), :2].mean(0)

        matte = find_person(portrait)
        plate = cv2.inpaint(portrait, cv2.dilate((matte > 8).astype(np.uint8), np.ones((9, 9))), 5, cv2.INPAINT_TELEA)
        enlarged = [cv2.resize(p, (size, size), interpolation=cv2.INTER_CUBIC) for p in (portrait, matte, plate)]
        image, matte, self.plate = enlarged[0], enlarged[1], enlarged[2].astype(np.float32)
        self.layer = np.dstack([image, matte])
        self.mouth = Mouth(image, points, self.unit)
        self.lids = [Lid(image, points, upper, lower, self.unit) for upper, lower in EYES]

        nodes = np.arange(0, size + GRID, GRID, dtype=np.float32)
        self.nodes = np.stack(np.meshgrid(nodes, nodes), -1)
        self.depth, self.is_head = self._relief(points)
        pixels = np.arange(size, dtype=np.float32) / GRID
        self.between_nodes = np.meshgrid(pixels, pixels)

    def __call__(self, shape: Shape) -> np.ndarray:
        """Returns a frame, [size, size, 3] uint8 RGB."""
        layer = self.layer.copy()
        self.mouth.draw(layer, shape.opening, shape.rounding)
        for lid in self.lids:
            lid.draw(layer, shape.eyes)
        source = cv2.remap(self._source(shape), *self.between_nodes, cv2.INTER_LINEAR)
        person = cv2.remap(layer, source, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        frame = self.plate + (person[..., :3] - self.plate) * (person[..., 3:] / 255)
        return np.clip(np.rint(frame), 0, 255).astype(np.uint8)

    def _relief(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The depth towards the camera at the nodes, and how much each node moves with the head, 0..1.

        The depth of the face is that of its landmarks; hair and skull are an ellipsoid that continues it.
        """
        radii = np.array([1.22, 1.42])
        at = (self.nodes - self.eyes_at) / self.unit
        known = (points[::2, :2] - self.eyes_at) / self.unit
        depth = -points[::2, 2] / self.unit
        depth += np.median(1.2 * np.sqrt(np.clip(1 - ((known / radii) ** 2).sum(1), 0, 1)) - depth)
        angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], 1)
        hair = 0.8 * circle[circle[:, 1] < 0.1]
        known = np.concatenate([known, circle * radii, hair * radii])
        depth = np.concatenate([depth, np.zeros(len(circle)), np.full(len(hair), 1.2 * 0.6)])
        relief = RBFInterpolator(known, depth, smoothing=0.02, neighbors=40)(at.reshape(-1, 2)).reshape(at.shape[:2])
        outside = np.sqrt(((at / radii) ** 2).sum(-1))
        relief = np.clip(relief, 0, None) * (1 - smoothstep((outside - 1) / 0.25))

        head = np.zeros(at.shape[:2], np.float32)
        hull = cv2.convexHull(np.rint(points[:468, :2] / GRID).astype(np.int32))
        cv2.fillPoly(head, [hull], 1.0)
        head[(outside < 1.05) & (at[..., 1] < 0.7)] = 1.0
        head = cv2.dilate(head, np.ones((3, 3)))
        relief, head = (cv2.GaussianBlur(a.astype(np.float32), (0, 0), 0.1 * self.unit / GRID) for a in (relief, head))
        return relief, head

    def _source(self, shape: Shape) -> np.ndarray:
        """The position in the portrait, px, that is seen at each node of the frame: [nodes, nodes, 2].

        It inverts position + flow(position) = node by fixed-point iteration, which converges since the flow is smooth.
        """
        flow = self._flow(shape)
        position = self.nodes
        for _ in range(5):
            at = position / GRID
            position = self.nodes - cv2.remap(flow, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return position

    def _flow(self, shape: Shape) -> np.ndarray:
        """The displacement of each node of the portrait, px."""
        at = (self.nodes - self.eyes_at) / self.unit
        scale = (CAMERA - self.depth) / CAMERA
        pivot = np.array([0.0, 1.0, -0.1])
        x, y, z = at[..., 0] * scale - pivot[0], at[..., 1] * scale - pivot[1], self.depth - pivot[2]
        yaw, pitch, roll = np.radians([shape.yaw, shape.pitch, shape.roll])
        x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
        y, z = y * np.cos(pitch) - z * np.sin(pitch), z * np.cos(pitch) + y * np.sin(pitch)
        x, y = x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)
        scale = CAMERA / (CAMERA - (z + pivot[2]))
        head = np.stack([(x + pivot[0] + shape.x) * scale, (y + pivot[1] + shape.y) * scale], -1) - at
        flow = np.array([shape.sway, shape.rise]) + head * self.is_head[..., None]
        return (flow * self.unit).astype(np.float32)


class _Patch:
    """A rectangle of the portrait in which something moves; x, y are the coordinates of its pixels in the whole picture."""

    def __init__(self, image: np.ndarray, left: float, top: float, right: float, bottom: float):
        self.rows = slice(max(0, int(top)), min(image.shape[0], int(bottom) + 1))
        self.columns = slice(max(0, int(left)), min(image.shape[1], int(right) + 1))
        self.y, self.x = np.mgrid[self.rows, self.columns].astype(np.float32)
        self.image = image
        self.original = image[self.rows, self.columns].astype(np.float32)

    def sample(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns the portrait's colours at other positions."""
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
        picture = lips + self._inside(profile, lower, opening) * inside[..., None]
        layer[self.rows, self.columns, :3] = np.clip(np.rint(picture), 0, 255)

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
        return (hollow * (1 - teeth) + self.original * 0.92 * teeth) * (0.45 + 0.55 * profile[..., None])


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
        layer[self.rows, self.columns, :3] = np.clip(np.rint(picture), 0, 255)


def smoothstep(x: np.ndarray) -> np.ndarray:
    """Returns 3 x^2 - 2 x^3 for x clipped to 0..1."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def line(points: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Returns the height at `at` of the polyline through `points` [n, 2], in order of x; constant beyond its ends."""
    return np.interp(at, points[:, 0], points[:, 1]).astype(np.float32)


def find_landmarks(image: np.ndarray) -> np.ndarray:
    """Returns the face-mesh landmarks, [478, 3], px."""
    tracker = FaceMesh()
    try:
        tracker(image)
        return tracker(image)  # the second result starts from the first, and is more exact
    finally:
        tracker.close()


def find_person(portrait: np.ndarray) -> np.ndarray:
    """Returns how much of each pixel is the person, [height, width] uint8: a segmentation, refined by GrabCut."""
    with suppress_stderr(), SelfieSegmentation(model_selection=0) as segmentation:
        probability = segmentation.process(portrait).segmentation_mask
    labels = np.where(probability > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.erode(probability, np.ones((9, 9))) > 0.9] = cv2.GC_FGD
    labels[cv2.dilate(probability, np.ones((15, 15))) < 0.1] = cv2.GC_BGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(portrait[..., ::-1]), labels, None, *models, 3, cv2.GC_INIT_WITH_MASK)
    person = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    person = cv2.morphologyEx(person, cv2.MORPH_CLOSE, np.ones((5, 5)))
    return cv2.GaussianBlur(person, (0, 0), 0.8)
