"""Evaluation: figures and pictures on the part of the footage that training never saw.

Head pose, torso motion and upper face (eyes, brows) are those of the held-out footage, the lips come from its sound alone:
so a frame of the footage and its rendering show the same moment and can be compared pixel by pixel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from adnerf_core import media, metrics
from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.dataset import SubjectDataset, Track, head_unit
from adnerf_core.errors import NotReady
from adnerf_core.lips import LIPS, LipShape, mouth_opening
from adnerf_core.metrics import Picture
from adnerf_core.preprocess.tracking import FaceTracker, load_tracker
from adnerf_core.progress import Progress, silent
from adnerf_core.rundir import RunDir, atomic, write_json
from adnerf_core.subject import Subject, load_subject

MOST_FRAMES = 20 * FPS
"""Held-out frames that are looked at, at most; the first ones."""
WRONG_SOUNDS = 4
MOUTH_MARGIN = 0.12
"""Around the lips' landmarks, head units: the box in which the mouth's figures are taken."""
LMD_SIZE = 512
"""Edge of the picture in whose px distances of landmarks are given."""
JPEG_QUALITY = 95
SHEET_ROWS, SHEET_DIFFERENCE = 8, 4


def evaluate(run: RunDir, progress: Progress = silent, *, device: str = "cpu") -> dict[str, float | int | None]:
    """Judges a finished run. Returns the figures (see `Judge.figures`), and writes them to evaluation.json, with
    contact_sheet.png (truth, rendering, difference x 4) and side_by_side.mp4 (truth, rendering, with the sound) beside it.

    Stage of progress: "evaluate". Raises NotReady where the run or its dataset is not finished, NoSuchDevice, DiskFull.
    """
    subject, dataset = load_subject(run, device), SubjectDataset(run.dataset)
    track = dataset.track()
    held_out = np.flatnonzero(track.valid[dataset.held_out_from :]) + dataset.held_out_from
    held_out = held_out[:MOST_FRAMES]
    if len(held_out) == 0:
        raise NotReady("No held-out frame of the dataset shows the face.", "Preprocess longer footage.")
    painter = Painter(subject, dataset, track)
    lips = heard_and_seen(subject, dataset, track, held_out)
    with closing(load_tracker("facemesh")) as on_truth, closing(load_tracker("facemesh")) as on_render:
        judge = Judge(painter, lips, on_truth, on_render)
        pairs = judge.pairs(held_out, progress)
        with TemporaryDirectory() as folder:
            sound = cut_sound(dataset.audio, int(held_out[0]), int(held_out[-1]) + 1, Path(folder) / "sound.wav")
            media.write_video(run.side_by_side, pairs, fps=FPS, audio=sound)
    figures = judge.figures()
    write_json(run.evaluation, figures)
    with atomic(run.contact_sheet) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(np.vstack(judge.sheet), cv2.COLOR_RGB2BGR))
    progress("evaluate", len(held_out), len(held_out))
    return figures


@dataclass(frozen=True)
class LipCodes:
    """Codes of the held-out frames: from the sound; and measured in the footage, where codes are shapes of the lips."""

    heard: Float[Tensor, "frames code"]
    seen: Float[Tensor, "frames code"] | None

    def wrong(self) -> list[Float[Tensor, "frames code"]]:
        """Codes heard at other moments of the held-out part, far from the right ones and from one another."""
        step = len(self.heard) / (WRONG_SOUNDS + 1)
        return [self.heard.roll(round(step * (i + 1)), 0) for i in range(WRONG_SOUNDS)]


@torch.no_grad()
def heard_and_seen(subject: Subject, dataset: SubjectDataset, track: Track, frames: ndarray) -> LipCodes:
    """The lip codes of `frames`. The shape's components come from the training part, as in training."""
    device = subject.poses.device
    trained = track.valid[: dataset.held_out_from]
    features = torch.from_numpy(dataset.features()).to(device)
    heard = subject.portrait.hear(features, torch.from_numpy(frames).to(device))
    if not subject.portrait.lip_code:
        return LipCodes(heard, None)
    shape = LipShape.fit(track.depose[: dataset.held_out_from][trained], subject.portrait.lip_code)
    return LipCodes(heard, torch.from_numpy(shape.encode(track.depose[frames])).to(device))


