"""Rendering: speech in, a video of the person saying it out; frames are made one by one and piped to ffmpeg."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from adnerf_core import media
from adnerf_core.audio.features import load_features
from adnerf_core.config import FPS, SAMPLE_RATE, Background, RenderOptions, ViewChange
from adnerf_core.errors import AudioTooShort, MediaTooLong, NotMedia
from adnerf_core.likeness import Likeness
from adnerf_core.portrait import pose_angles
from adnerf_core.progress import Progress, silent
from adnerf_core.rundir import RunDir
from adnerf_core.subject import Subject, load_subject, picture_tensor

SHORTEST_S, LONGEST_S = 0.3, 7200.0
PIVOT = (0.0, -0.6, -0.9)
"""What a changed view turns the head about, head frame: the top of the spine, so that the neck stays where it is."""
CODE_BATCH = 512
LARGEST_PICTURE = 4096 * 4096
PLAIN = RenderOptions()
BLINK = (0.75, 0.35, 0.05, 0.0, 0.2, 0.5, 0.8, 0.95)
"""Openness during a blink, a frame each (0.3 s; the lid falls faster than it rises)."""
BLINK_EVERY_S = (2.0, 6.0)


@dataclass(frozen=True)
class Rendered:
    """What render wrote: `frames` at 25 a second, `width` x `height` px."""

    frames: int
    duration_s: float
    width: int
    height: int


def render(
    run: RunDir,
    audio: Path,
    out: Path,
    options: RenderOptions = PLAIN,
    progress: Progress = silent,
    *,
    background: Path | None = None,
    device: str = "cpu",
) -> Rendered:
    """Writes an H.264 MP4 of the subject of `run` saying `audio`, as long as the audio to a frame.

    `background` is the picture for options.background of kind `image`. Memory does not grow with the length of the video.
    Raises AudioTooShort, MediaTooLong, NotMedia, NoAudio, NotReady, NoSuchDevice, DiskFull.
    """
    subject = load_subject(run, device)
    size = (options.size or subject.size) // 2 * 2  # yuv420p has a colour for every 2x2 pixels
    plate = make_background(subject, options.background, background, size, device)
    waveform = media.extract_audio(audio)
    seconds = len(waveform) / SAMPLE_RATE
    if seconds < SHORTEST_S:
        raise AudioTooShort(f"The audio is {seconds:.2f} s long; at least {SHORTEST_S} s are needed.")
    if seconds > LONGEST_S:
        raise MediaTooLong(f"The audio is {seconds:.0f} s long; at most {LONGEST_S:.0f} s can be rendered at once.")
    count = max(1, round(seconds * FPS))
    codes = lip_codes(subject, waveform, count)
    frames = draw_frames(subject, codes, plate, options, progress)
    media.write_video(out, frames, fps=FPS, audio=audio, duration_s=count / FPS)
    progress("render", count, count)
    return Rendered(count, count / FPS, size, size)


@torch.no_grad()
def lip_codes(subject: Subject, waveform: Float[np.ndarray, " samples"], count: int) -> Float[Tensor, "frames code"]:
    """The lip codes of the first `count` frames of a sound (16 kHz, -1..1)."""
    device = subject.poses.device
    features = torch.from_numpy(load_features(subject.features)(waveform)).to(device)
    numbers = torch.arange(count, device=device)
    return torch.cat([subject.portrait.hear(features, part) for part in numbers.split(CODE_BATCH)])


def draw_frames(
    subject: Subject,
    codes: Float[Tensor, "frames code"],
    plate: Float[Tensor, "size size 3"],
    options: RenderOptions,
    progress: Progress,
) -> Iterator[UInt8[np.ndarray, "size size 3"]]:
    """The frames of a video, RGB, one for each of `codes`."""
    portrait, size = subject.portrait, plate.shape[0]
    pixels = view_pixels(portrait, options.view, size)
    behind = plate.reshape(-1, 3)
    still = options.pose == "still"
    resting = most_usual(subject.poses)
    upper = blinks(subject, len(codes), options.seed) if still else None
    for k, code in enumerate(codes):
        progress("render", k, len(codes))
        place = resting if still else back_and_forth(k, len(subject.poses))
        pose = subject.poses[place]
        now = upper[k] if still else subject.upper[place]
        condition = portrait.condition(code[None], now[None])[0]
        turned = turn(pose, options.view)
        color, _ = portrait.paint(turned, subject.torso[place], condition, behind, pixels, torso_pose=pose)
        yield to_picture(color, size)


def to_picture(color: Float[Tensor, "pixels 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Colours 0..1 as an RGB picture."""
    return (color.reshape(size, size, 3).clamp(0, 1) * 255 + 0.5).byte().cpu().numpy()


