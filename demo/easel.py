"""The picture that all speakers are painted from, and what the brushes share: coordinates, landmarks, outlines, noise.

The picture is that of an astronaut, public domain (NASA; scikit-image brings it). Lengths are in px of that picture ("source
px"); the layers are painted at PAINT times its resolution.
"""

from __future__ import annotations

from contextlib import closing

import cv2
import numpy as np
import skimage.data

from adnerf_core.face.trackers.facemesh import FaceMesh
from adnerf_core.preprocess.segmentation import PersonSegmenter

PAINT = 2
"""Resolution of the painted layers, px per source px: about the face's size in a frame of 720 rows."""

LEFT, TOP, WIDTH, HEIGHT = 2, -56, 440, 516
"""The part of the plane of the picture that is painted, source px: room for a hat above the head, and for clothes below the picture."""

PHOTO_ROWS, FACE_CROP = 300, (76, 0, 300)
"""Rows of the picture that are used (below is a helmet), and the square (x, y, edge) in which its face is found."""

HEAD_ROWS = 146
"""Rows of the picture, source px, above which the person is head (hair and ears); below, only the face is."""

HAIRLINE = (82.0, 0.2)
"""Where the fringe of the picture ends on the forehead: its row between the eyes, source px, and its slope."""

# Lines of the face mesh; OVAL goes round the face, the others from left to right in the picture.
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152)
OVAL += (148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
JAW_LINE = (323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93)
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
EYES = ((33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),)
EYES += ((362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382),)
BROWS = ((46, 53, 52, 65, 55, 107, 66, 105, 63, 70), (276, 283, 282, 295, 285, 336, 296, 334, 293, 300))
CHIN, NOSE, NOSE_BASE, MOUTH_CORNERS, EYE_CORNERS = 152, 4, 2, (61, 291), (33, 263)


class Easel:
    """What all brushes need: the coordinates of the pixels, the landmarks in source px, and a random generator."""

    def __init__(self, points: np.ndarray):
        self.y, self.x = (np.mgrid[: HEIGHT * PAINT, : WIDTH * PAINT].astype(np.float32) + 0.5) / PAINT
        self.x += LEFT
        self.y += TOP
        self.points = points
        self.random = np.random.default_rng(0)
        self.center = points[list(EYE_CORNERS), 0].mean()

    def polygon(self, outline: np.ndarray, soft: float = 1.0, grow: int = 0) -> np.ndarray:
        """Returns the coverage 0..1 of a closed outline [n, 2], source px, grown by `grow` px and blurred by `soft`, px."""
        mask = np.zeros(self.x.shape, np.uint8)
        at = (np.asarray(outline) - (LEFT, TOP)) * PAINT
        cv2.fillPoly(mask, [np.rint(at * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        if grow:
            mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow * PAINT + 1,) * 2))
        return cv2.GaussianBlur(mask, (0, 0), soft * PAINT).astype(np.float32) / 255

    def lines(self, *indices: tuple[int, ...], soft: float = 1.0, grow: int = 0) -> np.ndarray:
        """Returns the coverage of the areas inside lines of the face mesh."""
        return np.max([self.polygon(self.points[list(line), :2], soft, grow) for line in indices], 0)

    def noise(self, across: float, along: float) -> np.ndarray:
        """Returns smooth noise of standard deviation 1 with grains of `across` x `along` source px."""
        coarse = self.random.normal(size=(int(HEIGHT / along) + 2, int(WIDTH / across) + 2)).astype(np.float32)
        noise = cv2.resize(coarse, self.x.shape[::-1], interpolation=cv2.INTER_CUBIC)
        return noise / noise.std()


def photograph() -> np.ndarray:
    """The picture on the painted plane; below PHOTO_ROWS and beyond its edges, the last pixels are repeated."""
    photo = skimage.data.astronaut()[:PHOTO_ROWS, LEFT : LEFT + WIDTH]
    photo = cv2.copyMakeBorder(photo, -TOP, HEIGHT + TOP - PHOTO_ROWS, 0, 0, cv2.BORDER_REPLICATE)
    return cv2.resize(photo, None, fx=PAINT, fy=PAINT, interpolation=cv2.INTER_CUBIC)


def find_face(photo: np.ndarray) -> np.ndarray:
    """Returns the face-mesh landmarks in a picture of the painted plane, [478, 3], source px."""
    left, top, edge = FACE_CROP
    rows, columns = ((start - first) * PAINT for start, first in ((top, TOP), (left, LEFT)))
    square = photo[rows : rows + edge * PAINT, columns : columns + edge * PAINT]
    image = cv2.resize(square, (512, 512), interpolation=cv2.INTER_AREA)
    with closing(FaceMesh()) as tracker:
        tracker(image)
        points = tracker(image)  # the second result starts from the first, and is more exact
    return points * (edge / 512) + (left, top, 0)


def find_person(photo: np.ndarray) -> np.ndarray:
    """Returns how much of each pixel is the person, [rows, columns] uint8: a segmentation, refined by GrabCut."""
    small = photo[-TOP * PAINT : (PHOTO_ROWS - TOP) * PAINT : PAINT, ::PAINT]
    with closing(PersonSegmenter()) as segment:
        probability = cv2.resize(segment(small), small.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    labels = np.where(probability > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.erode(probability, np.ones((9, 9))) > 0.9] = cv2.GC_FGD
    labels[cv2.dilate(probability, np.ones((15, 15))) < 0.1] = cv2.GC_BGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(small[..., ::-1]), labels, None, *models, 3, cv2.GC_INIT_WITH_MASK)
    person = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    person = cv2.GaussianBlur(cv2.morphologyEx(person, cv2.MORPH_CLOSE, np.ones((5, 5))), (0, 0), 0.8)
    person = cv2.resize(person, None, fx=PAINT, fy=PAINT, interpolation=cv2.INTER_LINEAR)
    return cv2.copyMakeBorder(person, -TOP * PAINT, (HEIGHT + TOP - PHOTO_ROWS) * PAINT, 0, 0, cv2.BORDER_CONSTANT)


def rgba(image: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Joins colours 0..255 and coverage 0..1 into an RGBA layer."""
    return np.clip(np.rint(np.dstack([image, coverage * 255])), 0, 255).astype(np.uint8)
