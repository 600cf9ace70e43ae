"""evaluate_cross_driven: does the subject move its lips as another speaker did who said the same?"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from adnerf_core.audio.features import load_features
from adnerf_core.audio.inference import encode_stream
from adnerf_core.config import FPS, RenderOptions
from adnerf_core.errors import NoFaceFound
from adnerf_core.evaluation import metrics
from adnerf_core.face.lip_pca import mouth_opening
from adnerf_core.face.tracking import load_tracker
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import RunDir
from adnerf_core.preprocess.av_sync import estimate_av_offset, shift_audio
from adnerf_core.progress import Progress, silent
from adnerf_core.synthesis.render import render_frames
from adnerf_core.synthesis.subject import load_subject

MOST_FRAMES = 20 * FPS
"""Frames of the reference that are compared, at most; the first ones."""
EYE_CORNERS = (33, 263)
"""Outer corners of the eyes, by whose distance openings are measured, so that faces of any size can be compared."""
STILL = RenderOptions(pose="still")


def evaluate_cross_driven(
    run: RunDir, reference: Path, audio: Path | None = None, progress: Progress = silent, *, device: str = "cpu"
) -> dict[str, float | int | None]:
    """Renders the subject of `run` with the speech of `reference`, a video of another speaker, and compares the mouths.

    The speech is `audio`, or the reference's own sound; its offset against the reference's lips is measured and taken out, as
    in preprocessing. Figures: `other_voice_sync`, correlation of the rendered opening of the mouth with the speaker's own;
    `other_voice_amplitude`, its spread over the speaker's (mouths differ: 1 is not a goal); `other_voice_lag_ms`, how late the
    sound was; `other_voice_frames`. None where no face is found in the rendering.

    Stages of progress: "reference", "render". Raises NotMedia, NoVideo, NoAudio, NoFaceFound, NotReady, MissingBackend.
    """
    subject = load_subject(run, device)
    frames = ffmpeg.read_frames(reference, duration_s=MOST_FRAMES / FPS)
    truth = openings(frames, lambda done: progress("reference", done, MOST_FRAMES))
    if np.isfinite(truth).sum() < FPS:
        raise NoFaceFound(f"{reference.name} shows a face in less than a second of its start.")
    samples = ffmpeg.extract_audio(audio or reference, duration_s=len(truth) / FPS + 1)
    offset = estimate_av_offset(samples, truth)
    lag_s = offset.lag_s if offset.reliable else 0.0
    speech = shift_audio(samples, lag_s, len(truth))
    codes = encode_stream(subject.portrait, load_features(subject.features), [speech], subject.poses.device)
    rendered = openings(render_frames(subject, codes, subject.background, STILL, progress))
    progress("render", len(truth), len(truth))
    figures = {
        "other_voice_sync": metrics.correlation(rendered, truth),
        "other_voice_amplitude": metrics.amplitude(rendered, truth),
        "other_voice_lag_ms": 1000 * lag_s,
    }
    rounded = {name: None if value is None else round(value, 4) for name, value in figures.items()}
    return rounded | {"other_voice_frames": len(truth)}


def openings(frames: Iterable[UInt8[ndarray, "rows cols 3"]], tick=lambda done: None) -> Float[ndarray, " frames"]:
    """Opening of the mouth in each of a video's frames, in distances of the eyes' outer corners; NaN where no face is found.

    `tick` is told how many frames are done.
    """
    found = []
    with closing(load_tracker("facemesh")) as tracker:
        for done, frame in enumerate(frames, 1):
            landmarks = tracker(frame)
            if landmarks is None:
                found.append(np.nan)
            else:
                left, right = landmarks[list(EYE_CORNERS), :2]
                found.append(float(mouth_opening(landmarks[None, :, :2])[0] / np.linalg.norm(right - left)))
            tick(done)
    return np.array(found, np.float32)
