"""Full frames: the footage's own pictures, in which what the lips can move is rendered by the two fields."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from adnerf_core.files import yuv
from adnerf_core.models.base import FrameConditions
from adnerf_core.models.frame_renderer import BLOCK_PX, frame_renderer
from adnerf_core.progress import Progress
from adnerf_core.synthesis.adaptive_sampling import render_adaptively
from adnerf_core.synthesis.compositing import Grain, edge_correction, footage_in_front, scaled
from adnerf_core.synthesis.lip_region import LipRegion, SoftMask
from adnerf_core.synthesis.play_order import loop_order, play_order
from adnerf_core.synthesis.speech_codes import Codes
from adnerf_core.synthesis.subject import Subject
from adnerf_core.threads import usable_cores

MIN_SHARE = 0.02
"""Pixels with a smaller share of the rendered colour are left as they are: even a difference of 25 steps would change them by half a step."""
SPACING, COARSEST = 0.035, 4
"""Largest distance of the pixels that are rendered in any case, head units (3 mm of skin) and pixels of the frame. With half of it, three
times as many pixels are rendered, and the picture has the same PSNR against the footage (docs/decisions/0029)."""
MAX_THREADS = 8
"""Frames that are rendered at a time, at most: decoding, marking and encoding keep up with no more, and each takes memory."""


class FullFrameRenderer:
    """Renders full frames of one subject at one size."""

    def __init__(self, subject: Subject, size: int | None = None, seed: int = 0):
        """Prepares the rendering.

        Args:
            subject: it must have a playback.
            size: longest edge of the frames, px. None: that of the footage.
            seed: of the grain.
        """
        self.subject, self.playback, self.seed = subject, subject.playback, seed
        self.grain = Grain(seed)
        width, height = self.playback.width, self.playback.height
        scale = (size or max(width, height)) / max(width, height)
        self.width, self.height = (max(2, round(edge * scale / 2) * 2) for edge in (width, height))
        self.region = LipRegion(self.playback, subject.model.geometry.camera, self.width, self.height)
        # A pixel's side as a share of SPACING, and of the distance at which no block of proposal rays is missed.
        pixel = max(1 / self.region.head_unit(subject.poses[0]) / SPACING, self.region.camera_px / BLOCK_PX)
        self.spacing = COARSEST
        while self.spacing > 1 and self.spacing * pixel > 1:
            self.spacing //= 2

    def render(
        self,
        codes: Codes,
        pose: Literal["track", "still"],
        progress: Progress,
        *,
        loop: bool = False,
    ) -> Iterator[yuv.Picture]:
        """Renders the frames of a video, one for each of `codes`, as planes of YUV (see yuv.py).

        The footage is decoded in the background, and several frames are rendered at a time, each by one thread: that takes less than one
        frame by several threads, which would wait for each other.

        Args:
            codes: speech codes, 25 a second.
            pose: what of the footage is played (see play_order).
            progress: receives the stage "render".
            loop: the first and the last frame are alike.
        """
        play, count, torch_threads = self.playback, len(codes), torch.get_num_threads()
        threads = min(MAX_THREADS, usable_cores())
        if loop:
            order = iter(loop_order(play.trusted, self.subject.poses, count))
        else:
            order = play_order(play.trusted, self.subject.poses, pose, self.seed)
        size = None if (self.width, self.height) == (play.width, play.height) else (self.width, self.height)
        pending: deque[Future[yuv.Picture]] = deque()
        try:
            with ThreadPoolExecutor(threads, "render", torch.set_num_threads, (1,)) as pool:
                pictures = play.reader.read(islice(order, count), size, planar=True)
                for k, ((frame, picture), code) in enumerate(zip(pictures, codes, strict=True)):
                    progress("render", k, count)
                    pending.append(pool.submit(self.render_into, picture, frame, code, k))
                    if len(pending) > 2 * threads:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
        finally:
            torch.set_num_threads(torch_threads)  # the value of the pool's threads is that of all new threads

    def render_first(self, code: Float[Tensor, " code"], pose: Literal["track", "still"]) -> yuv.Picture:
        """Renders the first frame of a video in this thread alone, so that it can run beside the rendering of another video."""
        play = self.playback
        first = next(play_order(play.trusted, self.subject.poses, pose, self.seed))
        size = None if (self.width, self.height) == (play.width, play.height) else (self.width, self.height)
        _, picture = next(play.reader.read([first], size, planar=True))
        return self.render_into(picture, first, code)

    def render_into(
        self, picture: yuv.Picture, frame: int, code: Float[Tensor, " code"], number: int = 0
    ) -> yuv.Picture:
        """Renders the lips of a speech code into a picture of the footage, and returns it.

        Args:
            picture: frame of the footage at this renderer's size; it is changed in place.
            frame: its number in the footage.
            code: speech code, which determines the lips.
            number: of the frame in the video; each has grain of its own.
        """
        mask = self.region.mask(self.subject.poses[frame])
        self.blend_into(picture, mask, self.render_region(mask, frame, code), number)
        return picture

    def blend_into(
        self, picture: yuv.Picture, mask: SoftMask, rendered: Float[np.ndarray, "rows cols 3"], number: int
    ) -> None:
        """Puts what render_region returned into a picture of the footage, in place; `number` as in render_into."""
        share = np.where(mask.share > MIN_SHARE, mask.share, 0)
        footage = yuv.to_rgb(picture, mask.box)
        difference = scaled(footage - rendered, (share > 0).astype(np.float32))
        difference -= edge_correction(difference, share)
        grain = self.grain(footage, rendered, share, number)
        change = cv2.merge([grain] * 3) - difference
        yuv.add_rgb(picture, mask.box, scaled(change, footage_in_front(difference, share)))

    def render_region(
        self, mask: SoftMask, frame: int, code: Float[Tensor, " code"]
    ) -> Float[np.ndarray, "rows cols 3"]:
        """Renders the pixels of a mask; returns colours 0..255, 0 outside the mask."""
        subject, device = self.subject, self.subject.poses.device
        origin = np.array([part.start for part in mask.box]) + 0.5
        at = slice(frame, frame + 1)
        conditions = FrameConditions(subject.poses[at], subject.torso[at], subject.upper[at], code[None])
        exposure = self.playback.exposure[frame] * 255

        def places(pixels: Int[np.ndarray, "pixels 2"]) -> Float[Tensor, "pixels 2"]:
            return torch.from_numpy(self.region.to_camera(pixels + origin).astype(np.float32)).to(device)

        lattice = np.argwhere(mask.share[:: self.spacing, :: self.spacing] > MIN_SHARE) * self.spacing
        render_part = frame_renderer(subject.model, conditions, places(lattice), self.spacing)

        def render(pixels: Int[np.ndarray, "pixels 2"]) -> Float[np.ndarray, "pixels 3"]:
            positions = places(pixels)
            return (render_part(positions, self._plate(positions)).color * exposure).cpu().numpy()

        return render_adaptively(mask.share, MIN_SHARE, render, self.spacing)

    def _plate(self, pixels: Float[Tensor, "pixels 2"]) -> Float[Tensor, "pixels 3"]:
        """Returns the clean plate's colours at places (row, col) of the camera's image."""
        plate = self.subject.background.permute(2, 0, 1)[None]
        grid = (pixels.flip(-1) / self.subject.size * 2 - 1)[None, None]
        colors = torch.nn.functional.grid_sample(plate, grid, padding_mode="border", align_corners=False)
        return colors[0, :, 0].T
