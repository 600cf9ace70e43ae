"""The functions of adnerf_core that jobs call, and the real ones among them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adnerf_core.files.run_dir import RunDir
from storage.settings import Settings


@dataclass(frozen=True)
class CoreFunctions:
    """The functions of adnerf_core that the pipeline calls; `load_core` returns the real ones, tests pass others."""

    preprocess: Callable[..., object]
    """(video, out, config, progress, source_sha256=)"""
    train: Callable[..., object]
    """(dataset folder, run, config, progress)"""
    check_prior: Callable[[Path], object]
    """(prior of lips) raises NotReady if no training can start from it"""
    learn_prior: Callable[..., Mapping[str, Any]]
    """(dataset folders by name, out, progress) -> before, after, people, better; writes a prior of lips"""
    evaluate: Callable[..., Mapping[str, Any]]
    """(run, progress, device=, name=) -> figures; writes run.report"""
    views: Callable[..., Mapping[str, Any]]
    """(run, progress, device=) -> layout; writes run.views"""
    still: Callable[..., bytes]
    """(run, options, background=, device=, load=) -> a JPEG of the first frame"""
    load: Callable[[RunDir, str], Any]
    """(run, device) -> subject"""
    render: Callable[..., Any]
    """(run, audio or None, out, options, progress, background=, device=, load=, mark=, duration_s=, watch=, words=, fonts=)
    -> frame, frames, duration_s, width, height, view, and perhaps warnings; `words` and `fonts` only for captions in the picture; `watch` takes
    the pieces of an MP4 while it is rendered (adnerf_core/files/fragments.py), or is None"""
    weights: Mapping[str, Mapping[str, float]]
    """By kind of job and stage: the share of the time."""
    ffmpeg: Callable[[], str]
    """() -> the version of the ffmpeg that is run, or why there is none."""
    gpu: Callable[[], dict[str, Any] | None]
    """() -> the CUDA device: `name`, `memory_bytes`, `used_bytes`; None if there is none."""
    free: Callable[[], object]
    """Frees cached device memory, so that other processes can use it."""
    provenance: Callable[[Settings], Any]
    """(settings) -> an object that marks and signs videos, as worker.provenance.provenance.Provenance does."""
    speech: Callable[[Settings], Any]
    """(settings) -> an object that reads scripts, as worker.speech.voices.Voices does."""
    transcriber: Callable[[Settings], Any]
    """(settings) -> an object that finds words and their times, as worker.speech.transcriber.Transcriber does."""
    thumbnail: Callable[[Path, Path], object]
    """(video, out) writes a JPEG"""
    clip: Callable[[Path, Path], object]
    """(video, out) writes a short MP4"""


def load_core() -> CoreFunctions:
    """Imports the real core. It loads torch, so only worker processes call this."""
    from adnerf_core.audio.pretrained_encoder import check_prior
    from adnerf_core.data.dataset import SubjectDataset
    from adnerf_core.evaluation.evaluate import evaluate
    from adnerf_core.files.ffmpeg import ffmpeg_version
    from adnerf_core.files.stills import write_clip, write_thumbnail
    from adnerf_core.preprocess.pipeline import preprocess
    from adnerf_core.progress import STAGE_WEIGHTS
    from adnerf_core.synthesis.render import render
    from adnerf_core.synthesis.still_frame import render_still
    from adnerf_core.synthesis.subject import load_subject
    from adnerf_core.synthesis.view_sheet import render_view_sheet
    from adnerf_core.training.lip_prior import learn_prior
    from adnerf_core.training.train import train
    from worker.provenance.provenance import Provenance
    from worker.speech.transcriber import Transcriber
    from worker.speech.voices import Voices

    return CoreFunctions(
        preprocess=preprocess,
        train=lambda dataset, run, config, progress: train(SubjectDataset(dataset), run, config, progress),
        check_prior=check_prior,
        learn_prior=learn_prior,
        evaluate=evaluate,
        views=render_view_sheet,
        still=render_still,
        load=load_subject,
        render=render,
        weights=STAGE_WEIGHTS,
        ffmpeg=ffmpeg_version,
        gpu=describe_gpu,
        free=free_memory,
        provenance=Provenance,
        speech=Voices,
        transcriber=Transcriber,
        thumbnail=write_thumbnail,
        clip=write_clip,
    )


def describe_gpu() -> dict[str, Any] | None:
    """Describes the CUDA device of this process.

    Returns:
        `name`, `memory_bytes` (of the device) and `used_bytes` (by all processes together); None if there is no device.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    free_bytes, total_bytes = torch.cuda.mem_get_info()
    return {
        "name": torch.cuda.get_device_name(),
        "memory_bytes": total_bytes,
        "used_bytes": total_bytes - free_bytes,
    }


def free_memory() -> None:
    """Frees CUDA memory that no tensor uses, so that other processes can use it."""
    import torch

    gc.collect()  # a failed job leaves its tensors in the frames of its exception, which refer to one another
    torch.cuda.empty_cache()
