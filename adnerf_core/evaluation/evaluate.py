"""Evaluation of a finished run on the held-out part of its footage, which training never uses.

Head pose (refined by training/pose_refinement.py), torso motion, eyes and brows are those of the held-out footage; the lips come
from its sound alone. So each rendering can be compared with its frame of the footage pixel by pixel: as a portrait, of which every pixel
is rendered, and as a full frame, of which only what the lips can move is.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from adnerf_core.audio.mel import Mel
from adnerf_core.audio.windows import STEPS_PER_FRAME
from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.errors import NotReady
from adnerf_core.evaluation import metrics
from adnerf_core.evaluation.evaluator import LMD_SIZE, Evaluator, FaceTrackers, difference
from adnerf_core.evaluation.full_frames import full_frame_figures
from adnerf_core.evaluation.heldout_renderer import HeldOutRenderer, lip_codes
from adnerf_core.evaluation.html_report import ReportInputs, write_report
from adnerf_core.evaluation.lpips import load_lpips
from adnerf_core.evaluation.metrics import Picture
from adnerf_core.evaluation.sync_judge import learn_judge
from adnerf_core.face.tracking import load_tracker
from adnerf_core.files import ffmpeg
from adnerf_core.files.images import write_rgb
from adnerf_core.files.run_dir import RunDir, read_json, write_json
from adnerf_core.progress import Progress, silent
from adnerf_core.synthesis.subject import load_subject
from adnerf_core.training.held_out_alignment import align_held_out

MAX_PIXELS = 20 * FPS * 256**2
"""Pixels of all held-out frames that are evaluated; later frames are left out: 20 s at 256 px, 5 s at 512 px. They cost some minutes on a
CPU; longer footage would only take longer."""


def evaluate(
    run: RunDir, progress: Progress = silent, *, device: str = "cpu", name: str | None = None
) -> dict[str, float | int | None]:
    """Evaluates a finished run on the held-out part of its footage, and writes the results into the run.

    The results are evaluation.json (the figures), report.html (the figures explained), contact_sheet.png (footage, rendering,
    difference) and side_by_side.mp4 (footage, rendering, sound).

    Args:
        run: The finished run; its dataset must still exist.
        progress: Receives the stage "evaluate".
        device: Device that renders.
        name: Name of the subject in the report; the file name of its footage by default.

    Returns:
        The figures, see `Evaluator.summary`, `judge_sync` and `full_frame_figures`.

    Raises:
        NotReady: If the run or its dataset is unfinished, or no held-out frame shows a face.
        NoSuchDevice: If CUDA is asked for but missing.
        DiskFull: If there is no space for the results.
    """
    subject, dataset = load_subject(run, device), SubjectDataset(run.dataset)
    track = dataset.track()
    held_out = np.flatnonzero(track.valid[dataset.held_out_from :]) + dataset.held_out_from
    held_out = held_out[: MAX_PIXELS // subject.size**2]
    if len(held_out) == 0:
        raise NotReady("No held-out frame of the dataset shows the face.", "Preprocess longer footage.")
    lips = lip_codes(subject, dataset, track, held_out)
    if subject.model.refines_poses:
        track = align_held_out(subject.model, dataset, track, held_out, lips.predicted)
    renderer, distance = HeldOutRenderer(subject, dataset, track), load_lpips(device)
    speech = ffmpeg.extract_audio(dataset.audio)
    quiet = metrics.quiet_frames(speech, dataset.frames)
    with ExitStack() as stack:
        trackers = FaceTrackers(*(stack.enter_context(closing(load_tracker("facemesh"))) for _ in range(3)))
        evaluator = Evaluator(renderer, lips, trackers, quiet, distance)
        pictures = evaluator.evaluate_frames(held_out, progress)
        # In the run, where what a killed process leaves of the person's voice is deleted with the rest, and in a part that is not copied.
        run.previews.mkdir(exist_ok=True)
        folder = Path(stack.enter_context(TemporaryDirectory(dir=run.previews)))
        sound = cut_sound(dataset.audio, int(held_out[0]), int(held_out[-1]) + 1, folder / "sound.wav")
        ffmpeg.write_video(run.side_by_side, pictures, fps=FPS, audio=sound)
    figures = evaluator.summary() | judge_sync(dataset, track, speech, evaluator)
    figures |= full_frame_figures(renderer, held_out, lips.predicted, distance)
    write_rgb(run.contact_sheet, np.vstack(evaluator.sheet))
    footage = read_json(dataset.root / "footage.json")
    write_report(run, report_inputs(evaluator, figures), footage, name or dataset.manifest["source"]["name"])
    write_json(run.evaluation, figures)
    progress("evaluate", len(held_out), len(held_out))
    return figures


def judge_sync(
    dataset: SubjectDataset, track: Track, speech: Float[ndarray, " samples"], evaluator: Evaluator
) -> dict[str, float | None]:
    """Judges how far the lips are from their sound, by a judge that is learnt on the training part (sync_judge.py).

    Args:
        dataset: the dataset.
        track: its track.
        speech: the sound of the whole footage, 16 kHz, -1..1.
        evaluator: has evaluated all frames.

    Returns:
        `sync_offset_ms`, how much later the rendered lips are than the sound, and `sync_confidence`; `sync_true_offset_ms` and
        `sync_true_confidence`, the same of the footage. None stands for what cannot be judged.
    """
    mel, learnt = Mel()(speech), dataset.held_out_from
    landmarks = track.landmarks[:learnt, :, :2] * (LMD_SIZE / dataset.size)
    judge = learn_judge(mel[: learnt * STEPS_PER_FRAME], landmarks)
    figures: dict[str, float | None] = {}
    for name, picture in (("sync", "render"), ("sync_true", "stored")):
        verdict = judge and judge.judge(mel, evaluator.landmarks(picture), evaluator.frames[0])
        figures[f"{name}_offset_ms"] = verdict and 1000 * verdict.offset / FPS
        figures[f"{name}_confidence"] = verdict and round(verdict.confidence, 4)
    return figures


def report_inputs(evaluator: Evaluator, figures: dict[str, float | int | None]) -> ReportInputs:
    """Collects what the report shows of an evaluation."""

    def render_example(frame: int) -> tuple[Picture, Picture, Picture]:
        truth = evaluator.renderer.truth(frame)
        render = evaluator.renderer(frame, evaluator.lips.predicted[evaluator.frames.index(frame)])
        return truth, render, difference(truth, render)

    return ReportInputs(
        figures=figures,
        frames=evaluator.frames,
        head_psnr=evaluator.scores["head_psnr"],
        opening_true=evaluator.opening("stored"),
        opening_rendered=evaluator.opening("render"),
        quiet=evaluator.quiet[evaluator.frames[0] : evaluator.frames[-1] + 1],
        render_example=render_example,
    )


def cut_sound(audio: Path, start: int, end: int, out: Path) -> Path:
    """Writes the sound of the frames from `start` to before `end` into the WAV file `out`, and returns `out`."""
    samples = ffmpeg.extract_audio(audio)
    ffmpeg.write_wav(out, samples[start * SAMPLE_RATE // FPS : end * SAMPLE_RATE // FPS], SAMPLE_RATE)
    return out
