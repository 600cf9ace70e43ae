"""The audio stage: trains the audio encoders of a TalkingHead on the lip codes of the footage."""

from __future__ import annotations

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
from adnerf_core.progress import Progress

PRETRAINED_STEPS_DIVISOR = 2
"""A pretrained encoder is trained for half of the steps. More steps lose what it knows of other voices: their correlation falls from
.56 to .40 (docs/fidelity.md)."""


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
    encoders.set_spectrum_weight(len(trained) / FPS)
    distances = torch.from_numpy(mouth_distances(track.canonical_landmarks[trained])).float().to(device)
    layers = pretrained_encoder.LAYERS.get(name, ())
    used = config.lip_prior.stem if layers and config.lip_prior else None
    count, spectrum_width = len(encoders.streams), feature_class(name).spectrum_width
    for number, (encoder, stream) in enumerate(zip(encoders.encoders, encoders.streams, strict=True)):
        if pretrained := number < len(layers):
            own_codes = codes[trained].float()
            pretrained_encoder.init_from_pretrained(encoder, own_codes, distances, layers[number], config.lip_prior)
        figures = train_encoder(
            encoder,
            EncoderData(select(features, stream), min(stream.width, spectrum_width), codes, frames),
            steps=config.audio_steps // (PRETRAINED_STEPS_DIVISOR if pretrained else 1),
            seed=config.seed,
            from_pretrained=pretrained,
            progress=lambda _, done, total, part=number: progress("audio", part + done / total, count),
        )
        run.append_metrics(phase="audio", hears=stream.width, lip_prior=used, **figures)
