"""FootageReader: the frames of a subject's footage in any order, also backwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path

import ffmpeg
import numpy as np
from jaxtyping import UInt8

from adnerf_core.config import FPS
from adnerf_core.errors import NotReady
from adnerf_core.files.ffmpeg_process import THREADS, running, untrusted_input
from adnerf_core.files.video_formats import GOP_FRAMES

BLOCK_FRAMES = 2 * GOP_FRAMES
"""Frames that are decoded at a time, about a second. Two blocks are in memory: 300 MB at 1080p. Each block costs the start of a
process, 0.05 s, so shorter ones would cost more time."""
NEAR_FRAMES = GOP_FRAMES
"""While the first BLOCK_FRAMES are drawn, for which somebody waits, the next block is decoded only if it is needed within so many frames."""

KEPT_BLOCKS = 2
"""Blocks that a reader keeps, planar ones of 75 MB at 1080p: those with which it began last, such as for videos of two sizes. Most videos of a
subject begin with the same frame."""


class FootageReader:
    """Reads footage that read_frames() stored, block by block.

    Blocks are decoded in the background: a frame can be used as soon as it is decoded, and the block that comes next is decoded while the
    frames of the present one are used.
    """

    def __init__(self, path: Path, width: int, height: int, frames: int):
        """Describes the footage; nothing is read yet.

        Args:
            path: the file.
            width: of its frames, px.
            height: of its frames, px.
            frames: number of frames that may be read.
        """
        self.path, self.size, self.frames = Path(path), (width, height), frames
        self._kept: dict[tuple[int, tuple[int, int] | None, bool], list[Future[np.ndarray]]] = {}

    def read(
        self, order: Iterable[int], size: tuple[int, int] | None = None, *, planar: bool = False
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "rows width *channels"]]]:
        """Streams frames. Memory is bounded, also if `order` has no end.

        Args:
            order: numbers of frames. Orders that run forwards or backwards are fast; every jump costs the decoding of a block.
            size: (width, height) to which the frames are scaled; their own size by default.
            planar: planes of YUV (see yuv.py) instead of RGB.

        Yields:
            The number and the frame; the array is the caller's.

        Raises:
            NotReady: if the file is missing or does not hold a frame.
            ValueError: if `order` has a number that is no frame of the footage.
        """
        numbers = map(self._checked, order)
        ahead = deque(islice(numbers, BLOCK_FRAMES))
        blocks: dict[int, list[Future]] = {}
        with ThreadPoolExecutor(1, thread_name_prefix="footage") as pool:
            for drawn in count():
                if not ahead:
                    return
                current = ahead[0] // BLOCK_FRAMES
                near = islice(ahead, NEAR_FRAMES) if drawn < BLOCK_FRAMES else ahead
                following = next((k // BLOCK_FRAMES for k in near if k // BLOCK_FRAMES != current), current)
                blocks = {
                    block: blocks.get(block) or self._start(pool, block, size, planar, keep=not drawn)
                    for block in (current, following)
                }
                k = ahead.popleft()
                ahead.extend(islice(numbers, 1))
                yield k, blocks[current][k % BLOCK_FRAMES].result().copy()

    def _checked(self, frame: int) -> int:
        if not 0 <= frame < self.frames:
            raise ValueError(f"frame {frame} is outside the footage of {self.frames} frames")
        return frame

    def _start(
        self, pool: ThreadPoolExecutor, block: int, size: tuple[int, int] | None, planar: bool, *, keep: bool
    ) -> list[Future[np.ndarray]]:
        """Lets the pool decode one block, unless it was kept; returns its frames to come, and keeps them."""
        key, first = (block, size, planar), block * BLOCK_FRAMES
        frames = self._kept.get(key)
        if frames is None or any(frame.done() and frame.exception() for frame in frames):
            frames = [Future() for _ in range(min(BLOCK_FRAMES, self.frames - first))]
            pool.submit(self._decode, first, frames, size, planar)
        if keep:
            others = [(other, kept) for other, kept in self._kept.items() if other != key]
            self._kept = dict([*others[1 - KEPT_BLOCKS :], (key, frames)])
        return frames

    def _decode(self, first: int, frames: list[Future[np.ndarray]], size: tuple[int, int] | None, planar: bool) -> None:
        """Decodes `frames` from the number `first` on, which is a key frame."""
        try:
            for frame, picture in zip(frames, self._pictures(first, len(frames), size, planar), strict=True):
                frame.set_result(picture)
        except BaseException as error:
            for frame in frames:
                if not frame.done():
                    frame.set_exception(error)

    def _pictures(
        self, first: int, number: int, size: tuple[int, int] | None, planar: bool
    ) -> Iterator[UInt8[np.ndarray, "rows width *channels"]]:
        width, height = size or self.size
        pictures = untrusted_input(self.path, ss=first / FPS)["V:0"]
        if size is not None:
            pictures = pictures.filter("scale", width, height, flags="bicubic")
        options = {
            "format": "rawvideo",
            "pix_fmt": "yuv420p" if planar else "rgb24",
            "threads": THREADS,
            "frames:v": number,
        }
        shape = (height * 3 // 2, width) if planar else (height, width, 3)
        with running(ffmpeg.output(pictures, "pipe:1", **options)) as child:
            for _ in range(number):
                picture = np.empty(shape, np.uint8)
                if child.stdout.readinto(memoryview(picture).cast("B")) < picture.nbytes:
                    raise NotReady(f"{self.path.name} does not hold its frames.", "Preprocess the video again.")
                yield picture
