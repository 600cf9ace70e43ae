"""Evaluator: compares held-out footage with its rendering, frame by frame, and summarises the comparison in figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from adnerf_core.config import FPS
from adnerf_core.evaluation import metrics
from adnerf_core.evaluation.heldout_renderer import HeldOutRenderer, LipCodes
from adnerf_core.evaluation.metrics import Picture
from adnerf_core.face.eyes import eye_aspect_ratio, has_blink
from adnerf_core.face.landmarks import NUM_LANDMARKS, RIGID_LANDMARKS
from adnerf_core.face.lip_pca import LIPS, mouth_opening
from adnerf_core.face.tracking import FaceTracker
from adnerf_core.files.images import decode_rgb, encode_jpeg
from adnerf_core.progress import Progress

LMD_SIZE = 512
"""Landmarks are given in px of an image with this side, so that runs of any size can be compared; datasets have it by default."""
JPEG_QUALITY = 95
"""Quality of the JPEG that the footage goes through before landmarks are detected in it again: hardly visible, but enough to
change the detector's noise, which is then measured instead of being the same twice."""
SHEET_ROWS = 8
"""Rows of the contact sheet, evenly spaced over the held-out frames: what fits on a screen."""
DIFFERENCE_GAIN = 4
"""Factor of the differences that are shown: typical errors of a few grey levels become visible."""
WIDE_OPEN_PERCENTILE = 95
"""Percentile of the true mouth opening that counts as wide open; the maximum would depend on a single detection."""
MIN_QUIET_FRAMES = 10
"""With fewer frames of silence (0.4 s), the opening at rest is not reported: one syllable in them would decide it."""
MIN_DIVISOR = 1e-6
"""Lower bound of divisors (sharpness, mouth opening), which are 0 in a uniform picture or for a mouth that never opens."""

Distance = Callable[[Picture, Picture], float]
"""Perceptual distance of two pictures, 0 for equal ones."""


@dataclass(frozen=True)
class FaceTrackers:
    """One face tracker for each stream of pictures, because a tracker starts from the face in the picture before."""

    truth: FaceTracker
    render: FaceTracker
    true_lips: FaceTracker


