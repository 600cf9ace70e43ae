"""The audio stage: trains the audio encoders of a TalkingHead on the lip codes of the footage."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from adnerf_core.audio import pretrained_encoder
from adnerf_core.audio.encoder import MultiStreamEncoder, select
from adnerf_core.audio.features import feature_class
from adnerf_core.audio.train_encoder import EncoderData, train_encoder
from adnerf_core.config import FPS, TrainConfig
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.face.lip_pca import mouth_distances
from adnerf_core.files.run_dir import RunDir
from adnerf_core.progress import Cancelled, Progress
from adnerf_core.threads import usable_cores
from adnerf_core.training.parallel import flush_denormals

PRETRAINED_STEPS_DIVISOR = 2
"""A pretrained encoder is trained for half of the steps. More steps lose what it knows of other voices: their correlation falls from
.56 to .40 (docs/fidelity.md)."""

REPORT_EVERY_S = 0.2
"""Time between two reports of the progress, s."""


def train_audio_encoders(
    encoders: MultiStreamEncoder,
    dataset: SubjectDataset,
    track: Track,
    lip_codes: Float[ndarray, "frames code"],
    config: TrainConfig,
    run: RunDir,
    progress: Progress,
) -> None:
    """Trains the encoders in place, on the valid frames of the training part, and appends their figures to metrics.jsonl.

    All encoders but the last start from pretrained ones if there are any for the features: those of `config.lip_prior`, else the shipped
    ones.

    Args:
        encoders: the encoders of the model.
        dataset: the footage, for its audio features.
        track: the track of the footage.
        lip_codes: the codes to predict (NaN if a frame is not valid).
        config: steps, seed, device and prior of lips.
        run: the run, for its metrics.
        progress: is called in the stage "audio", with the number of encoders as its total.

    Raises:
        NotReady: the prior of lips is missing or damaged.
    """
    name, device = dataset.manifest["features"]["name"], config.device
    trained = np.flatnonzero(track.valid[: dataset.held_out_from])
    features, codes, frames = (
        torch.from_numpy(values).to(device) for values in (dataset.features(), lip_codes, trained)
    )
    distances = torch.from_numpy(mouth_distances(track.canonical_landmarks[trained])).float().to(device)
    layers = pretrained_encoder.LAYERS.get(name, ())
    used = config.lip_prior.stem if layers and config.lip_prior else None
    encoders.set_spectrum_weight(len(trained) / FPS, learnt=used is not None)
    count, spectrum_width = len(encoders.streams), feature_class(name).spectrum_width

    def train_one(number: int, report: Callable[[float], None]) -> dict[str, float]:
        encoder, stream = encoders.encoders[number], encoders.streams[number]
        if pretrained := number < len(layers):
            own_codes = codes[trained].float()
            pretrained_encoder.init_from_pretrained(encoder, own_codes, distances, layers[number], config.lip_prior)
        return train_encoder(
            encoder,
            EncoderData(select(features, stream), min(stream.width, spectrum_width), codes, frames),
            steps=config.audio_steps // (PRETRAINED_STEPS_DIVISOR if pretrained else 1),
            seed=config.seed,
            from_pretrained=pretrained,
            progress=lambda _, done, total: report(done / total),
        )

    figures = _side_by_side(train_one, count, progress)
    for stream, values in zip(encoders.streams, figures, strict=True):
        run.append_metrics(phase="audio", hears=stream.width, lip_prior=used, **values)


def _side_by_side(
    train_one: Callable[[int, Callable[[float], None]], dict[str, float]], count: int, progress: Progress
) -> list[dict[str, float]]:
    """Returns what `train_one` returns for each of `count` encoders, which are trained in as many threads as there are cores.

    The encoders do not depend on each other, so the result is that of training one after the other. `progress` is called by this thread
    alone; if it raises, the others stop at their next step.
    """
    done, stopped = [0.0] * count, threading.Event()

    def run(number: int) -> dict[str, float]:
        def report(share: float) -> None:
            if stopped.is_set():
                raise Cancelled
            done[number] = share

        with flush_denormals():
            return train_one(number, report)

    progress("audio", 0, count)
    with ThreadPoolExecutor(min(count, usable_cores()), "encoder") as pool:
        futures = [pool.submit(run, number) for number in range(count)]
        try:
            while wait(futures, REPORT_EVERY_S, FIRST_EXCEPTION).not_done:
                for future in futures:
                    if future.done():
                        future.result()  # raises what ended it
                progress("audio", sum(done), count)
            figures = [future.result() for future in futures]
        except BaseException:
            stopped.set()
            raise
    progress("audio", count, count)
    return figures
