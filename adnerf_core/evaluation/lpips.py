"""LPIPS, a perceptual distance of two pictures (Zhang et al., CVPR 2018), if its weights are on this machine.

The weights are no part of the project, and nothing is downloaded at run time. `python -m adnerf_core.evaluation.fetch_lpips` fetches
them once, if an operator asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from adnerf_core.evaluation.metrics import Picture

WEIGHTS = "lpips_alexnet_0.1.safetensors"
"""Name of the file of weights in torch's cache: `convolutions.K.weight` and `.bias` of AlexNet, and `distance.K`, for the layers K = 0 to 4."""
LAYERS = 5
"""Number of AlexNet's convolutions, after each of which the distance is measured."""
MEAN, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and standard deviation of R, G and B (-1..1) by which LPIPS normalises pictures; part of its trained weights."""
MIN_EDGE = 31
"""Shortest edge of a picture, in pixels, of which AlexNet's second pooling layer leaves something."""
MIN_NORM = 1e-10
"""Added to the length of a feature vector before it divides the vector, as in the reference implementation."""


def weights_path() -> Path:
    """Returns where the weights are stored: in torch's cache of weights, which TORCH_HOME moves."""
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS


def load_lpips(device: str = "cpu") -> Callable[[Picture, Picture], float] | None:
    """Loads the distance: a function of two pictures of equal size, at least MIN_EDGE px; 0 for equal pictures.

    Returns:
        The function; None if the weights have not been fetched.
    """
    path = weights_path()
    return Lpips(load_file(path)).to(device).eval().requires_grad_(False) if path.exists() else None


class Lpips(nn.Module):
    """Distance of the features of two pictures in AlexNet.

    d = sum over l of mean over pixels of sum over channels of w_lc (f_lc - g_lc)^2, where f_l and g_l are the outputs of AlexNet's
    five ReLU layers, each divided by its length over the channels, and w_l are the trained weights.
    """

    def __init__(self, weights: dict[str, Tensor]):
        """Builds AlexNet's convolutions and loads the weights (see WEIGHTS)."""
        super().__init__()
        layers = (
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.features = nn.Sequential(*layers)
        convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
        for k, layer in enumerate(convolutions):
            layer.load_state_dict({name: weights[f"convolutions.{k}.{name}"] for name in ("weight", "bias")})
        self.weights = nn.ParameterList(weights[f"distance.{k}"].view(1, -1, 1, 1) for k in range(LAYERS))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("spread", torch.tensor(SPREAD).view(1, 3, 1, 1))

    def forward(self, picture: Picture, truth: Picture) -> float:
        """Returns the distance of two RGB pictures."""
        total = torch.zeros((), device=self.mean.device)
        for a, b, weight in zip(self._stages(picture), self._stages(truth), self.weights, strict=True):
            total += ((a - b) ** 2 * weight).sum(1).mean()
        return float(total)

    def _stages(self, picture: Picture) -> list[Float[Tensor, "1 _ _ _"]]:
        """Returns the normalised features of the five ReLU layers."""
        values = torch.from_numpy(picture).to(self.mean.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        values, stages = (values - self.mean) / self.spread, []
        for layer in self.features:
            values = layer(values)
            if isinstance(layer, nn.ReLU):
                stages.append(values / (values.norm(dim=1, keepdim=True) + MIN_NORM))
        return stages