def back_and_forth(k: int, length: int) -> int:
    """The k-th place of a track that is played to its end, then backwards, then again (no jump when it is too short)."""
    if length == 1:
        return 0
    place = k % (2 * length - 2)
    return place if place < length else 2 * length - 2 - place


def most_usual(poses: Float[Tensor, "frames 4 4"]) -> int:
    """The frame whose pose lies closest to the mean of all."""
    angles = pose_angles(poses)
    return int((((angles - angles.mean(0)) / angles.std(0).clamp(min=1e-3)) ** 2).sum(-1).argmin())


def blinks(subject: Subject, count: int, seed: int) -> Float[Tensor, "frames 2"]:
    """Eyes with natural blinks and quiet brows, for a pose that stands still: as open as usual, shut now and then."""
    generator = np.random.default_rng(seed)
    usual = subject.upper.median(0).values
    openness = np.full(count + len(BLINK), float(usual[0]), np.float32)
    at = generator.uniform(0.5, BLINK_EVERY_S[1]) * FPS
    while at < count:
        openness[int(at) : int(at) + len(BLINK)] = (1 + float(usual[0])) * np.array(BLINK) - 1
        at += generator.uniform(*BLINK_EVERY_S) * FPS
    upper = usual.repeat(count, 1)
    upper[:, 0] = torch.from_numpy(openness[:count])
    return upper


def turn(pose: Float[Tensor, "4 4"], view: ViewChange) -> Float[Tensor, "4 4"]:
    """The camera's pose after the head is turned by `view` about the top of its spine (zoom and shift: view_pixels)."""
    if not (view.yaw_deg or view.pitch_deg or view.roll_deg):
        return pose
    yaw, pitch, roll = (math.radians(a) for a in (view.yaw_deg, -view.pitch_deg, -view.roll_deg))
    about_y = torch.tensor([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_x = torch.tensor([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    about_z = torch.tensor([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    rotation = (about_y @ about_x @ about_z).to(pose)
    pivot = torch.tensor(PIVOT).to(pose)
    turned = pose.clone()
    # The head turns by `rotation` about the pivot, so the camera, seen from the head, turns the other way.
    turned[:3, :3] = rotation.T @ pose[:3, :3]
    turned[:3, 3] = rotation.T @ (pose[:3, 3] - pivot) + pivot
    return turned


def view_pixels(portrait: Likeness, view: ViewChange, size: int) -> Float[Tensor, "pixels 2"]:
    """Where in the footage's camera each pixel of a `size` px video looks: `view` scales and shifts the person, not the background."""
    camera = portrait.geometry.camera
    steps = (torch.arange(size, device=portrait.device) + 0.5) / size - 0.5
    rows, cols = torch.meshgrid(steps - view.y, steps - view.x, indexing="ij")
    places = torch.stack([rows / view.zoom + 0.5, cols / view.zoom + 0.5], -1).reshape(-1, 2)
    return places * torch.tensor([camera.height, camera.width], device=places.device)


def make_background(
    subject: Subject, background: Background, picture: Path | None, size: int, device: str
) -> Float[Tensor, "size size 3"]:
    """The background at the video's size, 0..1: the footage's plate, one colour, or a picture cut to a square.

    Raises NotMedia where the picture is missing or cannot be read.
    """
    if background.kind == "color":
        red, green, blue = (int(background.color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return torch.tensor([red, green, blue], device=device).expand(size, size, 3)
    if background.kind == "image":
        image = read_picture(picture)
        edge = min(image.shape[:2])
        top, left = (image.shape[0] - edge) // 2, (image.shape[1] - edge) // 2
        image = image[top : top + edge, left : left + edge]
    else:
        image = (subject.background.cpu().numpy() * 255).round().astype(np.uint8)
    if image.shape[0] != size:
        image = cv2.resize(
            image, (size, size), interpolation=cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_CUBIC
        )
    return picture_tensor(image, device)


def read_picture(path: Path | None) -> UInt8[np.ndarray, "rows cols 3"]:
    """A picture file as RGB. Raises NotMedia where it is missing, no PNG, JPEG or WebP, or has too many pixels."""
    if path is None:
        raise NotMedia(
            "Background kind `image` needs a picture.", "Send the picture beside the options, as `background`."
        )
    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > LARGEST_PICTURE:
                raise NotMedia(
                    f"The background has {image.width}x{image.height} pixels.", "Scale it down to 4096x4096 at most."
                )
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise NotMedia("The background is no picture that can be read.", "Send a PNG, JPEG or WebP file.") from error
