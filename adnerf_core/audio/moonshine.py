"""MoonshineEncoder: hidden states of a speech recogniser.

The recogniser is Moonshine tiny (Jeffries et al., "Moonshine: Speech Recognition for Live Transcription and Voice Commands", 2024;
MIT licence), trained on some hundred thousand hours of English in all kinds of voices and rooms. Its weights come in a wheel; only
its encoder is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.interpolate import interp1d

from adnerf_core.audio.chunking import HOP
from adnerf_core.audio.ort_outputs import with_outputs
from adnerf_core.config import SAMPLE_RATE
from adnerf_core.errors import MissingBackend

WHEEL = "moonshine-voice==0.1.0"
"""The last release whose wheel contains the weights."""
WEIGHTS = Path("assets", "tiny-en")
STRIDE = 64 * 3 * 2
"""Samples between states: the encoder begins with convolutions of strides 64, 3 and 2."""
CENTRE = (127 + (7 - 1) * 64 + (3 - 1) * 64 * 3) / 2
"""Middle of the samples from which those convolutions, which are 127, 7 and 3 wide, make the first state."""
PADDING = SAMPLE_RATE // 10
"""Samples of silence put before and after the audio. CENTRE is the least for the first step to lie between two states."""


LAST_LAYER = 5
"""Number of the last of the encoder's layers."""


class MoonshineEncoder:
    """Hidden states of some of the encoder's layers, 288 numbers each."""

    def __init__(self, layers: Sequence[int]):
        """Loads the encoder.

        Args:
            layers: numbers of the layers, 0 to LAST_LAYER. One pass through the network gives them all.

        Raises:
            MissingBackend: ONNX Runtime or the weights are not installed.
        """
        outputs = ["last_hidden_state" if n == LAST_LAYER else f"/layers.{n}/Add_1_output_0" for n in layers]
        self._session = open_session("encoder_model.ort", "mel+phones", outputs)

    def __call__(self, samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "layers steps width"]:
        """Computes the hidden states at the middle of each step of HOP samples, by linear interpolation in time.

        Time and memory grow with the square of the length, so this is meant for chunks.

        Args:
            samples: mono, -1..1, at SAMPLE_RATE. The level makes no difference.

        Returns:
            For each layer, one row of 288 numbers per step; a part of a step at the end counts as one.
        """
        padded = np.pad(samples.astype(np.float32), PADDING)[None]
        inputs = {"input_values": padded, "attention_mask": np.ones(padded.shape, np.int64)}
        states = np.concatenate(self._session.run(None, inputs))
        middles = HOP * (np.arange(-(-len(samples) // HOP)) + 0.5) + PADDING
        return interp1d(np.arange(states.shape[1]), states, axis=1)((middles - CENTRE) / STRIDE)


def weights_file(name: str, needs: str) -> Path:
    """Returns one of the files of the weights. Raises MissingBackend, which says that `needs` needs them."""
    spec = find_spec("moonshine_voice")  # not imported: the package itself requires a sound card
    folders = spec.submodule_search_locations if spec else None
    if not folders or not (weights := Path(folders[0]) / WEIGHTS / name).is_file():
        raise MissingBackend(
            f"{needs} needs Moonshine's weights.", f"Run: pip install {WHEEL}, or ask the operator to."
        )
    return weights


def open_session(name: str, needs: str, outputs: Sequence[str] = ()) -> Any:
    """Returns an ONNX Runtime session with one of the weights, whose outputs are the values `outputs` if these are given.

    Raises MissingBackend if they or ONNX Runtime are not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingBackend(
            f"{needs} needs ONNX Runtime.", "Run: pip install onnxruntime, or ask the operator to."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena would never shrink again after a long chunk
    network = weights_file(name, needs)
    source = with_outputs(network.read_bytes(), outputs) if outputs else network
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
