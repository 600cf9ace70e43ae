"""Renders the video of a finished subject saying a piece of speech."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from adnerf_core.cameras.cameras import project
from adnerf_core.cameras.view_control import FILMED_QUANTILES, AppliedView, canonical_frame
from adnerf_core.config import FPS, MAX_PORTRAIT_PX, RenderOptions, ViewChange
from adnerf_core.errors import AdnerfError, CaptionsUnavailable, FullFrameUnavailable
from adnerf_core.files import ffmpeg
from adnerf_core.files.fragments import TakesPieces
from adnerf_core.files.images import to_uint8
from adnerf_core.files.run_dir import RunDir, temporary_beside
from adnerf_core.models.base import FrameConditions, TalkingHeadModel
from adnerf_core.models.frame_renderer import render_frame
from adnerf_core.progress import Progress, silent
from adnerf_core.speech.timing import Word
from adnerf_core.synthesis.aspect import Reframing
from adnerf_core.synthesis.background import extract_foreground, make_background
from adnerf_core.synthesis.burnt_captions import CaptionBurner
from adnerf_core.synthesis.full_frame import FullFrameRenderer
from adnerf_core.synthesis.idle_motion import MotionFrame, motion_frames
from adnerf_core.synthesis.speech_codes import Codes, silent_codes, speech_codes
from adnerf_core.synthesis.subject import Subject, load_subject
from adnerf_core.synthesis.visible_label import VisibleLabel
from adnerf_core.watermark.embed import WatermarkEmbedder
from adnerf_core.watermark.spread_spectrum import Watermark

DEFAULT_OPTIONS = RenderOptions()
HEAD_MIDDLE = (0.0, -0.3, -0.45)
"""Middle of the head, head frame, head units: behind the nose, halfway to the pivot of changed views, so that a turn moves it little."""


@dataclass(frozen=True)
class RenderedVideo:
    """Properties of a video that render wrote.

    frames: number of frames, 25 a second.
    duration_s: length of the video, s.
    width, height: of the video, px.
    view: the requested change of view, clamped to the subject's limits.
    frame: what a frame shows: `full` the footage's own frame with rendered lips, `portrait` a square that is rendered as a whole.
    warnings: what could not be done of what was asked.
    """

    frames: int
    duration_s: float
    width: int
    height: int
    view: ViewChange
    frame: Literal["full", "portrait"]
    warnings: tuple[AdnerfError, ...] = ()


def render(
    run: RunDir,
    audio: Path | None,
    out: Path,
    options: RenderOptions = DEFAULT_OPTIONS,
    progress: Progress = silent,
    *,
    duration_s: float | None = None,
    background: Path | None = None,
    device: str = "cpu",
    load: Callable[[RunDir, str], Subject] = load_subject,
    mark: Watermark | None = None,
    words: Sequence[Word] = (),
    fonts: Path | None = None,
    watch: TakesPieces | None = None,
) -> RenderedVideo:
    """Writes a video of a subject saying `audio`. It is as long as the audio, rounded to a whole number of frames.

    Without audio it is a silent loop of `duration_s`: the mouth is at rest, and the first and the last frame are alike.
    Frames are piped to ffmpeg as they are rendered, so they are never all in memory. Equal arguments give equal pixels.

    Args:
        run: finished run of the subject.
        audio: a media file with an audio stream, in any format that ffmpeg reads. None: `duration_s` is given.
        out: the video; its suffix must fit options.format.
        options: size, view, background and so on.
        progress: receives the stage "render".
        duration_s: length of a video without audio, s, MIN_AUDIO_S to MAX_AUDIO_S.
        background: image file, needed if options.background is of kind `image`.
        device: "cpu" or "cuda".
        load: loads the subject; a caller that renders repeatedly passes a function with a cache.
        mark: watermark that is embedded into the frames.
        words: what is said, for options.captions.burn.
        fonts: folder with fonts for them and for the label, besides those of the system.
        watch: receives an MP4 while it is rendered (ffmpeg.write_video): its sound is decoded before, and heard meanwhile.

    Raises:
        AudioTooShort, MediaTooLong, NotMedia, NoAudio: the audio cannot be used.
        FullFrameUnavailable: options.frame is `full`, and the run has no footage or none that may be shown.
        NotReady: the run is not finished.
        NoSuchDevice, MissingBackend, DiskFull: the machine lacks something.
        ValueError: neither audio nor a duration is given, or both, or a duration out of range.
    """
    if (audio is None) == (duration_s is None):
        raise ValueError("a video needs either audio or a duration")
    container = ffmpeg.writable_format(out)  # checked before hours of audio are encoded
    subject = load(run, device)
    view = applied_view(subject, options.view)
    with temporary_beside(out.with_suffix(".flac")) as soundtrack, temporary_beside(out.with_suffix(".s16")) as decoded:
        speaks = audio is not None
        codes = speech_codes(subject, audio, decoded, soundtrack) if speaks else silent_codes(subject, duration_s)
        count, loop = len(codes), not speaks
        kind, frames, height, width = _shaped_frames(subject, codes, options, view, background, device, progress, loop)
        frames, warnings = _drawn_over(frames, words, count / FPS, options, mark, height, width, fonts)
        sound, hardware = soundtrack if speaks else None, device == "cuda"
        ffmpeg.write_video(
            out, frames, soundtrack=sound, duration_s=count / FPS, container=container, watch=watch, hardware=hardware
        )
    progress("render", count, count)
    return RenderedVideo(count, count / FPS, width, height, view.change, kind, warnings)


def _shaped_frames(
    subject: Subject,
    codes: Codes,
    options: RenderOptions,
    view: AppliedView,
    background: Path | None,
    device: str,
    progress: Progress,
    loop: bool,
) -> tuple[Literal["full", "portrait"], Iterator[np.ndarray], int, int]:
    """Returns what the frames show, the frames in the shape that is asked for, and their height and width in px."""
    kind = frame_shown(subject, options)
    if kind == "full":
        # Of another shape, the frame is rendered as large as it is, and scaled with the change of its shape.
        renderer = FullFrameRenderer(subject, options.size if options.aspect == "source" else None, options.seed)
        height, width = renderer.height, renderer.width
        frames = renderer.render(codes, options.pose, progress, loop=loop)
    else:
        height = width = portrait_size(subject, options)
        background_image = make_background(subject, options.background, background, width, device)
        frames = render_frames(subject, codes, background_image, options, view, progress, loop=loop)
    if options.aspect != "source":
        face = face_place(subject, options, kind, height, width)
        reframing = Reframing(options, height, width, face, options.size)
        frames, height, width = reframing.apply(frames), reframing.height, reframing.width
    return kind, frames, height, width


def _drawn_over(
    frames: Iterator[np.ndarray],
    words: Sequence[Word],
    duration_s: float,
    options: RenderOptions,
    mark: Watermark | None,
    height: int,
    width: int,
    fonts: Path | None,
) -> tuple[Iterator[np.ndarray], tuple[AdnerfError, ...]]:
    """Returns the frames with captions, the visible label and the watermark, where they are asked for, and what could not be drawn."""
    warnings: tuple[AdnerfError, ...] = ()
    if options.captions.burn is not None and words:
        try:
            frames = CaptionBurner(words, duration_s, options.captions.burn, height, width, fonts).over(frames)
        except CaptionsUnavailable as error:
            warnings = (error,)
    if options.label:
        visible = VisibleLabel(options.label, height, width, fonts)
        frames, warnings = visible.over(frames), warnings + visible.warnings
    if mark is not None:
        frames = WatermarkEmbedder(mark.number, mark.key, height, width).over(frames)
    return frames, warnings


def face_place(
    subject: Subject, options: RenderOptions, frame: Literal["full", "portrait"], height: int, width: int
) -> tuple[float, float]:
    """Returns (row, col), px, of the middle of the head in frames of a size: the middle of where it is in the footage.

    The square around head and shoulders does not tell it: beside an edge of the footage, the head is not in its middle.
    """
    camera = subject.model.geometry.camera
    places = project(camera, subject.poses, torch.tensor([HEAD_MIDDLE], device=subject.poses.device))[:, 0]
    ends = places.quantile(torch.tensor(FILMED_QUANTILES, device=places.device), dim=0)
    row, col = (ends.mean(0) / camera.height).tolist()
    if frame == "portrait":
        view = options.view
        return ((row - 0.5) * view.zoom + 0.5 + view.y) * height, ((col - 0.5) * view.zoom + 0.5 + view.x) * width
    x, y, side = subject.playback.crop
    scale = height / subject.playback.height
    return (y + row * side) * scale, (x + col * side) * scale


def frame_shown(subject: Subject, options: RenderOptions) -> Literal["full", "portrait"]:
    """Returns what the frames of a video show: as asked, else the full frame if the subject has one and no option needs a portrait.

    Raises:
        FullFrameUnavailable: a full frame is asked for, and the subject has none.
    """
    if options.frame == "full" and subject.playback is None:
        raise FullFrameUnavailable("The subject was made without its footage, so it has no full frame.")
    default = "portrait" if subject.playback is None or options.portrait_only() else "full"
    return options.frame or default


def portrait_size(subject: Subject, options: RenderOptions) -> int:
    """Returns the edge of a portrait, px: even, since yuv420p stores one colour for every 2x2 pixels."""
    return min(options.size or subject.size, MAX_PORTRAIT_PX) // 2 * 2


def applied_view(subject: Subject, requested: ViewChange) -> AppliedView:
    """Returns the requested change of view, clamped to the subject's limits."""
    return AppliedView(requested, subject.view_limits, subject.poses[canonical_frame(subject.poses)])


