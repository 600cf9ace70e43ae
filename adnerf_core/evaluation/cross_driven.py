"""Cross-driven evaluation: a subject speaks with another speaker's voice, and its lips are compared with that speaker's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from adnerf_core.audio.inference import encode_stream
from adnerf_core.config import FPS, RenderOptions
from adnerf_core.errors import NoFaceFound
from adnerf_core.evaluation import metrics
from adnerf_core.evaluation.evaluator import sync_figures
from adnerf_core.face.landmarks import EYE_CORNERS
from adnerf_core.face.lip_pca import mouth_opening
from adnerf_core.face.tracking import load_tracker
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import RunDir
from adnerf_core.preprocess.av_sync import estimate_av_offset, shift_audio
from adnerf_core.progress import Progress, silent
from adnerf_core.synthesis.render import applied_view, render_frames
from adnerf_core.synthesis.subject import load_subject

MAX_FRAMES = 20 * FPS
"""Frames of the reference that are compared, from its start: as many as `evaluate` takes, so the figures can be compared."""
STILL_POSE = RenderOptions(pose="still")
"""The head pose is still, so that the mouth opening is not foreshortened."""


class Speaker(NamedTuple):
    """What a speaker says, and how the mouth opens meanwhile.

    Attributes:
        speech: mono at SAMPLE_RATE, -1..1, as long as the pictures; in time with the lips if the offset could be measured.
        opening: see `openings`.
        lag_s: how late the sound was, s; 0 if that could not be measured.
    """

    speech: Float[ndarray, " samples"]
    opening: Float[ndarray, " frames"]
    lag_s: float


def evaluate_cross_driven(
    run: RunDir, reference: Path, audio: Path | None = None, progress: Progress = silent, *, device: str = "cpu"
) -> dict[str, float | int | None]:
    """Renders a subject with the speech of another speaker, and compares the mouth opening with that speaker's.

    The offset between the speech and the speaker's lips is measured and removed, as in preprocessing.

    Args:
        run: The finished run of the subject.
        reference: Video of the other speaker.
        audio: What the other speaker says; the sound of `reference` by default.
        progress: Receives the stages "reference" and "render".
        device: Device that renders.

    Returns:
        The figures: `other_voice_sync`, correlation of the rendered mouth opening with the speaker's; `other_voice_amplitude`,
        standard deviation of the former over that of the latter (mouths differ, so 1 is no goal); both None if no face is found
        in the rendering; `other_voice_lag_ms`, how late the sound was; `other_voice_offset_ms` and
        `other_voice_offset_confidence`, how much later the rendered lips are than the speaker's (see metrics.sync_offset);
        `other_voice_frames`, the number of frames.

    Raises:
        NotMedia, NoVideo, NoAudio: If a file cannot be used.
        NoFaceFound: If the reference shows a face for less than a second.
        NotReady: If the run is unfinished.
        MissingBackend: If the subject's audio features need something that is not installed.
    """
    subject = load_subject(run, device)
    speaker = observe_speaker(reference, audio, lambda done: progress("reference", done, MAX_FRAMES))
    codes = encode_stream(subject.model, subject.extractor, [speaker.speech], subject.poses.device)
    view = applied_view(subject, STILL_POSE.view)
    rendered = openings(render_frames(subject, codes, subject.background, STILL_POSE, view, progress))
    frames = len(speaker.opening)
    progress("render", frames, frames)
    figures = {
        "other_voice_sync": metrics.correlation(rendered, speaker.opening),
        "other_voice_amplitude": metrics.amplitude(rendered, speaker.opening),
        "other_voice_lag_ms": 1000 * speaker.lag_s,
    } | sync_figures("other_voice", rendered, speaker.opening)
    rounded = {name: None if value is None else round(value, 4) for name, value in figures.items()}
    return rounded | {"other_voice_frames": frames}


def observe_speaker(
    reference: Path, audio: Path | None = None, on_frame: Callable[[int], object] = lambda done: None
) -> Speaker:
    """Measures the first MAX_FRAMES of a speaker's video; the arguments and errors are those of evaluate_cross_driven."""
    opening = openings(ffmpeg.read_frames(reference, duration_s=MAX_FRAMES / FPS), on_frame)
    if np.isfinite(opening).sum() < FPS:
        raise NoFaceFound(f"{reference.name} shows a face for less than a second at its start.")
    # A second more than the pictures: the shifted sound still covers all frames.
    samples = ffmpeg.extract_audio(audio or reference, duration_s=len(opening) / FPS + 1)
    offset = estimate_av_offset(samples, opening)
    lag_s = offset.lag_s if offset.reliable else 0.0
    return Speaker(shift_audio(samples, lag_s, len(opening)), opening, lag_s)


def openings(
    frames: Iterable[UInt8[ndarray, "rows cols 3"]], on_frame: Callable[[int], object] = lambda done: None
) -> Float[ndarray, " frames"]:
    """Measures the mouth opening in each frame of a video.

    Args:
        frames: The pictures, in order of time.
        on_frame: Receives the number of finished frames after each one.

    Returns:
        The opening in units of the distance between the outer corners of the eyes, so that faces of any size can be compared;
        NaN where no face is found.
    """
    values = []
    with closing(load_tracker("facemesh")) as tracker:
        for done, frame in enumerate(frames, 1):
            landmarks = tracker(frame)
            if landmarks is None:
                values.append(np.nan)
            else:
                right, left = landmarks[list(EYE_CORNERS)]  # with their depth: a turned head has the same unit
                values.append(float(mouth_opening(landmarks[None, :, :2])[0] / np.linalg.norm(left - right)))
            on_frame(done)
    return np.array(values, np.float32)
