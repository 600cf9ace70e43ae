"""MediaPipe's networks without MediaPipe: known answers, and the parts around the networks."""

from __future__ import annotations

import hashlib
import math
import re
import sys

import cv2
import numpy as np
import pytest

from adnerf_core.errors import MissingBackend
from adnerf_core.face import networks
from adnerf_core.face.blaze_face import BlazeFace
from adnerf_core.face.squares import Square
from adnerf_core.face.trackers.facemesh import FaceMesh, Region
from adnerf_core.face.trackers.landmarker import OneEuroFilter
from adnerf_core.preprocess.segmentation import PersonSegmenter
from tests.adnerf_core import clips

# The results of MediaPipe 0.10.21 for clips.portrait(256), px.
MEDIAPIPE_LANDMARKS = {
    4: (129.1, 101.3, -19.7),  # nose
    10: (131.4, 54.2, -9.7),  # forehead
    152: (127.7, 142.2, 6.8),  # chin
    33: (106.0, 80.3, 3.3),  # corners of the eyes
    133: (121.0, 82.9, 0.4),
    263: (154.8, 83.2, 2.8),
    362: (139.4, 83.5, 0.2),
    61: (112.1, 111.5, 6.4),  # corners of the mouth
    291: (146.0, 112.5, 6.1),
    13: (129.2, 114.7, -4.1),  # lips
    14: (128.7, 120.3, -2.5),
    159: (112.4, 77.8, -1.4),  # lids
    145: (112.6, 83.3, -0.4),
    468: (113.0, 80.7, 0.3),  # irises
    473: (147.5, 82.5, -0.1),
}
MEDIAPIPE_PERSON = ((0, 0.488, 0.632, 0), (0.001, 0.702, 0.783, 0), (0.416, 0.999, 0.756, 0.009), (0.993, 1, 1, 0.547))
MEDIAPIPE_FACES = ((0.950, 301.5, 28.2, 41.5, 41.5), (0.905, 88.4, 54.2, 85.3, 85.2))


def test_the_files_are_those_of_the_notice():
    rows = re.findall(r"\| `(.+)` \| `([0-9a-f]{64})` \|", (networks.MODELS / "NOTICE.md").read_text())
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in networks.MODELS.glob("*.tflite")}
    assert dict(rows) == files


def test_the_mesh_is_that_of_mediapipe():
    track = FaceMesh()
    landmarks = [track(clips.portrait(256)) for _ in range(2)][1]
    np.testing.assert_allclose(landmarks[list(MEDIAPIPE_LANDMARKS)], list(MEDIAPIPE_LANDMARKS.values()), atol=0.15)


def test_the_person_is_that_of_mediapipe():
    probability = PersonSegmenter()(clips.portrait(256))
    np.testing.assert_allclose(probability.reshape(4, 64, 4, 64).mean((1, 3)), MEDIAPIPE_PERSON, atol=0.002)


def test_all_faces_are_found_where_mediapipe_finds_them():
    large = clips.portrait(256)
    small = np.pad(cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA), ((0, 128), (0, 0), (0, 0)), "edge")
    faces = BlazeFace.full_range()(np.concatenate([large, small], 1))
    found = [(face.score, *face.box[0], *(face.box[1] - face.box[0])) for face in faces]
    np.testing.assert_allclose(found, MEDIAPIPE_FACES, atol=0.1)
    for face, (scale, left) in zip(faces, ((0.4, 256), (0.8, 0)), strict=True):
        np.testing.assert_allclose(face.points[3], (np.array(clips.MOUTH) - (62, 0)) * scale + (left, 0), atol=4)


