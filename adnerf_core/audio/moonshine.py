"""MoonshineEncoder: a speech recogniser's view of a sound, of which the parts that tell the sounds of speech apart are kept.

Moonshine tiny (Jeffries et al., "Moonshine: Speech Recognition for Live Transcription and Voice Commands", 2024; MIT) learnt from
some hundred thousand hours of English in all kinds of voices and rooms. Its weights come in a wheel; only its encoder is run.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.interpolate import interp1d

from adnerf_core.audio.chunking import HOP
from adnerf_core.config import SAMPLE_RATE
from adnerf_core.errors import MissingBackend

WHEEL = "moonshine-voice==0.1.0"
"""The last release whose wheel carries the weights."""
WEIGHTS = Path("assets", "tiny-en", "encoder_model.ort")
STRIDE = 384
"""Samples from one state to the next: convolutions of stride 64, 3 and 2."""
CENTRE = 447.5
"""The sample in the middle of what those convolutions (127, 7 and 3 wide) make the first state of."""
PAD = SAMPLE_RATE // 10
"""Silence put before and after the sound, so that its first and last moments lie between two states."""


class MoonshineEncoder:
    """Hidden states of the encoder's last layer, 288 numbers each."""

    def __init__(self):
        """Raises MissingBackend where ONNX Runtime or the weights are not installed."""
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingBackend("mel+phones needs ONNX Runtime.", "pip install onnxruntime") from error
        found = find_spec("moonshine_voice")  # the package itself is not imported: it wants a sound card
        places = found.submodule_search_locations if found else None
        if not places or not (weights := Path(places[0]) / WEIGHTS).is_file():
            raise MissingBackend("mel+phones needs Moonshine's weights.", f"pip install --no-deps {WHEEL}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # which would keep the memory of the longest sound ever heard
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def __call__(self, samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "steps width"]:
        """The states in the middle of each step of HOP samples; a part of a step at the end counts as one.

        `samples` are mono, -1..1, at SAMPLE_RATE. Their level does not matter. Time and memory grow with the square of the length:
        meant for blocks.
        """
        sound = np.pad(samples.astype(np.float32), PAD)[None]
        given = {"input_values": sound, "attention_mask": np.ones(sound.shape, np.int64)}
        states = self._session.run(None, given)[0][0]
        middles = HOP * (np.arange(-(-len(samples) // HOP)) + 0.5) + PAD
        return interp1d(np.arange(len(states)), states, axis=0)((middles - CENTRE) / STRIDE)