class Painter:
    """Renders moments of the footage, with any lips, whole or in part."""

    def __init__(self, subject: Subject, dataset: SubjectDataset, track: Track):
        self.subject, self.dataset, self.track = subject, dataset, track
        self.size = subject.size
        self.device = subject.poses.device
        self.pixels = subject.portrait.geometry.camera.pixel_grid(self.device)
        self.plate = subject.background.reshape(-1, 3)
        self.upper = torch.from_numpy(track.upper_face()).to(self.device)
        self.margin = MOUTH_MARGIN * head_unit(subject.portrait.geometry.camera, track)

    def __call__(
        self, frame: int, code: Float[Tensor, " code"], part: Bool[ndarray, "size size"] | None = None
    ) -> Picture:
        """The portrait at `frame` with the lips of `code`, [size, size, 3]; black outside `part`."""
        portrait = self.subject.portrait
        inside = slice(None) if part is None else torch.from_numpy(part.reshape(-1)).to(self.device)
        pose, torso = (
            torch.from_numpy(values[frame]).float().to(self.device) for values in (self.track.pose, self.track.torso)
        )
        condition = portrait.condition(code[None], self.upper[frame : frame + 1])[0]
        picture = torch.zeros_like(self.plate)
        picture[inside], _ = portrait.paint(pose, torso, condition, self.plate[inside], self.pixels[inside])
        picture = picture.clamp(0, 1) * 255 + 0.5
        return picture.byte().cpu().numpy().reshape(self.size, self.size, 3)

    def mouth(self, frame: int) -> Bool[ndarray, "size size"]:
        """The box around the true lips at `frame`."""
        points = self.track.landmarks[frame][list(LIPS), :2] * (self.size / self.dataset.size)
        left, top = np.floor(points.min(0) - self.margin).astype(int).clip(0, self.size - 1)
        right, bottom = np.ceil(points.max(0) + self.margin).astype(int).clip(1, self.size)
        box = np.zeros((self.size, self.size), bool)
        box[top:bottom, left:right] = True
        return box