def render_frames(
    subject: Subject,
    codes: Codes,
    background_image: Float[Tensor, "size size 3"],
    options: RenderOptions,
    view: AppliedView,
    progress: Progress,
    *,
    loop: bool = False,
) -> Iterator[UInt8[np.ndarray, "size size channels"]]:
    """Renders the frames of a video, one for each of `codes`.

    Args:
        subject: the subject that speaks.
        codes: speech codes, 25 a second.
        background_image: colours 0..1 (see make_background).
        options: pose, seed and kind of the background. Its `view` is ignored in favour of the argument.
        view: the applied change of view.
        progress: receives the stage "render".
        loop: the first and the last frame are alike.

    Yields:
        RGB images, or RGBA images with straight alpha before a transparent background.
    """
    size = background_image.shape[0]
    pixels = pixel_grid_for_view(subject.model, view.change, size)
    # Over the original background no matting is needed: background colour that is mixed into the outline is correct there. Otherwise the
    # person is rendered over black, and the outline is cleaned before the image is composited.
    is_original = options.background.kind == "original"
    ray_background = (background_image if is_original else torch.zeros_like(background_image)).reshape(-1, 3)
    background_pixels = background_image.cpu().numpy()
    motions = motion_frames(subject, options, len(codes) if loop else None)
    for k, (code, motion) in enumerate(zip(codes, motions, strict=False)):
        progress("render", k, len(codes))
        frame = render_frame(subject.model, _conditions(motion, code, view), pixels, ray_background)
        image = frame.color.reshape(size, size, 3).cpu().numpy()
        if not is_original:
            alpha = 1 - frame.transmittance.reshape(size, size).cpu().numpy()
            image = extract_foreground(image, alpha)
            if options.background.kind != "transparent":
                image = background_pixels + image[..., 3:] * (image[..., :3] - background_pixels)
        yield to_uint8(image)


def _conditions(motion: MotionFrame, code: Float[Tensor, " code"], view: AppliedView) -> FrameConditions:
    """Returns the conditions of one frame, with the view applied to its poses."""
    pose, torso_poses = motion.pose, None
    if not view.is_identity:
        pose, torso_poses = view.head_pose(motion.pose), view.torso_pose(motion.pose)[None]
    return FrameConditions(pose[None], motion.torso[None], motion.upper[None], code[None], torso_poses)


def pixel_grid_for_view(model: TalkingHeadModel, view: ViewChange, size: int) -> Float[Tensor, "pixels 2"]:
    """Returns the position (row, col) in the footage camera's image that each pixel of a `size` px video shows, row by row.

    These positions zoom and shift the person as `view` asks. The background does not move.
    """
    camera = model.geometry.camera
    steps = (torch.arange(size, device=model.device) + 0.5) / size - 0.5
    rows, cols = torch.meshgrid(steps - view.y, steps - view.x, indexing="ij")
    positions = torch.stack([rows / view.zoom + 0.5, cols / view.zoom + 0.5], -1).reshape(-1, 2)
    return positions * torch.tensor([camera.height, camera.width], device=positions.device)
