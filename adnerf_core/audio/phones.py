"""Phones: which sounds of speech are heard, as soft posteriors from a small recogniser that comes with its acoustic model.

pocketsphinx (pip-installable; model and code under a BSD licence) scores every state of its phones in every frame. A
forward-backward pass over all phones, three states each, turns the scores into posteriors. The model is of American English;
the posteriors are soft, so that they also tell the lips of other languages something.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.interpolate import interp1d
from scipy.signal import resample_poly

from adnerf_core.audio.blocks import HOP, RATE, Block
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.errors import MissingBackend

SOUNDS = (
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH", "K",
    "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
"""The phones that features are made of: all of the acoustic model's, without its silence and its noises."""
QUIET = ("+NSN+", "+SPN+", "SIL")
STATES = 3
FRAMES_PER_STEP = 2
SCORE_UNIT = -0.1024
"""Scores are whole numbers; times this, log likelihoods (1024 times the logarithm of 1.0001)."""
ACOUSTIC_SCALE = 0.25
"""Neighbouring frames overlap and tell the same: their likelihoods count for less."""
STAY = 0.6
"""Probability that a state lasts another frame (10 ms)."""
BELIEF = 0.5
"""Weight of the recogniser's English phone bigram; the rest is uniform, for other languages and for noise."""
TRACTS = (92, 100, 108)
"""Lengths of the vocal tract, % of the true one, with which a sound is heard; the mean is believed, since the recogniser knows
some voices better than others."""
FAINTEST = 1e-4
"""Amplitude (of 1) below which a step is silent. The recogniser takes a steady level, whichever, for the usual one."""


class Phones(AudioFeatures):
    """Posteriors of SOUNDS, 0..1, RATE steps a second; what is left to 1 is silence or noise, so silence is all zeros."""

    rate = RATE
    width = len(SOUNDS)

    def __init__(self):
        """Raises MissingBackend where pocketsphinx is not installed."""
        try:
            import pocketsphinx
        except ImportError as error:
            raise MissingBackend("mel+phones needs pocketsphinx.", "pip install pocketsphinx") from error
        self._sphinx = pocketsphinx

    def stream(self, blocks: Iterable[Block]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """See AudioFeatures. Every block is recognised by itself, with its margins."""
        for block in blocks:
            heard = np.mean([self.heard(block.samples, tract) for tract in TRACTS], axis=0)
            steps = np.arange(block.steps) + block.before // HOP
            yield (heard[steps.clip(0, len(heard) - 1)] * self.audible(block)[:, None]).astype(np.float32)

    def heard(self, samples: Float[np.ndarray, " samples"], tract: int) -> Float[np.ndarray, "steps width"]:
        """The posteriors of a sound that is played slower or faster, so that its vocal tract is `tract` % as long."""
        played = samples if tract == 100 else resample_poly(samples, tract, 100)
        posteriors = self.posteriors(self.log_likelihoods(played)).sum(-1)
        sounds = posteriors[:, [self._names.index(name) for name in SOUNDS]]
        # A frame of the recogniser is 25 ms from its start on: these two lie around the middle of the step.
        frames = FRAMES_PER_STEP * np.arange(-(-len(played) // HOP))[:, None] + (-1, 0)
        steps = sounds[frames.clip(0, len(sounds) - 1)].mean(1)
        if tract == 100:
            return steps
        then = (np.arange(-(-len(samples) // HOP)) + 0.5) * tract / 100 - 0.5
        return interp1d(np.arange(len(steps)), steps, axis=0)(then.clip(0, len(steps) - 1))

    @staticmethod
    def audible(block: Block) -> Bool[np.ndarray, " steps"]:
        """Which steps of a block can be heard."""
        own = block.samples[block.before : block.before + block.count]
        padded = np.pad(own, (0, block.steps * HOP - block.count))
        return np.sqrt(np.mean(padded.reshape(-1, HOP) ** 2, axis=1)) > FAINTEST

    def log_likelihoods(self, samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "frames phones states"]:
        """Of every state of every phone (self._names), 100 frames a second, up to a constant a frame."""
        sphinx, model = self._sphinx, Path(self._sphinx.get_model_path()) / "en-us"
        with tempfile.TemporaryDirectory() as folder:
            decoder = sphinx.Decoder(
                hmm=str(model / "en-us"),
                allphone=str(model / "en-us-phone.lm.bin"),
                lm=None,
                dict=None,
                compallsen=True,
                senlogdir=folder,
                loglevel="FATAL",
            )
            decoder.start_utt()
            decoder.process_raw((samples * 32767).clip(-32768, 32767).astype("<i2").tobytes(), full_utt=True)
            decoder.end_utt()
            (log,) = Path(folder).iterdir()
            header, _, data = log.read_bytes().partition(b"endhdr\n")
        senones = int(header.split(b"n_sen ")[1].split()[0])
        # A mark of the byte order (4 bytes); then in each frame how many scores follow, and the scores.
        scores = np.frombuffer(data, "<i2", offset=4).reshape(-1, 1 + senones)
        own = scores[:, 1 : 1 + len(self._names) * STATES]
        return SCORE_UNIT * own.reshape(len(own), -1, STATES).astype(np.float32)

    def posteriors(
        self, log_likelihoods: Float[np.ndarray, "frames phones states"]
    ) -> Float[np.ndarray, "frames phones states"]:
        """Forward-backward over phones that follow one another by self._bigram; each frame sums to 1."""
        scaled = ACOUSTIC_SCALE * (log_likelihoods - log_likelihoods.max((1, 2), keepdims=True))
        likelihoods = np.exp(scaled).astype(np.float64)
        ahead, behind = np.empty_like(likelihoods), np.empty_like(likelihoods)
        state = np.zeros(likelihoods.shape[1:])
        state[:, 0] = 1 / len(state)
        for t, likelihood in enumerate(likelihoods):
            if t > 0:
                moved = STAY * state
                moved[:, 1:] += (1 - STAY) * state[:, :-1]
                moved[:, 0] += (1 - STAY) * (state[:, -1] @ self._bigram)
                state = moved
            state = state * likelihood
            state /= state.sum()
            ahead[t] = state
        state = np.ones_like(state)
        for t in reversed(range(len(likelihoods))):
            behind[t] = state
            state = state * likelihoods[t]
            moved = STAY * state
            moved[:, :-1] += (1 - STAY) * state[:, 1:]
            moved[:, -1] += (1 - STAY) * (self._bigram @ state[:, 0])
            state = moved / moved.sum()
        joint = ahead * behind
        return joint / joint.sum((1, 2), keepdims=True)

    @cached_property
    def _names(self) -> list[str]:
        return sorted((*SOUNDS, *QUIET))

    @cached_property
    def _bigram(self) -> Float[np.ndarray, "phones phones"]:
        """Probability that the phone of a column follows that of a row."""
        sphinx = self._sphinx
        path = Path(sphinx.get_model_path()) / "en-us" / "en-us-phone.lm.bin"
        model = sphinx.NGramModel.readfile(str(path))
        follows = np.array([[model.prob([second, first]) for second in self._names] for first in self._names])
        follows = np.exp(follows * np.log(1.0001))
        follows /= follows.sum(1, keepdims=True)
        return BELIEF * follows + (1 - BELIEF) / len(follows)
