"""python -m prior: makes adnerf_core/audio/prior.safetensors again, from nothing but espeak-ng's voices (about 10 CPU-minutes)."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from adnerf_core.audio.encoder import AudioEncoder
from adnerf_core.audio.features import load_features
from adnerf_core.audio.fit import fit_encoder
from adnerf_core.audio.prior import DISTANCES, FEATURES, pack_prior
from adnerf_core.audio.windows import STEPS_PER_FRAME
from adnerf_core.cli import progress_bar
from adnerf_core.config import FPS
from adnerf_core.progress import Progress, silent
from prior.mouth import mouth
from prior.speech import utterances

OUT = Path(__file__).parents[1] / "adnerf_core" / "audio" / "prior.safetensors"


def main() -> None:
    """Parses the command line, makes the prior and writes it."""
    parser = argparse.ArgumentParser(prog="python -m prior", description=__doc__)
    parser.add_argument("--minutes", type=float, default=35.0, help="synthetic speech (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1000, help="of training (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT, help="file to write (default: where the package has it)")
    given = parser.parse_args()
    with progress_bar() as progress:
        features, lips = corpus(60 * given.minutes, given.seed, progress)
        prior, figures = train_prior(features, lips, given.steps, given.seed, progress)
    given.out.write_bytes(pack_prior(prior))
    print(f"{given.out}: {given.out.stat().st_size / 1e3:.0f} kB, correlation {figures['correlation']:.2f}")


def corpus(
    seconds: float, seed: int, progress: Progress = silent
) -> tuple[Float[np.ndarray, "steps width"], Float[np.ndarray, "frames distances"]]:
    """Features of at least `seconds` of synthetic speech, and the mouth at each of its frames. Stage of progress: "corpus".

    Sentences follow one another without gaps: each begins and ends with a moment of silence, longer than half a window.
    """
    random = np.random.default_rng(seed)
    extractor = load_features(FEATURES)
    features, lips = [], []
    for utterance in utterances(seconds, random):
        heard = extractor(utterance.samples)
        frames = len(heard) // STEPS_PER_FRAME
        features.append(heard[: frames * STEPS_PER_FRAME])
        lips.append(mouth(utterance.phonemes, np.arange(frames) / FPS))
        progress("corpus", min(seconds, sum(map(len, lips)) / FPS), seconds)
    return np.concatenate(features), np.concatenate(lips)


def train_prior(
    features: Float[np.ndarray, "steps width"],
    lips: Float[np.ndarray, "frames distances"],
    steps: int,
    seed: int,
    progress: Progress = silent,
) -> tuple[AudioEncoder, dict[str, float]]:
    """An encoder from features to the mouth's distances in standard deviations, and fit_encoder's figures."""
    torch.manual_seed(seed)
    prior = AudioEncoder(features.shape[1], DISTANCES)
    figures = fit_encoder(
        prior,
        torch.from_numpy(features),
        torch.from_numpy((lips - lips.mean(0)) / lips.std(0)),
        torch.ones(len(lips), dtype=torch.bool),
        spectrum=load_features(FEATURES).spectrum,
        frames=range(len(lips)),
        steps=steps,
        seed=seed,
        progress=progress,
    )
    return prior, figures


if __name__ == "__main__":
    main()
