"""Faces are linked over time, sets of takes serve together, and the crop holds the person."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from adnerf_core.config import FaceChoice
from adnerf_core.errors import NoFaceFound, SceneCut, TooShort
from adnerf_core.preprocess.footage_check import FootageCheck, choose_person
from adnerf_core.preprocess.people import (
    CROP_FACES,
    Look,
    choose_crop,
    chosen_face,
    find_faces,
    people,
    rivals,
    small_picture,
)
from adnerf_core.preprocess.takes import Span
from tests.adnerf_core import clips

WIDE = (1280, 720)
ANN, BOB = (np.random.default_rng(seed).uniform(0, 255, (16, 12, 3)).astype(np.float32) for seed in (0, 1))
"""How two people look."""


def looks(take: Span, *faces, every: int = 12) -> list[Look]:
    """Looks into a take; `faces` are pairs of a picture and a box, or a function of the number of the look that returns a box or None."""
    found = []
    for number, frame in enumerate(range(take.first, take.end, every)):
        shown = [(picture, box(number) if callable(box) else box) for picture, box in faces]
        shown = [(picture, box) for picture, box in shown if box]
        found.append(Look(frame, [box for _, box in shown], [picture for picture, _ in shown]))
    return found


def check(takes: list[Span], faces, cuts=()) -> FootageCheck:
    return FootageCheck(takes[-1].end, *WIDE, takes, list(cuts), faces, (10, 10), 0.0)


def forbidden(candidates):
    raise AssertionError("nobody else is there")


def test_hands_are_no_faces_and_a_passer_by_is_none_either():
    """Found twice in 25 looks, each elsewhere; as large as the face."""
    take = Span(0, 300)
    hand = {7: (200.0, 500.0, 150.0, 160.0), 15: (900.0, 420.0, 170.0, 170.0)}
    walks = {3: (10.0, 100.0, 100.0, 100.0), 4: (90.0, 100.0, 100.0, 100.0)}
    faces = find_faces(looks(take, (ANN, (560.0, 200.0, 180.0, 180.0)), (BOB, hand.get), (BOB, walks.get)), [take])
    assert len(faces) == 1 and len(faces[0].frames) == 25
    assert choose_person(check([take], faces), 8, None, forbidden).others == []


def test_takes_of_the_same_person_in_about_the_same_framing_serve_together():
    """A closer take serves too; another person in the same place, and the same one far away, do not."""
    takes = [Span(0, 250), Span(254, 400), Span(404, 600), Span(604, 900)]
    found = [
        *looks(takes[0], (ANN, (560.0, 200.0, 180.0, 180.0))),
        *looks(takes[1], (ANN, (590.0, 210.0, 220.0, 220.0))),
        *looks(takes[2], (BOB, (560.0, 200.0, 180.0, 180.0))),
        *looks(takes[3], (ANN, (300.0, 300.0, 60.0, 60.0))),
    ]
    faces = find_faces(found, takes)
    person = choose_person(check(takes, faces), 8, None, forbidden)
    assert [face.take for face in person.members] == takes[:2]
    x, y, edge, _ = person.crop
    assert x < 560 and y < 200 and x + edge > 810 and y + edge > 430
    assert [len(members) for members in people(faces, *WIDE)] == [2, 1, 1]


def test_a_face_looks_alike_in_a_closer_take_whose_margins_are_beyond_the_picture():
    picture = clips.portrait(320)
    closer = np.ascontiguousarray(cv2.resize(picture, (448, 448))[40:360, 64:384])
    box = (96.0, 80.0, 128.0, 150.0)
    near = (1.4 * box[0] - 64, 1.4 * box[1] - 40, 1.4 * box[2], 1.4 * box[3])
    small = [small_picture(frame, where).ravel() for frame, where in ((picture, box), (closer, near))]
    assert np.corrcoef(*small)[0, 1] > 0.9


def test_takes_whose_common_crop_would_not_hold_the_face_do_not_serve_together():
    """The face is large, on the left in one take and on the right in the other: no square of the picture's height holds both."""
    takes = [Span(0, 250), Span(254, 600)]
    found = [
        *looks(takes[0], (ANN, (100.0, 150.0, 300.0, 300.0))),
        *looks(takes[1], (ANN, (880.0, 150.0, 300.0, 300.0))),
    ]
    person = choose_person(check(takes, find_faces(found, takes)), 8, None, forbidden)
    assert [face.take for face in person.members] == takes[1:] and person.crop[0] > 400


