"""Evaluator: looks at moment after moment of the held-out footage beside its rendering, and sums up in figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from adnerf_core.evaluation import metrics
from adnerf_core.evaluation.heldout_renderer import HeldOutRenderer, LipCodes
from adnerf_core.evaluation.metrics import Picture
from adnerf_core.face.eyes import eye_aspect_ratio
from adnerf_core.face.landmarks import NUM_LANDMARKS, RIGID_LANDMARKS
from adnerf_core.face.lip_pca import LIPS, mouth_opening
from adnerf_core.face.tracking import FaceTracker
from adnerf_core.files.images import decode_rgb, encode_jpeg
from adnerf_core.progress import Progress

LMD_SIZE = 512
"""Edge of the picture in whose px distances of landmarks are given."""
JPEG_QUALITY = 95
SHEET_ROWS, SHEET_DIFFERENCE = 8, 4
WIDE_OPEN = 95
"""Percentile of the true opening that counts as the mouth being wide open."""
FEWEST_QUIET = 10
"""Frames of silence below which nothing is said about lips at rest."""

Distance = Callable[[Picture, Picture], float]


@dataclass(frozen=True)
class FaceTrackers:
    """One face tracker for each stream of pictures: a tracker goes by the frame before."""

    truth: FaceTracker
    render: FaceTracker
    true_lips: FaceTracker


@dataclass
class Evaluator:
    """Looks at frame after frame, keeps numbers only (and eight rows of the contact sheet), and sums up.

    quiet: whether there is silence, for every frame of the footage; distance: a perceptual one, where there is one.
    """

    painter: HeldOutRenderer
    lips: LipCodes
    watchers: FaceTrackers
    quiet: Bool[ndarray, " footage"]
    distance: Distance | None = None
    frames: list[int] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)
    landmarks: dict[str, list[ndarray]] = field(default_factory=dict)
    sheet: list[Picture] = field(default_factory=list)

    def pairs(self, frames: ndarray, progress: Progress) -> Iterator[Picture]:
        """Judges every frame and yields it beside its rendering. Moments without a face show the last pair again."""
        rows = set(np.linspace(0, len(frames) - 1, SHEET_ROWS).round().astype(int))
        for i, frame in enumerate(frames.tolist()):
            progress("evaluate", i, len(frames))
            for _ in range(frame - self.frames[-1] - 1 if self.frames else 0):
                yield pair
            truth, render = self.look(i, frame)
            if i in rows:
                self.sheet.append(np.hstack([truth, render, difference(truth, render)]))
            pair = np.hstack([truth, render])
            self.frames.append(frame)
            yield pair

    def look(self, i: int, frame: int) -> tuple[Picture, Picture]:
        """Renders and scores the i-th held-out frame; returns the truth and the rendering."""
        painter = self.painter
        truth = painter.truth(frame)
        wall, cpu = time.perf_counter(), time.process_time()
        render = painter(frame, self.lips.heard[i])
        self._score(seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu)
        self._compare(frame, render, truth)
        box = painter.mouth(frame)
        wrong = [painter(frame, codes[i], box) for codes in self.lips.wrong()]
        self._score(mouth_psnr_wrong_sound=float(np.mean([metrics.psnr(w, truth, box.astype(float)) for w in wrong])))
        self._find("stored", painter.track.landmarks[frame][:, :2] * (LMD_SIZE / painter.dataset.size))
        self._find("truth", detect_landmarks(self.watchers.truth, recompress(truth)))
        self._find("render", detect_landmarks(self.watchers.render, render))
        if self.lips.seen is not None:
            part = painter.lower_face(frame)
            true_lips = np.where(part[..., None], painter(frame, self.lips.seen[i], part), render)
            self._score(mouth_psnr_true_lips=metrics.psnr(true_lips, truth, box.astype(float)))
            self._find("true_lips", detect_landmarks(self.watchers.true_lips, true_lips))
        return truth, render

    def _compare(self, frame: int, render: Picture, truth: Picture) -> None:
        mask = self.painter.dataset.mask(frame, self.painter.size) / 255
        head, torso, box = mask[..., 0], mask[..., 1:], self.painter.mouth(frame).astype(float)
        pasted = (render * (1 - torso) + truth * torso + 0.5).astype(np.uint8)
        self._score(
            psnr=metrics.psnr(render, truth),
            ssim=metrics.ssim(render, truth),
            head_psnr=metrics.psnr(render, truth, head),
            true_torso_psnr=metrics.psnr(pasted, truth),
            mouth_psnr=metrics.psnr(render, truth, box),
            head_sharpness=metrics.sharpness(render, head) / max(metrics.sharpness(truth, head), 1e-6),
            mouth_sharpness=metrics.sharpness(render, box) / max(metrics.sharpness(truth, box), 1e-6),
        )
        if self.distance is not None:
            self._score(lpips=self.distance(render, truth))

    def _score(self, **scores: float) -> None:
        for name, value in scores.items():
            self.scores.setdefault(name, []).append(value)

    def _find(self, name: str, landmarks: Float[ndarray, "landmarks 2"]) -> None:
        self.landmarks.setdefault(name, []).append(landmarks)

    def seen(self, name: str) -> Float[ndarray, "moments landmarks 2"]:
        """Landmarks "stored" with the dataset, or found in the "truth", the "render" or the one with "true_lips"; px at 512.

        One row for every moment from the first to the last frame; NaN where there was no face.
        """
        rows = np.full((self.frames[-1] - self.frames[0] + 1, NUM_LANDMARKS, 2), np.nan)
        rows[np.array(self.frames) - self.frames[0]] = self.landmarks[name]
        return rows

    def opening(self, name: str) -> Float[ndarray, " moments"]:
        """The opening of the mouth over time, px at 512."""
        return mouth_opening(self.seen(name))

    def figures(self) -> dict[str, float | int | None]:
        """All figures, means over the frames; None where something cannot be measured (no face found, no silence ...).

        psnr, ssim; head_psnr: where the head's mask is; true_torso_psnr: with the footage's torso pasted in; mouth_psnr: box
        around the lips, then with the sound of other moments (mean of four) and with the lips as seen; head_sharpness,
        mouth_sharpness: fine detail over the truth's; lpips: see adnerf_core/evaluation/lpips.py (only where its weights are);
        lmd_px: distance of lip landmarks found in the rendering from those of the footage, px at 512; lmd_floor_px: the same
        for the footage itself, found again at the run's size after a JPEG; lip_sync: correlation of rendered and true mouth
        opening; lip_sync_true_lips: the same with the lips as seen; lip_sync_ceiling: the same for the footage itself;
        lip_amplitude: spread of the opening over the true one; quiet_opening, quiet_opening_true: opening in silence, as a share
        of wide open; blink: correlation of the eyes' openness; head_jitter_px, lip_jitter_px and the true ones: metrics.jitter
        of the points over bone, and of the lips around their own middle; frames_per_second and frame_cpu_seconds of rendering.
        """
        scores = {name: np.array(values) for name, values in self.scores.items()}
        seconds, cpu = scores.pop("seconds"), scores.pop("cpu_seconds")
        figures = {"mouth_psnr_true_lips": None} | {name: float(values.mean()) for name, values in scores.items()}
        figures |= self._lip_figures()
        stored, render = self.seen("stored"), self.seen("render")
        figures |= {
            "blink": metrics.correlation(eye_aspect_ratio(render), eye_aspect_ratio(stored)),
            "head_jitter_px": metrics.jitter(render[:, list(RIGID_LANDMARKS)]),
            "head_jitter_true_px": metrics.jitter(self.seen("truth")[:, list(RIGID_LANDMARKS)]),
            "frames_per_second": 1 / float(np.median(seconds)),
            "frame_cpu_seconds": float(np.median(cpu)),
        }
        figures = {name: None if value is None else round(value, 4) for name, value in figures.items()}
        return figures | {"held_out_frames": len(self.frames), "size": self.painter.size}

    def _lip_figures(self) -> dict[str, float | None]:
        lips = {name: self.seen(name)[:, list(LIPS)] for name in self.landmarks}
        opening = {name: self.opening(name) for name in self.landmarks}
        true = opening["stored"]
        quiet = self.quiet[self.frames[0] : self.frames[-1] + 1]
        quiet = quiet if quiet.sum() >= FEWEST_QUIET else np.zeros_like(quiet)
        wide = max(float(np.nanpercentile(true, WIDE_OPEN)), 1e-6)
        figures = {
            "lmd_px": finite_mean(metrics.landmark_distance(lips["render"], lips["stored"])),
            "lmd_floor_px": finite_mean(metrics.landmark_distance(lips["truth"], lips["stored"])),
            "lip_sync": metrics.correlation(opening["render"], true),
            "lip_sync_ceiling": metrics.correlation(opening["truth"], true),
            "lip_amplitude": metrics.amplitude(opening["render"], true),
            "quiet_opening": finite_mean(opening["render"][quiet] / wide),
            "quiet_opening_true": finite_mean(true[quiet] / wide),
            "lip_jitter_px": metrics.jitter(lips["render"] - lips["render"].mean(1, keepdims=True)),
            "lip_jitter_true_px": metrics.jitter(lips["truth"] - lips["truth"].mean(1, keepdims=True)),
        }
        known = "true_lips" in opening
        figures["lip_sync_true_lips"] = metrics.correlation(opening["true_lips"], true) if known else None
        return figures


def difference(truth: Picture, render: Picture) -> Picture:
    """How far every pixel is off, SHEET_DIFFERENCE times as strong."""
    return (np.abs(truth.astype(int) - render) * SHEET_DIFFERENCE).clip(0, 255).astype(np.uint8)


def finite_mean(values: Float[ndarray, " n"]) -> float | None:
    """The mean of the values that are not NaN, None where there is none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def detect_landmarks(tracker: Callable[[Picture], ndarray | None], picture: Picture) -> Float[ndarray, "478 2"]:
    """Face landmarks (x, y), px of a picture of LMD_SIZE; NaN where there is no face."""
    found = tracker(picture)
    if found is None:
        return np.full((NUM_LANDMARKS, 2), np.nan, np.float32)
    return found[:, :2] * (LMD_SIZE / picture.shape[0])


def recompress(picture: Picture) -> Picture:
    """The picture after JPEG: the same to the eye, another one to a detector."""
    return decode_rgb(encode_jpeg(picture, JPEG_QUALITY))
