"""Takes are found between cuts, dissolves, fades and flashes; motion, light and low frame rates are none of these."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from adnerf_core.config import FPS
from adnerf_core.preprocess.dissolves import detail, find_double_pictures
from adnerf_core.preprocess.takes import CUT_MARGIN, are_equal, find_jumps, find_takes, halved, thumbnail
from tests.adnerf_core import clips

EDGE = 128
FRAMES = 4 * FPS


def takes_of(frames: Iterable[np.ndarray]) -> tuple[list[tuple[int, int]], list[int]]:
    frames = list(frames)
    halves = [halved(frame) for frame in frames]
    small, details = [thumbnail(half) for half in halves], np.array([detail(half) for half in halves])
    changes = np.array([cv2.absdiff(b, a).mean() for a, b in pairwise(small)])
    equal = np.array([are_equal(a, b) for a, b in pairwise(frames)])
    gray = np.array([cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in small])
    takes, cuts = find_takes(changes, gray, details, equal)
    return [tuple(take) for take in takes], cuts


def speaker(count: int = FRAMES):
    rng = np.random.default_rng(0)
    for frame in clips.speaker(clips.syllables(count), EDGE):
        yield np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)


def title() -> np.ndarray:
    card = np.full((EDGE, EDGE, 3), (18, 30, 60), np.uint8)
    return cv2.rectangle(card, (15, 60), (90, 66), (255, 255, 255), -1)


def mixed(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    return np.rint(a * (1.0 - share) + b * share).astype(np.uint8)


def test_a_whole_take_of_a_moving_speaker_is_one():
    assert takes_of(speaker()) == ([(0, FRAMES)], [])


def test_a_cut_leaves_out_what_is_beside_it():
    frames = [*speaker(50), *(frame[:, ::-1] for frame in speaker(50))]
    assert takes_of(frames) == ([(0, 50 - CUT_MARGIN), (50 + CUT_MARGIN, 100)], [50])


def test_a_jump_within_one_framing_is_a_cut():
    """Half a second is cut out while the head is elsewhere; nothing but the head has moved."""
    frames = list(speaker(110))
    frames[50:] = [np.roll(frame, 5, axis=1) for frame in frames[50:]]
    assert takes_of(frames)[1] == [50]


@pytest.mark.parametrize("length", [12, 25, 38])
def test_a_title_that_dissolves_is_left_out(length):
    """All but a frame or two of the dissolve, of which at most a tenth is the title."""
    frames = [title()] * 30 + list(speaker(length + 60))
    for k in range(length):
        frames[30 + k] = mixed(title(), frames[30 + k], (k + 1) / (length + 1))
    takes, _ = takes_of(frames)
    first, end = takes[-1]
    assert end == len(frames) and 30 + 0.9 * length <= first <= 30 + length + 20
    assert all(end <= 33 for _, end in takes[:-1])


def pattern(seed: int) -> np.ndarray:
    """A grey picture, [144, 192], of fine and coarse blobs."""
    noise = np.random.default_rng(seed).normal(size=(144, 192))
    return 128 + sum(a * cv2.GaussianBlur(noise, (0, 0), sigma) for a, sigma in ((60, 1.5), (160, 5)))


def test_a_dissolve_between_takes_of_one_framing_is_found():
    """Nothing but the person is 7 px further to the right afterwards, as far as it moves by itself."""
    room, person = np.clip(pattern(0), 0, 255), np.clip(pattern(1), 0, 255)

    def seen(x: float) -> np.ndarray:
        picture, place = room.copy(), np.array([[1.0, 0, x], [0, 1, x / 2]])
        picture[30:, 50:140] = cv2.warpAffine(person, place, (192, 144), borderMode=cv2.BORDER_REFLECT)[30:, 50:140]
        return picture

    sway = 3.5 * np.sin(np.arange(180) / 5)
    first, second = ([seen(x + step) for x in sway] for step in (0, 7))
    for length in (0, 6, 14):
        shares = np.clip((np.arange(180) - 79) / (length + 1), 0, 1) if length else np.zeros(180)
        frames = [
            np.repeat(mixed(a, b, share)[..., None], 3, 2) for a, b, share in zip(first, second, shares, strict=True)
        ]
        small = np.array([thumbnail(frame)[..., 0] for frame in frames])
        found = np.flatnonzero(find_double_pictures(small, np.array([detail(frame) for frame in frames])))
        if length:
            assert 65 <= found[0] <= 81 and 78 + length <= found[-1] <= 95 + length
        else:
            assert not len(found)


def test_a_flash_and_a_fade_are_left_out():
    frames = list(speaker())
    for k in (60, 61, 62):
        frames[k] = (frames[k] * 0.12 + 224).astype(np.uint8)
    for k in range(15):
        frames[k] = (frames[k] * (k / 15)).astype(np.uint8)
    takes, cuts = takes_of(frames)
    assert cuts == [] and len(takes) == 2
    assert 7 <= takes[0][0] <= 20 and 57 <= takes[0][1] <= 60 and 63 <= takes[1][0] <= 66 and takes[1][1] == FRAMES


def test_a_freeze_is_left_out_and_a_still_picture_is_not():
    frames = list(speaker())
    frames[40:60] = [np.maximum(frames[40], 2) - np.uint8(k % 3) for k in range(20)]  # an encoder changes them a little
    assert takes_of(frames) == ([(0, 40), (62, FRAMES)], [60])  # after it, the picture jumps
    assert takes_of([frames[0]] * FRAMES) == ([(0, FRAMES)], [])


@pytest.mark.parametrize("how", ["pan", "fast pan", "zoom", "exposure", "five a second", "leans"])
def test_motion_light_and_low_rates_are_no_cuts(how):
    wide = cv2.resize(astronaut(), (320, 320))
    speaking, frames = list(speaker()), []
    for k in range(FRAMES):
        if "pan" in how:
            shift = int(k * (0.4 if how == "pan" else 1.5))
            frame = wide[60:188, shift : shift + 128]
        elif how == "zoom":
            edge = 200 - 0.6 * k
            frame = cv2.warpAffine(wide, np.array([[128 / edge, 0, 0], [0, 128 / edge, 0]]), (128, 128))
        elif how == "exposure":
            frame = np.clip(speaking[k] * (0.8 + 0.3 * np.clip((k - 40) / 20, 0, 1)), 0, 255).astype(np.uint8)
        elif how == "leans":
            frame = np.roll(speaking[k], round(14 * np.sin(k / 9)), axis=1)
        else:
            frame = speaking[k // 5 * 5]
        frames.append(frame)
    assert takes_of(frames) == ([(0, FRAMES)], [])


def test_jumps_stand_out_from_what_is_around_them():
    changes = np.abs(np.random.default_rng(0).normal(1.0, 0.3, 200))
    assert find_jumps(changes, changes < 0) == []
    changes[49] = 20  # a cut
    changes[150:160] = 8  # a quick gesture
    assert find_jumps(changes, changes < 0) == [50]
    changes[0] = changes[-1] = 30
    assert find_jumps(changes, changes < 0) == [1, 50, 200]


def test_pictures_that_a_phone_leaves_out_are_no_jumps():
    """The picture after two that are missing changes as much as three."""
    changes = 2.5 + np.sin(np.arange(120) / 6)
    missing = np.arange(120) % 20
    equal = (missing == 8) | (missing == 9)
    late = changes.copy()
    late[np.flatnonzero(missing == 10)] += late[np.flatnonzero(equal)].reshape(-1, 2).sum(1)
    late[equal] = 0
    assert find_jumps(late, late < 0) != [] == find_jumps(late, equal)
    late[50] += 40  # a cut after two missing pictures is one still
    assert find_jumps(late, equal) == [51]