def test_the_one_who_speaks_is_chosen_and_a_client_can_choose_another():
    take = Span(0, 300)
    left, right = (300.0, 200.0, 180.0, 180.0), (800.0, 200.0, 150.0, 150.0)
    faces = find_faces(looks(take, (ANN, left), (BOB, right)), [take])
    asked = []

    def speaking(candidates):
        asked.extend(candidates)
        return min(candidates, key=lambda face: -face.boxes[0][0])

    person = choose_person(check([take], faces), 8, None, speaking)
    assert len(asked) == 2 and person.members[0].boxes[0] == right and person.others[0].boxes[0] == left
    choice = FaceChoice(x=390 / 1280, y=290 / 720, second=5)
    chosen = choose_person(check([take], faces), 8, choice, forbidden)
    assert chosen.members[0].boxes[0] == left and rivals(chosen.members, faces)[0].boxes[0] == right
    with pytest.raises(NoFaceFound, match=r"no face at 0\.50, 0\.90"):
        chosen_face(faces, FaceChoice(x=0.5, y=0.9, second=5), *WIDE)


def test_somebody_who_leaves_and_comes_back_elsewhere_is_one_person():
    take = Span(0, 300)

    def away(number):
        return None if 8 <= number < 14 else ((100.0 if number < 8 else 800.0), 200.0, 180.0, 180.0)

    (face,) = find_faces(looks(take, (ANN, away)), [take])
    assert len(face.frames) == 19 and face.frames == sorted(face.frames)


def test_too_little_of_one_person_is_refused_with_the_reason():
    takes = [Span(0, 100), Span(104, 200)]
    faces = find_faces([*looks(takes[0], (ANN, (560.0, 200.0, 180.0, 180.0))), *looks(takes[1])], takes)
    with pytest.raises(SceneCut, match=r"Only 4\.0 s .* changes at 4\.08 s"):
        choose_person(check(takes, faces, cuts=[102]), 8, None, forbidden)
    with pytest.raises(TooShort):
        choose_person(check(takes, faces), 8, None, forbidden)
    with pytest.raises(NoFaceFound):
        choose_person(check(takes, []), 8, None, forbidden)


@pytest.mark.parametrize(
    ("face", "picture", "expected"),
    [
        ((150, 130, 250, 250), (512, 512), (0, 0, 512, 512)),  # a portrait already
        ((700, 200, 300, 300), (1920, 1080), (505, 20, 690, 690)),
        ((0, 0, 200, 200), (1280, 720), (0, 0, 460, 460)),  # stays inside
        ((400, 700, 400, 400), (1080, 1920), (0, 380, 1080, 1080)),  # a telephone held upright
    ],
)
def test_the_crop_is_square_inside_and_shows_head_and_shoulders(face, picture, expected):
    faces = np.tile(np.array(face, float), (20, 1))
    crop = choose_crop(faces, *picture)
    np.testing.assert_allclose(crop, expected, atol=2)
    assert crop[2] == crop[3] and crop[2] % 2 == 0
    assert crop[0] + crop[2] <= picture[0] and crop[1] + crop[3] <= picture[1]


def test_the_crop_leaves_room_for_movement():
    faces = np.tile(np.array((700, 200, 200, 200), float), (40, 1))
    faces[:, 0] += np.linspace(-100, 100, 40)
    x, _, edge, _ = choose_crop(faces, 1920, 1080)
    assert edge > CROP_FACES * 200 + 150
    assert x < 600 - 50 and x + edge > 1000 + 50