@dataclass
class Evaluator:
    """Compares held-out frames with their renderings, one by one, and summarises the scores.

    Pictures are not kept, except for the SHEET_ROWS rows of the contact sheet, so memory does not grow with the footage.

    Attributes:
        renderer: Renders the held-out frames.
        lips: Lip codes of the held-out frames.
        trackers: Detectors of the face landmarks.
        quiet: Whether the sound is silent, for every frame of the footage.
        distance: Perceptual distance of two pictures, if there is one.
        frames: Frame numbers that were evaluated so far.
        scores: Scores of these frames, by name.
        detections: Landmarks of these frames, by picture: "stored", "truth", "render" and, with lip codes, "true_lips".
        sheet: Rows of the contact sheet: footage, rendering, difference.
    """

    renderer: HeldOutRenderer
    lips: LipCodes
    trackers: FaceTrackers
    quiet: Bool[ndarray, " footage"]
    distance: Distance | None = None
    frames: list[int] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)
    detections: dict[str, list[ndarray]] = field(default_factory=dict)
    sheet: list[Picture] = field(default_factory=list)

    def evaluate_frames(self, frames: ndarray, progress: Progress) -> Iterator[Picture]:
        """Evaluates `frames` and yields the footage and the rendering side by side.

        Frames in between that are missing from `frames`, because they show no face, repeat the last picture: the yielded video
        stays in step with the sound.
        """
        rows = set(np.linspace(0, len(frames) - 1, SHEET_ROWS).round().astype(int))
        for i, frame in enumerate(frames.tolist()):
            progress("evaluate", i, len(frames))
            for _ in range(frame - self.frames[-1] - 1 if self.frames else 0):
                yield pair
            truth, render = self.evaluate_frame(i, frame)
            if i in rows:
                self.sheet.append(np.hstack([truth, render, difference(truth, render)]))
            pair = np.hstack([truth, render])
            self.frames.append(frame)
            yield pair

    def evaluate_frame(self, i: int, frame: int) -> tuple[Picture, Picture]:
        """Renders and scores one frame.

        Args:
            i: Index into the lip codes.
            frame: Number of the frame in the footage.

        Returns:
            The frame of the footage, and its rendering.
        """
        renderer = self.renderer
        truth = renderer.truth(frame)
        wall, cpu = time.perf_counter(), time.process_time()
        render = renderer(frame, self.lips.predicted[i])
        self._add_scores(seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu)
        self._compare(frame, render, truth)
        box = renderer.mouth(frame)
        mismatched = [renderer(frame, codes[i], box) for codes in self.lips.mismatched()]
        wrong_sound = np.mean([metrics.psnr(picture, truth, box.astype(float)) for picture in mismatched])
        self._add_scores(mouth_psnr_wrong_sound=float(wrong_sound))
        self._add_landmarks("stored", renderer.track.landmarks[frame][:, :2] * (LMD_SIZE / renderer.dataset.size))
        self._add_landmarks("truth", detect_landmarks(self.trackers.truth, recompress(truth)))
        self._add_landmarks("render", detect_landmarks(self.trackers.render, render))
        if self.lips.ground_truth is not None:
            lower = renderer.lower_face(frame)
            true_lips = np.where(lower[..., None], renderer(frame, self.lips.ground_truth[i], lower), render)
            self._add_scores(mouth_psnr_true_lips=metrics.psnr(true_lips, truth, box.astype(float)))
            self._add_landmarks("true_lips", detect_landmarks(self.trackers.true_lips, true_lips))
        return truth, render

    def _compare(self, frame: int, render: Picture, truth: Picture) -> None:
        """Adds the scores that compare the two pictures pixel by pixel."""
        mask = self.renderer.dataset.mask(frame, self.renderer.size) / 255
        head, torso, box = mask[..., 0], mask[..., 1:], self.renderer.mouth(frame).astype(float)
        pasted = (render * (1 - torso) + truth * torso + 0.5).astype(np.uint8)
        self._add_scores(
            psnr=metrics.psnr(render, truth),
            ssim=metrics.ssim(render, truth),
            head_psnr=metrics.psnr(render, truth, head),
            true_torso_psnr=metrics.psnr(pasted, truth),
            mouth_psnr=metrics.psnr(render, truth, box),
            head_sharpness=metrics.sharpness(render, head) / max(metrics.sharpness(truth, head), MIN_DIVISOR),
            mouth_sharpness=metrics.sharpness(render, box) / max(metrics.sharpness(truth, box), MIN_DIVISOR),
        )
        if self.distance is not None:
            self._add_scores(lpips=self.distance(render, truth))

    def _add_scores(self, **scores: float) -> None:
        for name, value in scores.items():
            self.scores.setdefault(name, []).append(value)

    def _add_landmarks(self, name: str, landmarks: Float[ndarray, "landmarks 2"]) -> None:
        self.detections.setdefault(name, []).append(landmarks)

    def landmarks(self, name: str) -> Float[ndarray, "span landmarks 2"]:
        """Returns the landmarks of one kind of picture over time.

        Args:
            name: "stored" for those of the dataset; "truth", "render" or "true_lips" for those detected in the footage, in the
                rendering, or in the rendering with the lips of the footage.

        Returns:
            (x, y) in px of a LMD_SIZE picture, for every frame from the first to the last; NaN where no face was found.
        """
        rows = np.full((self.frames[-1] - self.frames[0] + 1, NUM_LANDMARKS, 2), np.nan)
        rows[np.array(self.frames) - self.frames[0]] = self.detections[name]
        return rows

    def opening(self, name: str) -> Float[ndarray, " span"]:
        """Returns the mouth opening over time, px of a LMD_SIZE picture; `name` as in `landmarks`."""
        return mouth_opening(self.landmarks(name))

    def summary(self) -> dict[str, float | int | None]:
        """Summarises all frames in the figures of evaluation.json, rounded to four digits; docs/evaluation.md explains each.

        Means over the frames are psnr, head_psnr, true_torso_psnr, mouth_psnr (and _wrong_sound, _true_lips), ssim,
        head_sharpness, mouth_sharpness and lpips (if there is a distance); medians are frames_per_second and
        frame_cpu_seconds. The others compare series of landmarks: lmd_px, lip_sync, lip_amplitude, lip_offset_ms, quiet_opening, blink,
        head_jitter_px, lip_jitter_px and what belongs to them. None stands for a figure that cannot be measured.
        """
        scores = {name: np.array(values) for name, values in self.scores.items()}
        seconds, cpu = scores.pop("seconds"), scores.pop("cpu_seconds")
        figures = {"mouth_psnr_true_lips": None} | {name: float(values.mean()) for name, values in scores.items()}
        figures |= self._lip_figures()
        stored, render = self.landmarks("stored"), self.landmarks("render")
        eyes = eye_aspect_ratio(stored)
        figures |= {
            "blink": metrics.correlation(eye_aspect_ratio(render), eyes) if has_blink(eyes) else None,
            "head_jitter_px": metrics.jitter(render[:, list(RIGID_LANDMARKS)]),
            "head_jitter_true_px": metrics.jitter(self.landmarks("truth")[:, list(RIGID_LANDMARKS)]),
            "frames_per_second": 1 / float(np.median(seconds)),
            "frame_cpu_seconds": float(np.median(cpu)),
        }
        figures = {name: None if value is None else round(value, 4) for name, value in figures.items()}
        return figures | {"held_out_frames": len(self.frames), "size": self.renderer.size}

    def _lip_figures(self) -> dict[str, float | None]:
        lips = {name: self.landmarks(name)[:, list(LIPS)] for name in self.detections}
        opening = {name: self.opening(name) for name in self.detections}
        true = opening["stored"]
        quiet = self.quiet[self.frames[0] : self.frames[-1] + 1]
        quiet = quiet if quiet.sum() >= MIN_QUIET_FRAMES else np.zeros_like(quiet)
        wide = max(float(np.nanpercentile(true, WIDE_OPEN_PERCENTILE)), MIN_DIVISOR)
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
            "lip_sync_true_lips": None,
        }
        figures |= sync_figures("lip", opening["render"], true)
        if "true_lips" in opening:
            figures["lip_sync_true_lips"] = metrics.correlation(opening["true_lips"], true)
        return figures


