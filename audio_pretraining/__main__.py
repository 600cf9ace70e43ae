"""python -m audio_pretraining: makes phones.safetensors and prior.safetensors of adnerf_core/audio
again, from nothing but the voices of espeak-ng.

Takes about a CPU-minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped

from adnerf_core.audio.encoder import AudioEncoder
from adnerf_core.audio.mel import Mel
from adnerf_core.audio.moonshine import MoonshineEncoder
from adnerf_core.audio.phonemes import PhonemeFeatures, voice_activity
from adnerf_core.audio.pretrained_encoder import DISTANCES, serialize
from adnerf_core.audio.train_encoder import train_encoder
from adnerf_core.audio.windows import STEPS_PER_FRAME
from adnerf_core.cli import progress_bar
from adnerf_core.config import FPS
from adnerf_core.progress import Progress, silent
from audio_pretraining.phoneme_mouth_model import mouth
from audio_pretraining.phonemes import discriminants, labels
from audio_pretraining.speech import utterances

OUT = Path(__file__).parents[1] / "adnerf_core" / "audio"


class Corpus(NamedTuple):
    """Synthetic speech, step by step: its spectrum (Mel), the recogniser's states, how much they count (see audible), and what is
    said; and the mouth at each frame."""

    spectrum: Float[np.ndarray, "steps bands"]
    states: Float[np.ndarray, "steps width"]
    heard: Float[np.ndarray, " steps"]
    said: Shaped[np.ndarray, " steps"]
    lips: Float[np.ndarray, "frames distances"]


def main() -> None:
    """Parses the command line, makes both files and writes them."""
    parser = argparse.ArgumentParser(prog="python -m audio_pretraining", description=__doc__)
    parser.add_argument("--minutes", type=float, default=35.0, help="synthetic speech (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1000, help="of training (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=OUT, help="folder to write to (default: where the package has them)"
    )
    given = parser.parse_args()
    with progress_bar() as progress:
        speech = corpus(60 * given.minutes, given.seed, progress)
        found = discriminants(speech.states, speech.said, PhonemeFeatures.width)
        phones = found(speech.states) * speech.heard[:, None]
        features = np.concatenate([speech.spectrum, phones], axis=1).astype(np.float32)
        prior, figures = train_prior(features, speech.lips, given.steps, given.seed, progress)
    for name, packed in (("phones", found.pack()), ("audio_pretraining", serialize(prior))):
        (given.out / f"{name}.safetensors").write_bytes(packed)
        print(f"{given.out / name}.safetensors: {len(packed) / 1e3:.0f} kB")
    print(f"correlation {figures['correlation']:.2f}")


def corpus(seconds: float, seed: int, progress: Progress = silent) -> Corpus:
    """At least `seconds` of synthetic speech. Stage of progress: "corpus".

    Each sentence begins and ends with a moment of silence, longer than half a window.
    """
    random = np.random.default_rng(seed)
    mel, recogniser = Mel(), MoonshineEncoder()
    parts, frames = [], 0
    for utterance in utterances(seconds, random):
        spectrum = mel(utterance.samples)
        own = len(spectrum) // STEPS_PER_FRAME
        steps = own * STEPS_PER_FRAME
        parts.append(
            Corpus(
                spectrum[:steps],
                recogniser(utterance.samples)[:steps],
                voice_activity(utterance.samples)[:steps],
                labels(utterance.phonemes, (np.arange(steps) + 0.5) / mel.rate),
                mouth(utterance.phonemes, np.arange(own) / FPS),
            )
        )
        frames += own
        progress("corpus", min(seconds, frames / FPS), seconds)
    return Corpus(*map(np.concatenate, zip(*parts, strict=True)))


def train_prior(
    features: Float[np.ndarray, "steps width"],
    lips: Float[np.ndarray, "frames distances"],
    steps: int,
    seed: int,
    progress: Progress = silent,
) -> tuple[AudioEncoder, dict[str, float]]:
    """An encoder from features to the mouth's distances in standard deviations, and train_encoder's figures."""
    torch.manual_seed(seed)
    prior = AudioEncoder(features.shape[1], DISTANCES)
    figures = train_encoder(
        prior,
        torch.from_numpy(features),
        torch.from_numpy((lips - lips.mean(0)) / lips.std(0)),
        torch.ones(len(lips), dtype=torch.bool),
        spectrum=Mel.spectrum,
        frames=range(len(lips)),
        steps=steps,
        seed=seed,
        progress=progress,
    )
    return prior, figures


if __name__ == "__main__":
    main()
