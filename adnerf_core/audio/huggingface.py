"""Features from wav2vec 2.0 (Baevski et al., 2020) and HuBERT (Hsu et al., 2021), through the `transformers` library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float

from adnerf_core.audio.chunking import HOP, AudioChunk
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.config import SAMPLE_RATE
from adnerf_core.errors import MissingBackend

INSTALL = "Run: pip install 'adnerf[transformers]', or ask the operator to."
MIN_STD = 1e-4
"""Smallest standard deviation that samples are divided by (-80 dB): the noise of silence is not raised to the level of speech."""


class HuggingFaceFeatures(AudioFeatures):
    """The last hidden states of a network, minus its mean state for silence. The network has one state per HOP samples.

    Attributes:
        kind: the `model_type` in the network's configuration.
        hub: id of the default weights on the Hugging Face hub.
    """

    kind: str
    hub: str

    def __init__(self, model: str | None = None):
        """Loads the network.

        Args:
            model: a folder, or the id of a model on the Hugging Face hub (default: `hub`), which is downloaded once.

        Raises:
            MissingBackend: transformers is not installed, or there is no such model of this kind.
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
            reason = str(error).splitlines()[0]
            raise MissingBackend(
                f"The model of {self.kind} cannot be loaded.", remedy, details=f"{model}: {reason}"
            ) from error
        self.width = config.hidden_size
        self.silence = self.hidden_states(np.zeros(SAMPLE_RATE, np.float32)).mean(0)

    def stream(self, chunks: Iterable[AudioChunk]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """See AudioFeatures. Each chunk is encoded by itself, together with its context."""
        for chunk in chunks:
            states = self.hidden_states(chunk.samples - chunk.samples.mean()) - self.silence
            yield states[chunk.start // HOP :][: chunk.steps]

    @torch.no_grad()
    def hidden_states(self, samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "steps width"]:
        """Returns one row per HOP samples.

        The networks expect samples of standard deviation 1. Their first state comes from the first 400 samples, which is one and a
        quarter of a step: the padding centres that on the first step and completes the last one.
        """
        padded = np.pad(samples / max(float(samples.std()), MIN_STD), (HOP // 8, HOP))
        return self.network(torch.from_numpy(padded.astype(np.float32))[None]).last_hidden_state[0].numpy()


class Wav2Vec2(HuggingFaceFeatures):
    """wav2vec 2.0."""

    kind, hub = "wav2vec2", "facebook/wav2vec2-base-960h"


class Hubert(HuggingFaceFeatures):
    """HuBERT."""

    kind, hub = "hubert", "facebook/hubert-base-ls960"
