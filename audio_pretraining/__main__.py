"""python -m audio_pretraining: makes phones_N.safetensors and prior_N.safetensors of adnerf_core/audio, for layers N of the recogniser.

The first holds the linear discriminants of phonemes, the second the pretrained encoder. All are made from the voices of espeak-ng
alone, in about two CPU-minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped

from adnerf_core.audio import phonemes, pretrained_encoder
from adnerf_core.audio.encoder import AudioEncoder
from adnerf_core.audio.mel import Mel
from adnerf_core.audio.moonshine import LAST_LAYER, MoonshineEncoder
from adnerf_core.audio.phonemes import DIRECTIONS, voice_activity
from adnerf_core.audio.pretrained_encoder import NUM_DISTANCES, serialize
from adnerf_core.audio.train_encoder import EncoderData, train_encoder
from adnerf_core.audio.windows import STEPS_PER_FRAME
from adnerf_core.cli_progress import progress_bar
from adnerf_core.config import FPS
from adnerf_core.progress import Progress, silent
from audio_pretraining.phoneme_mouth_model import synthesize_mouth
from audio_pretraining.phonemes import discriminants, labels
from audio_pretraining.speech import utterances

OUT = Path(__file__).parents[1] / "adnerf_core" / "audio"
MINUTES = 35.0
"""Minutes of synthetic speech. Two or three times as many made no difference beyond chance (docs/fidelity.md)."""
STEPS = 1000


class Corpus(NamedTuple):
    """Synthetic speech.

    Attributes:
        spectrum: mel features of each step (see Mel).
        states: hidden states of each layer of the recogniser (see MoonshineEncoder).
        activity: weight of each step (see voice_activity).
        phonemes: the phoneme of each step (see phonemes.labels).
        mouth: opening, height and width of the mouth in each video frame.
    """

    spectrum: Float[np.ndarray, "steps bands"]
    states: Float[np.ndarray, "steps layers width"]
    activity: Float[np.ndarray, " steps"]
    phonemes: Shaped[np.ndarray, " steps"]
    mouth: Float[np.ndarray, "frames distances"]


def main() -> None:
    """Parses the command line, makes the files and writes them."""
    parser = argparse.ArgumentParser(prog="python -m audio_pretraining", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="synthetic speech (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="of training (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--layers",
        type=int,
        nargs="+",
        default=[layer for layer in phonemes.FILES if layer != LAST_LAYER],
        choices=phonemes.FILES,
        help="of the recogniser (default: %(default)s). The directions of the last one also belong to subjects of earlier versions, which "
        "would not understand new ones",
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, help="folder to write to (default: where the package has them)"
    )
    args = parser.parse_args()
    with progress_bar() as progress:
        corpus = make_corpus(60 * args.minutes, args.layers, args.seed, progress)
        for number, layer in enumerate(args.layers):
            states = corpus.states[:, number]
            found = discriminants(states, corpus.phonemes, DIRECTIONS)
            separated = found(states) * corpus.activity[:, None]
            features = np.concatenate([corpus.spectrum, separated], axis=1).astype(np.float32)
            encoder, figures = pretrain(features, corpus.mouth, args.steps, args.seed, progress)
            for file, content in (
                (phonemes.FILES[layer], found.serialize()),
                (pretrained_encoder.FILES[layer], serialize(encoder)),
            ):
                (args.out / file.name).write_bytes(content)
                print(f"{args.out / file.name}: {len(content) / 1e3:.0f} kB")
            print(f"layer {layer}: correlation {figures['correlation']:.2f}")


def make_corpus(seconds: float, layers: Sequence[int], seed: int, progress: Progress = silent) -> Corpus:
    """Makes at least `seconds` of synthetic speech.

    Utterances simply follow each other. Each begins and ends with at least .3 s of silence, more than half a window, so a window that
    reaches into the neighbouring utterance finds silence there.

    Args:
        seconds: length of the speech.
        layers: the recogniser's layers whose states are kept.
        seed: of voices, texts and recording conditions.
        progress: called with the stage "corpus".
    """
    random = np.random.default_rng(seed)
    mel, recogniser = Mel(), MoonshineEncoder(layers)
    parts, total_frames = [], 0
    for utterance in utterances(seconds, random):
        spectrum = mel(utterance.samples)
        frames = len(spectrum) // STEPS_PER_FRAME
        steps = frames * STEPS_PER_FRAME
        parts.append(
            Corpus(
                spectrum[:steps],
                recogniser(utterance.samples)[:, :steps].swapaxes(0, 1),
                voice_activity(utterance.samples)[:steps],
                labels(utterance.phonemes, (np.arange(steps) + 0.5) / mel.rate),
                synthesize_mouth(utterance.phonemes, np.arange(frames) / FPS),
            )
        )
        total_frames += frames
        progress("corpus", min(seconds, total_frames / FPS), seconds)
    return Corpus(*map(np.concatenate, zip(*parts, strict=True)))


def pretrain(
    features: Float[np.ndarray, "steps width"],
    mouth: Float[np.ndarray, "frames distances"],
    steps: int,
    seed: int,
    progress: Progress = silent,
) -> tuple[AudioEncoder, dict[str, float]]:
    """Trains an encoder from features to the standardised distances of the mouth.

    Returns:
        The encoder, and the figures of train_encoder.
    """
    torch.manual_seed(seed)
    encoder = AudioEncoder(features.shape[1], NUM_DISTANCES)
    codes = torch.from_numpy((mouth - mouth.mean(0)) / mouth.std(0))
    data = EncoderData(torch.from_numpy(features), Mel.spectrum_width, codes, torch.arange(len(mouth)))
    return encoder, train_encoder(encoder, data, steps=steps, seed=seed, progress=progress)


if __name__ == "__main__":
    main()
