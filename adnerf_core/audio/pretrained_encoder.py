"""Pretrained encoders: what speech in general does to the mouth, learnt from synthetic speech by `python -m audio_pretraining`.

Each is an AudioEncoder of the spectrum and the phonemes of one layer of the recogniser. Its code is the opening, height and width of the
mouth (lip_pca.mouth_distances), each in standard deviations. A subject's encoder starts from it, because a minute of one voice is too
little to learn from.

A *prior of lips* (training/lip_prior.py) replaces them all: one file with the weights of each layer, learnt on from these by the speech of
people.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from adnerf_core.audio.encoder import MEMBERS, AudioEncoder
from adnerf_core.audio.moonshine import LAST_LAYER
from adnerf_core.errors import NotReady

FILES = {
    2: files("adnerf_core.audio") / "prior_2.safetensors",
    3: files("adnerf_core.audio") / "prior_3.safetensors",
    LAST_LAYER: files("adnerf_core.audio") / "prior.safetensors",
}
"""The pretrained encoder for each layer of the recogniser (see phonemes.FILES)."""
LAYERS = {"mel+phones:2,3,5": (2, 3, LAST_LAYER), "mel+phones:3": (3,), "mel+phones": (LAST_LAYER,)}
"""Layer whose pretrained encoder each stream but the last starts from, by features. All but the first are those of earlier versions."""
NUM_DISTANCES = 3
RIDGE = 0.01
"""Ridge regularisation of the map to a subject's lip code, relative to the variance of a distance. It matters if the three distances
are nearly collinear in the footage, whose map would otherwise have large entries of opposite sign."""
MIN_STD = 1e-6
"""Smallest standard deviation that distances are divided by, for footage in which the mouth never moves."""


def load_pretrained(layer: int, prior: Path | None = None) -> AudioEncoder:
    """Loads a pretrained encoder, frozen.

    Args:
        layer: a key of FILES.
        prior: the prior of lips that it is taken from; None for the one of FILES.

    Raises:
        NotReady: `prior` is missing or damaged.
    """
    if prior is None:
        weights = load(FILES[layer].read_bytes())
    else:
        try:
            weights = {
                name.removeprefix(f"{layer}."): value
                for name, value in load(prior.read_bytes()).items()
                if name.startswith(f"{layer}.")
            }
            weights["mean"]
        except (OSError, SafetensorError, KeyError) as error:
            raise _no_prior(prior, error) from error
    with torch.device("meta"):  # draws no random weights: another thread may be training
        pretrained = AudioEncoder(len(weights["mean"]), NUM_DISTANCES)
    try:
        pretrained.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    except RuntimeError as error:  # of a version whose encoders have another form
        raise _no_prior(prior, error) from error
    return pretrained.requires_grad_(False)


def check_prior(prior: Path) -> None:
    """Checks that trainings of this version can start from a prior of lips.

    Raises:
        NotReady: they cannot: `prior` is missing, damaged, or of another version.
    """
    for layer in FILES:
        load_pretrained(layer, prior)


def _no_prior(prior: Path | None, error: Exception) -> NotReady:
    return NotReady(f"{prior} is no prior of lips ({error}).", "Learn it again, or train without it.")


def serialize(pretrained: AudioEncoder) -> bytes:
    """Returns the content of one of FILES for an encoder: its weights, in half precision."""
    return save(_half(pretrained))


def serialize_prior(encoders: Mapping[int, AudioEncoder]) -> bytes:
    """Returns the content of a prior of lips: the weights of the encoder of each layer, in half precision."""
    return save(
        {f"{layer}.{name}": value for layer, encoder in encoders.items() for name, value in _half(encoder).items()}
    )


def _half(encoder: AudioEncoder) -> dict[str, Tensor]:
    return {name: value.half().contiguous() for name, value in encoder.state_dict().items()}


@torch.no_grad()
def init_from_pretrained(
    encoder: AudioEncoder,
    codes: Float[Tensor, "n code"],
    distances: Float[Tensor, "n distances"],
    layer: int,
    prior: Path | None = None,
) -> None:
    """Initialises `encoder`, in place, with the pretrained weights, so that it predicts lip codes of the subject.

    The map from standardised distances D to lip codes C is the ridge regression

        W = (D'D + n RIDGE I)^-1 D'C,

    and the last layer, which gives D = A h + b from the layers before it, becomes C = W'A h + W'b.

    Args:
        encoder: of the spectrum, the phonemes of `layer`, and the subject's lip code.
        codes: lip codes of the subject's training frames.
        distances: mouth_distances of the same frames, in any unit.
        layer: a key of FILES.
        prior: see load_pretrained.

    Raises:
        NotReady: `prior` is missing or damaged.
    """
    pretrained = load_pretrained(layer, prior).to(codes.device)
    standard = (distances - distances.mean(0)) / distances.std(0).clamp(min=MIN_STD)
    ridge = RIDGE * len(standard) * torch.eye(NUM_DISTANCES, device=codes.device)
    to_codes = torch.linalg.solve(standard.T @ standard + ridge, standard.T @ codes)
    encoder.layers.load_state_dict(pretrained.layers.state_dict())
    encoder.mean.copy_(pretrained.mean)
    encoder.spread.copy_(pretrained.spread)
    weight = pretrained.last.weight.view(MEMBERS, NUM_DISTANCES, -1)
    bias = pretrained.last.bias.view(MEMBERS, NUM_DISTANCES)
    encoder.last.weight.copy_(torch.einsum("mdh,dc->mch", weight, to_codes).reshape_as(encoder.last.weight))
    encoder.last.bias.copy_((bias @ to_codes).reshape_as(encoder.last.bias))
