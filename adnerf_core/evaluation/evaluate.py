"""Evaluation: figures and pictures on the part of the footage that training never saw, and the report that explains them.

Head pose (refined, see refine.py), torso motion and upper face (eyes, brows) are those of the held-out footage, the lips come
from its sound alone: so a frame of the footage and its rendering show the same moment and can be compared pixel by pixel.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.errors import NotReady
from adnerf_core.evaluation import metrics
from adnerf_core.evaluation.evaluator import Evaluator, FaceTrackers, difference
from adnerf_core.evaluation.heldout_renderer import HeldOutRenderer, lip_codes
from adnerf_core.evaluation.html_report import ReportInputs, write_report
from adnerf_core.evaluation.lpips import load_lpips
from adnerf_core.evaluation.metrics import Picture
from adnerf_core.face.tracking import load_tracker
from adnerf_core.files import ffmpeg
from adnerf_core.files.images import write_rgb
from adnerf_core.files.run_dir import RunDir, read_json, write_json
from adnerf_core.models.talking_head import TalkingHead
from adnerf_core.progress import Progress, silent
from adnerf_core.synthesis.subject import load_subject
from adnerf_core.training.pose_refinement import align_held_out

MOST_FRAMES = 20 * FPS
"""Held-out frames that are looked at, at most; the first ones."""


def evaluate(
    run: RunDir, progress: Progress = silent, *, device: str = "cpu", name: str | None = None
) -> dict[str, float | int | None]:
    """Judges a finished run. Returns the figures (see `Evaluator.figures`), and writes them to evaluation.json, with report.html
    (for a person to read; `name` is what it calls the subject), contact_sheet.png (truth, rendering, difference x 4) and
    side_by_side.mp4 (truth, rendering, with the sound) beside it.

    Stage of progress: "evaluate". Raises NotReady where the run or its dataset is not finished, NoSuchDevice, DiskFull.
    """
    subject, dataset = load_subject(run, device), SubjectDataset(run.dataset)
    track = dataset.track()
    held_out = np.flatnonzero(track.valid[dataset.held_out_from :]) + dataset.held_out_from
    held_out = held_out[:MOST_FRAMES]
    if len(held_out) == 0:
        raise NotReady("No held-out frame of the dataset shows the face.", "Preprocess longer footage.")
    lips = lip_codes(subject, dataset, track, held_out)
    if isinstance(subject.portrait, TalkingHead):
        track = align_held_out(subject.portrait, dataset, track, held_out, lips.heard)
    painter = HeldOutRenderer(subject, dataset, track)
    quiet = metrics.quiet_frames(ffmpeg.extract_audio(dataset.audio), dataset.frames)
    with ExitStack() as stack:
        watchers = FaceTrackers(*(stack.enter_context(closing(load_tracker("facemesh"))) for _ in range(3)))
        judge = Evaluator(painter, lips, watchers, quiet, load_lpips(device))
        pairs = judge.pairs(held_out, progress)
        folder = Path(stack.enter_context(TemporaryDirectory()))
        sound = cut_sound(dataset.audio, int(held_out[0]), int(held_out[-1]) + 1, folder / "sound.wav")
        ffmpeg.write_video(run.side_by_side, pairs, fps=FPS, audio=sound)
    figures = judge.figures()
    write_rgb(run.contact_sheet, np.vstack(judge.sheet))
    footage = read_json(dataset.root / "footage.json")
    write_report(run, report_inputs(judge, figures), footage, name or dataset.manifest["source"]["name"])
    write_json(run.evaluation, figures)
    progress("evaluate", len(held_out), len(held_out))
    return figures


def report_inputs(judge: Evaluator, figures: dict[str, float | int | None]) -> ReportInputs:
    """What the report shows of what the judge has seen."""

    def look(frame: int) -> tuple[Picture, Picture, Picture]:
        truth, render = judge.painter.truth(frame), judge.painter(frame, judge.lips.heard[judge.frames.index(frame)])
        return truth, render, difference(truth, render)

    return ReportInputs(
        figures=figures,
        frames=judge.frames,
        head_psnr=judge.scores["head_psnr"],
        opening_true=judge.opening("stored"),
        opening_rendered=judge.opening("render"),
        quiet=judge.quiet[judge.frames[0] : judge.frames[-1] + 1],
        look=look,
    )


def cut_sound(audio: Path, start: int, end: int, out: Path) -> Path:
    """Writes the sound of frames `start` up to `end` to `out`, a WAV."""
    samples = ffmpeg.extract_audio(audio)
    ffmpeg.write_wav(out, samples[start * SAMPLE_RATE // FPS : end * SAMPLE_RATE // FPS], SAMPLE_RATE)
    return out
