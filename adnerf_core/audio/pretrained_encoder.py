"""The prior: what speech in general does to lips, learnt from synthetic speech (python -m audio_pretraining makes it).

It is an AudioEncoder of the features FEATURES, whose code is the mouth's opening, height and width (lips.mouth_distances),
each in standard deviations. A subject's encoder starts from it and learns on.
"""

from __future__ import annotations

from importlib.resources import files

import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor

from adnerf_core.audio.encoder import MEMBERS, AudioEncoder

FEATURES = "mel+phones"
FILE = files("adnerf_core.audio") / "prior.safetensors"
DISTANCES = 3
RIDGE = 0.01
"""Keeps the map to the subject's code small where the three distances go together."""


def load_pretrained(width: int) -> AudioEncoder:
    """The prior's encoder, for features of `width` numbers."""
    prior = AudioEncoder(width, DISTANCES)
    prior.load_state_dict({name: value.float() for name, value in load(FILE.read_bytes()).items()})
    return prior.requires_grad_(False)


def serialize(prior: AudioEncoder) -> bytes:
    """What FILE holds of a prior: its weights in half precision."""
    return save({name: value.half().contiguous() for name, value in prior.state_dict().items()})


@torch.no_grad()
def init_from_pretrained(
    encoder: AudioEncoder, codes: Float[Tensor, "n code"], distances: Float[Tensor, "n distances"]
) -> None:
    """Gives `encoder`, in place, the prior's weights, so that it says the lip codes that go with what the prior says.

    `codes` and `distances` (see lips.mouth_distances) of the subject's training frames tell how the two go together.
    """
    prior = load_pretrained(len(encoder.mean)).to(codes.device)
    standard = (distances - distances.mean(0)) / distances.std(0).clamp(min=1e-6)
    stiffness = RIDGE * len(standard) * torch.eye(DISTANCES, device=codes.device)
    to_codes = torch.linalg.solve(standard.T @ standard + stiffness, standard.T @ codes)
    encoder.layers.load_state_dict(prior.layers.state_dict())
    encoder.mean.copy_(prior.mean)
    encoder.spread.copy_(prior.spread)
    weight, bias = prior.last.weight.view(MEMBERS, DISTANCES, -1), prior.last.bias.view(MEMBERS, DISTANCES)
    encoder.last.weight.copy_(torch.einsum("mdh,dc->mch", weight, to_codes).reshape_as(encoder.last.weight))
    encoder.last.bias.copy_((bias @ to_codes).reshape_as(encoder.last.bias))