@dataclass
class Judge:
    """Looks at frame after frame, keeps numbers only (and eight rows of the contact sheet), and sums up."""

    painter: Painter
    lips: LipCodes
    on_truth: FaceTracker
    on_render: FaceTracker
    scores: dict[str, list[float]] = field(default_factory=dict)
    landmarks: dict[str, list[ndarray]] = field(default_factory=lambda: {"stored": [], "truth": [], "render": []})
    sheet: list[Picture] = field(default_factory=list)

    def pairs(self, frames: ndarray, progress: Progress) -> Iterator[Picture]:
        """Judges every frame and yields it beside its rendering. Moments without a face show the last pair again."""
        rows = set(np.linspace(0, len(frames) - 1, SHEET_ROWS).round().astype(int))
        before = None
        for i, frame in enumerate(frames.tolist()):
            progress("evaluate", i, len(frames))
            for _ in range(0 if before is None else frame - before - 1):
                yield pair
            truth, render = self.look(i, frame)
            if i in rows:
                difference = np.abs(truth.astype(int) - render) * SHEET_DIFFERENCE
                self.sheet.append(np.hstack([truth, render, difference.clip(0, 255).astype(np.uint8)]))
            pair, before = np.hstack([truth, render]), frame
            yield pair

    def look(self, i: int, frame: int) -> tuple[Picture, Picture]:
        """Renders and scores the i-th held-out frame; returns the truth and the rendering."""
        painter = self.painter
        truth, mask = painter.dataset.picture(frame, painter.size), painter.dataset.mask(frame, painter.size) / 255
        mouth = painter.mouth(frame)
        wall, cpu = time.perf_counter(), time.process_time()
        render = painter(frame, self.lips.heard[i])
        self._score(seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu)
        head, torso, box = mask[..., 0].astype(np.float32), mask[..., 1:], mouth.astype(np.float32)
        pasted = (render * (1 - torso) + truth * torso + 0.5).astype(np.uint8)
        if self.lips.seen is not None:
            with_true_lips = painter(frame, self.lips.seen[i], mouth)
            self._score(mouth_psnr_true_lips=metrics.psnr(with_true_lips, truth, box))
        wrong = [painter(frame, codes[i], mouth) for codes in self.lips.wrong()]
        self._score(
            psnr=metrics.psnr(render, truth),
            ssim=metrics.ssim(render, truth),
            head_psnr=metrics.psnr(render, truth, head),
            true_torso_psnr=metrics.psnr(pasted, truth),
            mouth_psnr=metrics.psnr(render, truth, box),
            mouth_psnr_wrong_sound=float(np.mean([metrics.psnr(picture, truth, box) for picture in wrong])),
            head_sharpness=metrics.sharpness(render, head) / max(metrics.sharpness(truth, head), 1e-6),
            mouth_sharpness=metrics.sharpness(render, box) / max(metrics.sharpness(truth, box), 1e-6),
        )
        self.landmarks["stored"].append(painter.track.landmarks[frame][:, :2] * (LMD_SIZE / painter.dataset.size))
        self.landmarks["truth"].append(find_face(self.on_truth, recompress(truth)))
        self.landmarks["render"].append(find_face(self.on_render, render))
        return truth, render

    def _score(self, **scores: float) -> None:
        for name, value in scores.items():
            self.scores.setdefault(name, []).append(value)

    def figures(self) -> dict[str, float | int | None]:
        """All figures, means over the frames; None where no face is found in the rendering.

        psnr, ssim; head_psnr: where the head's mask is; true_torso_psnr: with the footage's torso pasted in; mouth_psnr: box
        around the lips, then with the sound of other moments (mean of WRONG_SOUNDS) and with the lips as seen (None where the
        sound enters the field directly).
        lmd_px: distance of lip landmarks found in the rendering from those of the footage, px at 512; lmd_floor_px: the same
        for the footage itself, found again at the run's size after a JPEG; lip_sync: correlation of rendered and true mouth
        opening; lip_sync_ceiling: the same for the footage itself; lip_amplitude: spread of the opening over the true one;
        blink: correlation of the eyes' openness; lip_jitter, lip_jitter_true: see metrics.jitter; head_sharpness,
        mouth_sharpness: fine detail over the truth's; frames_per_second and frame_cpu_seconds of rendering.
        """
        scores = {name: np.array(values) for name, values in self.scores.items()}
        seconds, cpu = scores.pop("seconds"), scores.pop("cpu_seconds")
        stored, truth, render = (np.stack(self.landmarks[name]) for name in ("stored", "truth", "render"))
        lips = list(LIPS)
        opening = {"stored": mouth_opening(stored), "truth": mouth_opening(truth), "render": mouth_opening(render)}
        figures = {"mouth_psnr_true_lips": None} | {name: float(values.mean()) for name, values in scores.items()} | {
            "lmd_px": finite_mean(metrics.landmark_distance(render[:, lips], stored[:, lips])),
            "lmd_floor_px": finite_mean(metrics.landmark_distance(truth[:, lips], stored[:, lips])),
            "lip_sync": metrics.correlation(opening["render"], opening["stored"]),
            "lip_sync_ceiling": metrics.correlation(opening["truth"], opening["stored"]),
            "lip_amplitude": metrics.amplitude(opening["render"], opening["stored"]),
            "blink": metrics.correlation(metrics.eye_aspect(render), metrics.eye_aspect(stored)),
            "lip_jitter": metrics.jitter(render[:, lips]),
            "lip_jitter_true": metrics.jitter(truth[:, lips]),
            "frames_per_second": 1 / float(np.median(seconds)),
            "frame_cpu_seconds": float(np.median(cpu)),
        }
        figures = {name: None if value is None else round(value, 4) for name, value in figures.items()}
        return figures | {"held_out_frames": len(stored), "size": self.painter.size}


def finite_mean(values: Float[ndarray, " n"]) -> float | None:
    """The mean of the values that are not NaN, None where there is none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def find_face(tracker: Callable[[Picture], ndarray | None], picture: Picture) -> Float[ndarray, "478 2"]:
    """Face landmarks (x, y), px of a picture of LMD_SIZE; NaN where there is no face."""
    found = tracker(picture)
    if found is None:
        return np.full((478, 2), np.nan, np.float32)
    return found[:, :2] * (LMD_SIZE / picture.shape[0])


def recompress(picture: Picture) -> Picture:
    """The picture after JPEG: the same to the eye, another one to a detector."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def cut_sound(audio: Path, start: int, end: int, out: Path) -> Path:
    """Writes the sound of frames `start` up to `end` to `out`, a WAV."""
    samples = media.extract_audio(audio)
    media.write_wav(out, samples[start * SAMPLE_RATE // FPS : end * SAMPLE_RATE // FPS], SAMPLE_RATE)
    return out