def test_a_turned_face_has_turned_landmarks():
    picture = clips.portrait(256)
    turn = cv2.getRotationMatrix2D((128, 100), 35, 1)
    turned = cv2.warpAffine(picture, turn, (256, 256), borderMode=cv2.BORDER_REPLICATE)
    upright, rotated = (
        [track(frame) for _ in range(3)][-1] for track, frame in ((FaceMesh(), picture), (FaceMesh(), turned))
    )
    expected = upright[:, :2] @ turn[:, :2].T + turn[:, 2]
    assert np.abs(rotated[:, :2] - expected).mean() < 1.0
    np.testing.assert_allclose(rotated[:, 2], upright[:, 2], atol=4)


def test_a_network_cut_in_two_computes_what_it_computed_before():
    model = networks.read_model("face_detection_short_range.tflite")
    graph = networks.Graph(model)
    picture = np.random.default_rng(0).random((1, 128, 128, 3), np.float32)
    first = networks.Network(graph.cut(["input"], ["activation_7"]))
    second = networks.Network(graph.cut(["activation_7"], ["regressors", "classificators"]))
    for part, whole in zip(second(*first(picture)), networks.Network(model)(picture), strict=True):
        np.testing.assert_allclose(part, whole, rtol=1e-4, atol=1e-4)


def test_a_square_is_cropped_upright_and_mapped_back():
    y, x = np.mgrid[:200, :300]
    square = Square(170, 90, 120, math.radians(25))
    ((spot_x, spot_y, depth),) = square.to_frame(np.array([(0.75, 0.25, 0.5)]))
    assert depth == 60
    spot = 255 * np.exp(-((x - spot_x) ** 2 + (y - spot_y) ** 2) / 50)
    frame = np.repeat(spot[..., None], 3, axis=2).astype(np.uint8)
    crop = square.crop(frame, 60, cv2.BORDER_CONSTANT)[..., 0].astype(float)
    center = (np.indices(crop.shape) * crop).sum((1, 2)) / crop.sum()
    np.testing.assert_allclose(center, (15, 45), atol=0.3)


def test_a_region_is_enlarged_with_its_margin():
    angle, corners = math.radians(20), np.array([(-6, -3), (6, -3), (6, 3), (-6, 3)])
    axes = np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
    points = corners @ axes.T + (22, 26)
    region = Region([0, 1, 2, 3], 0, 1, 1.5, 1.5, 16, 16, 0.0)
    matrix, origin = region.place(points)
    np.testing.assert_allclose(matrix @ (8, 8) + origin, (22, 26))
    np.testing.assert_allclose(matrix @ (16, 8) + origin, axes @ (9, 0) + (22, 26))
    np.testing.assert_allclose(matrix @ (8, 0) + origin, axes @ (0, -4.5) + (22, 26))
    ramp = np.indices((48, 48)).transpose(1, 2, 0)[..., ::-1].astype(np.float32) + 0.5  # each cell holds its own centre
    enlarged = region.enlarge(ramp, matrix, origin)[0]
    np.testing.assert_allclose(enlarged[3, 12], matrix @ (12.5, 3.5) + origin, rtol=1e-5)
    outside = region.enlarge(ramp, matrix, origin - (40, 0))[0]
    assert (outside == 0).all()


def test_the_filter_holds_still_landmarks_and_lets_fast_ones_go():
    still = np.random.default_rng(0).random((478, 3)) * 100
    smooth = OneEuroFilter()
    noise = [smooth(still + np.random.default_rng(k).normal(0, 0.01, still.shape)) for k in range(40)]
    assert np.std(noise[20:], axis=0).mean() < 0.006
    moved = [smooth(still + 30) for _ in range(4)][-1]
    np.testing.assert_allclose(moved, still + 30, atol=1.0)


def test_what_is_missing_is_reported_with_a_remedy(monkeypatch):
    with pytest.raises(MissingBackend, match=r"nothing\.tflite") as caught:
        networks.read_model("nothing.tflite")
    assert "Install the package again" in caught.value.remedy
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    for load in (PersonSegmenter, FaceMesh, BlazeFace.full_range):
        with pytest.raises(MissingBackend, match="LiteRT") as caught:
            load()
        assert "pip install ai-edge-litert" in caught.value.remedy
