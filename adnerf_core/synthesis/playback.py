"""Playback: what a subject needs for being shown in its own footage, of which only the lower face is rendered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from adnerf_core.files.footage_reader import FootageReader


class PlayableFrames(NamedTuple):
    """What a training knows about the frames of the footage beside the track.

    Attributes:
        exposure: brightness of each channel relative to the median frame.
        trusted: the frames that may be shown.
    """

    exposure: Float[ndarray, "frames 3"]
    trusted: Bool[ndarray, " frames"]

    @classmethod
    def learnt(
        cls, exposure: Float[ndarray, "frames 3"], usable: Bool[ndarray, " frames"], held_out_from: int
    ) -> PlayableFrames:
        """Returns the `usable` frames that do not belong to the held-out part.

        Frames beside a cut, without a face, or with something before the mouth are not valid, so that none of them is usable.
        """
        return cls(exposure, usable & (np.arange(len(usable)) < held_out_from))


@dataclass(frozen=True)
class Playback:
    """The footage of a subject, and which of it may be shown. Its frames are those of the subject's poses.

    Attributes:
        path: the footage (data/dataset.py describes the file).
        width: of the footage, px.
        height: of the footage, px.
        crop: (x, y, side) of the square that the subject's camera sees, px of the footage.
        exposure: brightness of each channel relative to the median frame.
        trusted: the frames that may be shown.
        outline: closed outline of what the lips can move, in the head's frame, head units (face/lip_region.py).
    """

    path: Path
    width: int
    height: int
    crop: tuple[float, float, float]
    exposure: Float[Tensor, "frames 3"]
    trusted: Bool[Tensor, " frames"]
    outline: Float[Tensor, "points 3"]

    @cached_property
    def reader(self) -> FootageReader:
        """Reads the footage; it keeps the frames with which a video begins."""
        return FootageReader(self.path, self.width, self.height, len(self.trusted))
