"""Rendering: speech in, a video of the person saying it out; frames are made one by one and piped to ffmpeg."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from adnerf_core.audio.features import load_features
from adnerf_core.audio.inference import encode_stream
from adnerf_core.cameras.view_control import ViewChangeApplier
from adnerf_core.config import FPS, SAMPLE_RATE, RenderOptions, ViewChange
from adnerf_core.errors import AudioTooShort, MediaTooLong
from adnerf_core.files import ffmpeg
from adnerf_core.files.images import to_uint8
from adnerf_core.files.run_dir import RunDir, temporary_beside
from adnerf_core.models.base import TalkingHeadModel
from adnerf_core.progress import Progress, silent
from adnerf_core.synthesis.background import extract_foreground, make_background
from adnerf_core.synthesis.idle_motion import motion_frames
from adnerf_core.synthesis.subject import Subject, load_subject
from adnerf_core.synthesis.visible_label import DEFAULT_TEXT, VisibleLabel
from adnerf_core.watermark.embed import WatermarkEmbedder
from adnerf_core.watermark.spread_spectrum import Watermark

MIN_AUDIO_S, MAX_AUDIO_S = 0.3, 7200.0
DEFAULT_OPTIONS = RenderOptions()


@dataclass(frozen=True)
class Rendered:
    """What render wrote: `frames` at 25 a second, `width` x `height` px; `view` is what was used of the view asked for."""

    frames: int
    duration_s: float
    width: int
    height: int
    view: ViewChange


def render(
    run: RunDir,
    audio: Path,
    out: Path,
    options: RenderOptions = DEFAULT_OPTIONS,
    progress: Progress = silent,
    *,
    background: Path | None = None,
    device: str = "cpu",
    load: Callable[[RunDir, str], Subject] = load_subject,
    mark: Watermark | None = None,
) -> Rendered:
    """Writes a video (by options.format, which the ending of `out` must be) of the subject of `run` saying `audio`, as long
    as the audio to a frame.

    `background` is the picture for options.background of kind `image`; `load` may give a subject that is in memory; `mark` is
    written into the pictures, invisibly. Memory does not grow with the length of the video. Equal arguments give equal pixels.
    Raises AudioTooShort, MediaTooLong, NotMedia, NoAudio, NotReady, NoSuchDevice, MissingBackend, DiskFull.
    """
    container = ffmpeg.writable_format(out)  # before hours of sound are processed
    subject = load(run, device)
    size = (options.size or subject.size) // 2 * 2  # yuv420p has a colour for every 2x2 pixels
    plate = make_background(subject, options.background, background, size, device)
    with temporary_beside(out.with_suffix(".flac")) as soundtrack:
        codes = lip_codes(subject, audio, soundtrack)
        count = len(codes)
        frames = render_frames(subject, codes, plate, options, progress)
        if options.label:
            frames = VisibleLabel(DEFAULT_TEXT if options.label is True else options.label, size).over(frames)
        if mark is not None:
            frames = WatermarkEmbedder(mark.number, mark.key, size, size).over(frames)
        ffmpeg.write_video(out, frames, fps=FPS, soundtrack=soundtrack, duration_s=count / FPS, container=container)
    progress("render", count, count)
    return Rendered(count, count / FPS, size, size, ViewChangeApplier(subject.poses, options.view).change)


def lip_codes(subject: Subject, audio: Path, soundtrack: Path | None = None) -> Float[Tensor, "frames code"]:
    """The lip codes of a file's sound, 25 a second; the sound is read and heard in pieces.

    If `soundtrack` is given, the sound is stored there for ffmpeg.write_video by the same decoding.
    Raises AudioTooShort, MediaTooLong, NotMedia, NoAudio, MissingBackend.
    """
    samples = 0

    def pieces() -> Iterator[Float[np.ndarray, " samples"]]:
        nonlocal samples
        for piece in ffmpeg.stream_audio(audio, soundtrack=soundtrack):
            samples += len(piece)
            if samples > MAX_AUDIO_S * SAMPLE_RATE:
                raise MediaTooLong(
                    f"The audio is longer than {MAX_AUDIO_S:.0f} s, which is all that is rendered at once."
                )
            yield piece

    codes = encode_stream(subject.portrait, load_features(subject.features), pieces(), subject.poses.device)
    if samples < MIN_AUDIO_S * SAMPLE_RATE:
        raise AudioTooShort(f"The audio is {samples / SAMPLE_RATE:.2f} s long; at least {MIN_AUDIO_S} s are needed.")
    return codes[: max(1, round(samples * FPS / SAMPLE_RATE))]


def render_frames(
    subject: Subject,
    codes: Float[Tensor, "frames code"],
    plate: Float[Tensor, "size size 3"],
    options: RenderOptions,
    progress: Progress,
) -> Iterator[UInt8[np.ndarray, "size size channels"]]:
    """The frames of a video, one for each of `codes`: RGB, or RGBA (straight) before a transparent background."""
    portrait, size = subject.portrait, plate.shape[0]
    view = ViewChangeApplier(subject.poses, options.view)
    pixels = pixel_grid_for_view(portrait, options.view, size)
    # Before its own plate the person's outline needs no cutting out: whatever it has of the plate is right there.
    own = options.background.kind == "original"
    behind = (plate if own else torch.zeros_like(plate)).reshape(-1, 3)
    other = plate.cpu().numpy()
    for k, (code, moment) in enumerate(zip(codes, motion_frames(subject, options), strict=False)):
        progress("render", k, len(codes))
        condition = portrait.condition(code[None], moment.upper[None])[0]
        pose, body = (view.head(moment.pose), view.body(moment.pose)) if view.turns else (moment.pose, None)
        color, left = portrait.render_pixels(pose, moment.torso, condition, behind, pixels, torso_pose=body)
        picture = color.reshape(size, size, 3).cpu().numpy()
        if not own:
            picture = extract_foreground(picture, 1 - left.reshape(size, size).cpu().numpy())
            if options.background.kind != "transparent":
                picture = other + picture[..., 3:] * (picture[..., :3] - other)
        yield to_uint8(picture)


def pixel_grid_for_view(portrait: TalkingHeadModel, view: ViewChange, size: int) -> Float[Tensor, "pixels 2"]:
    """Where in the footage's camera each pixel of a `size` px video looks: `view` scales and shifts the person, not the background."""
    camera = portrait.geometry.camera
    steps = (torch.arange(size, device=portrait.device) + 0.5) / size - 0.5
    rows, cols = torch.meshgrid(steps - view.y, steps - view.x, indexing="ij")
    places = torch.stack([rows / view.zoom + 0.5, cols / view.zoom + 0.5], -1).reshape(-1, 2)
    return places * torch.tensor([camera.height, camera.width], device=places.device)
