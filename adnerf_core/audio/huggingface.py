"""Wav2Vec2 and Hubert: features of large self-supervised networks, for who has their weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float

from adnerf_core.audio.chunking import HOP, AudioChunk
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.config import SAMPLE_RATE
from adnerf_core.errors import MissingBackend

INSTALL = "pip install 'adnerf[transformers]'"
LEAST_SPREAD = 1e-4
"""Standard deviation of samples below which a block is not brought to 1: silence stays silent."""


class HuggingFaceFeatures(AudioFeatures):
    """The last hidden states of a network of `kind`, less what it says to silence. HOP samples a step, as the networks have it."""

    kind: str
    hub: str

    def __init__(self, model: str | None = None):
        """`model` is a folder or the id of a model of the Hugging Face hub (default: `hub`), which is downloaded once.

        Raises MissingBackend where transformers is not installed, or no such model can be had.
        """
        model = model or self.hub
        try:
            from transformers import AutoConfig, AutoModel
        except ImportError as error:
            raise MissingBackend(f"{self.kind} needs transformers.", INSTALL) from error
        try:
            config = AutoConfig.from_pretrained(model)
            if config.model_type != self.kind:
                raise ValueError(f"it is a model of kind {config.model_type}")
            self.network = AutoModel.from_pretrained(model, config=config).eval().requires_grad_(False)
        except (OSError, ValueError) as error:
            remedy = f"Name a folder or an id of the Hugging Face hub: {self.kind}:FOLDER or {self.kind}:{self.hub}."
            raise MissingBackend(
                f"{model} cannot be had as {self.kind}: {str(error).splitlines()[0]}", remedy
            ) from error
        self.width = config.hidden_size
        self.silence = self.hear(np.zeros(SAMPLE_RATE, np.float32)).mean(0)

    def stream(self, blocks: Iterable[AudioChunk]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """See AudioFeatures. Every block is heard by itself, with its margins."""
        for block in blocks:
            heard = self.hear(block.samples - block.samples.mean()) - self.silence
            yield heard[block.before // HOP :][: block.steps]

    @torch.no_grad()
    def hear(self, samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "steps width"]:
        """A row for every HOP samples. The network wants sound of spread 1, and 400 samples for the first row."""
        padded = np.pad(samples / max(float(samples.std()), LEAST_SPREAD), (HOP // 8, HOP))
        return self.network(torch.from_numpy(padded.astype(np.float32))[None]).last_hidden_state[0].numpy()


class Wav2Vec2(HuggingFaceFeatures):
    """Baevski et al., 2020."""

    kind, hub = "wav2vec2", "facebook/wav2vec2-base-960h"


class Hubert(HuggingFaceFeatures):
    """Hsu et al., 2021."""

    kind, hub = "hubert", "facebook/hubert-base-ls960"