def sync_figures(name: str, rendered: Float[ndarray, " n"], true: Float[ndarray, " n"]) -> dict[str, float | None]:
    """Returns `<name>_offset_ms` and `<name>_offset_confidence` of two series of openings (metrics.sync_offset); None if not measured."""
    offset, confidence = metrics.sync_offset(rendered, true) or (None, None)
    milliseconds = None if offset is None else 1000 * offset / FPS
    return {f"{name}_offset_ms": milliseconds, f"{name}_offset_confidence": confidence}


def difference(truth: Picture, render: Picture) -> Picture:
    """Returns the absolute difference of two pictures, times DIFFERENCE_GAIN."""
    return (np.abs(truth.astype(int) - render) * DIFFERENCE_GAIN).clip(0, 255).astype(np.uint8)


def finite_mean(values: Float[ndarray, " n"]) -> float | None:
    """Returns the mean of the values that are not NaN; None if there are none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def detect_landmarks(tracker: Callable[[Picture], ndarray | None], picture: Picture) -> Float[ndarray, "478 2"]:
    """Returns the face landmarks (x, y) of a square picture, in px of a LMD_SIZE picture; NaN if no face is found."""
    landmarks = tracker(picture)
    if landmarks is None:
        return np.full((NUM_LANDMARKS, 2), np.nan, np.float32)
    return landmarks[:, :2] * (LMD_SIZE / picture.shape[0])


def recompress(picture: Picture) -> Picture:
    """Returns the picture after a JPEG of JPEG_QUALITY."""
    return decode_rgb(encode_jpeg(picture, JPEG_QUALITY))
