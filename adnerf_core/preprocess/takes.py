"""Finds the takes of a video: the stretches between cuts, dissolves, fades and flashes."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.ndimage import binary_dilation

from adnerf_core.config import FPS
from adnerf_core.preprocess.dissolves import THUMBNAIL, find_dissolves, find_double_pictures

CUT_LEVELS, CUT_RATIO = 12.0, 6.0
"""Mean change of a thumbnail from one frame to the next that is a cut: in grey levels, and in multiples of the median change around
it. Lively people reach 6 and 5; a cut to another framing of the same scene reaches 20 and more of both."""

JUMP_LEVELS, JUMP_RATIO, JUMP_QUANTILE = 2.0, 2.4, 0.9
JUMP_ALONE, JUMP_REACH = 1.8, 3
"""The same for a cut within one framing, which changes little else than the person: the change is compared with this quantile of the
changes around it, which gestures and low frame rates raise, and a cut does not (docs/footage.md); and with the largest of the few
changes beside it, among which a quick motion has more than one."""

MAX_HELD = 3
"""Equal pictures up to which some are missing, so that the next change counts for several. With more, it was still, or frozen."""

FLASH_FRAMES = 5
"""Two jumps so close together, frames, are a flash or a hand in front of the lens, after which the same shot continues."""

MIN_CONTRAST = 0.5
"""Standard deviation of a thumbnail over the median of its shot, below which the picture is faded or washed out."""

FROZEN_FRAMES = FPS // 2
"""Equal pictures in a row from which they are a freeze, as in recorded calls, and not a low frame rate: below it lie five pictures a second."""

EQUAL_LEVELS = 6
"""Largest difference of equal pictures in any pixel, grey levels: what an encoder adds. A live face of 48 px in a still screen changes by 33
in most pictures, and by 8 in all but one of a hundred (docs/footage.md)."""

MAX_FROZEN = 0.5
"""Share of frozen frames from which they stay: the video is a still, which is told as such later."""

CUT_MARGIN = 2
"""Frames before and after a cut that are left out: encoders and cameras blend two shots over a frame or two."""

MIN_TAKE_FRAMES = FPS
"""Shortest take that is used: with less than a second, the tracker has hardly started."""


class Span(NamedTuple):
    """A stretch of frames: the first one, and the one after the last."""

    first: int
    end: int

    @property
    def seconds(self) -> float:
        return (self.end - self.first) / FPS


def halved(frame: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "rows cols 3"]:
    """Returns a picture with half its edges; without it, thumbnails would take three times as long."""
    height, width = (max(1, edge // 2) for edge in frame.shape[:2])
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)


def thumbnail(half: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "48 64 3"]:
    """Returns the thumbnail of a picture, which halved() has made smaller; RGB."""
    return cv2.resize(half, THUMBNAIL, interpolation=cv2.INTER_AREA)


def find_takes(
    changes: Float[np.ndarray, " changes"],
    thumbnails: UInt8[np.ndarray, "frames 48 64"],
    details: Float[np.ndarray, "frames 6 8"],
    equal: Bool[np.ndarray, " changes"],
) -> tuple[list[Span], list[int]]:
    """Returns the takes that are long enough to be used, and the frames at which shots begin, without the first one's.

    Args:
        changes: the mean change of the thumbnail from frame k to frame k + 1, grey levels.
        thumbnails: of all frames, grey.
        details: of all frames, see dissolves.detail().
        equal: whether frame k + 1 is the same as frame k, see are_equal().
    """
    jumps = find_jumps(changes, equal)
    cuts = [jump for jump in jumps if not any(0 < abs(jump - other) <= FLASH_FRAMES for other in jumps)]
    flashes = [jump for jump in jumps if jump not in cuts]
    bad = find_dissolves(thumbnails) | find_double_pictures(thumbnails, details)
    bad |= _washed_out(thumbnails, cuts) | _frozen(equal)
    for jump in jumps:
        bad[max(0, jump - CUT_MARGIN) : jump + CUT_MARGIN] = True
    for first, second in pairwise(flashes):
        if second - first <= FLASH_FRAMES:
            bad[first:second] = True
    return [span for span in runs(~bad) if span.end - span.first >= MIN_TAKE_FRAMES], cuts


def runs(flags: Bool[np.ndarray, " frames"]) -> list[Span]:
    """Returns the longest stretches in which all flags are set."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [Span(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def are_equal(a: UInt8[np.ndarray, "height width 3"], b: UInt8[np.ndarray, "height width 3"]) -> bool:
    """Whether two frames show the same picture in each pixel, apart from what an encoder adds."""
    return cv2.norm(a, b, cv2.NORM_INF) <= EQUAL_LEVELS


def _held(equal: Bool[np.ndarray, " changes"]) -> Int[np.ndarray, " changes"]:
    """How many pictures are missing before each change: phones leave some out, and the next one makes up for them."""
    held = np.zeros(len(equal), int)
    for span in runs(equal):
        if span.end < len(equal) and span.end - span.first <= MAX_HELD:
            held[span.end] = span.end - span.first
    return held


def _frozen(equal: Bool[np.ndarray, " changes"]) -> Bool[np.ndarray, " frames"]:
    """Marks the frames of freezes."""
    frozen = np.zeros(len(equal) + 1, bool)
    for span in runs(equal):
        if span.end - span.first >= FROZEN_FRAMES:
            frozen[span.first : span.end + 1] = True
    return frozen & (frozen.mean() < MAX_FROZEN)


def find_jumps(changes: Float[np.ndarray, " changes"], equal: Bool[np.ndarray, " changes"]) -> list[int]:
    """Returns the frames that differ from the frame before much more than others do; arguments as in find_takes()."""
    jumps = []
    speed = changes / (1 + _held(equal))
    for k in np.flatnonzero(changes > JUMP_LEVELS):
        around, slower = (np.concatenate([x[max(0, k - FPS) : k], x[k + 1 : k + 1 + FPS]]) for x in (changes, speed))
        if not len(around):
            continue
        other_shot = changes[k] > CUT_LEVELS and changes[k] > CUT_RATIO * np.median(around)
        usual = max(float(np.quantile(slower, JUMP_QUANTILE)), JUMP_LEVELS / JUMP_RATIO)
        beside = np.concatenate([speed[max(0, k - JUMP_REACH) : k], speed[k + 1 : k + 1 + JUMP_REACH]])
        alone = speed[k] > JUMP_RATIO * usual and speed[k] > JUMP_ALONE * beside.max()
        if other_shot or alone:
            jumps.append(int(k) + 1)
    return jumps


def _washed_out(thumbnails: UInt8[np.ndarray, "frames 48 64"], cuts: list[int]) -> Bool[np.ndarray, " frames"]:
    """Marks the frames with much less contrast than their shot: faded ones, and those in a flash."""
    contrast = thumbnails.reshape(len(thumbnails), -1).std(1)
    bad = np.zeros(len(thumbnails), bool)
    for first, end in zip([0, *cuts], [*cuts, len(thumbnails)], strict=True):
        bad[first:end] = contrast[first:end] < MIN_CONTRAST * np.median(contrast[first:end])
    return binary_dilation(bad, np.ones(2 * CUT_MARGIN + 1))
