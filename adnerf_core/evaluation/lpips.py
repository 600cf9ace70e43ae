"""LPIPS, a perceptual distance of two pictures (Zhang et al., CVPR 2018), if its weights are on this machine.

Nothing is downloaded. Two files are needed: torchvision's AlexNet (`torchvision.models.alexnet`, IMAGENET1K_V1) in torch's cache
of weights, where torchvision stores it, and `alex.pth`, the 1152 weights of the distance, from the Python package `lpips`
(pip install --no-deps lpips). Neither package is imported: torchmetrics' and lpips' own code need torchvision, which has no build
for the CPU build of torch that is installed here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adnerf_core.evaluation.metrics import Picture

ALEXNET = "alexnet-owt-7be5be79.pth"
DISTANCE = "weights/v0.1/alex.pth"
MEAN, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and standard deviation of R, G and B (-1..1) by which LPIPS normalises pictures; part of its trained weights."""
MIN_NORM = 1e-10
"""Added to the length of a feature vector before it divides the vector, as in the reference implementation."""


def load_lpips(device: str = "cpu") -> Callable[[Picture, Picture], float] | None:
    """Loads the distance: a function of two pictures of equal size, at least 32 px; 0 for equal pictures.

    Returns:
        The function; None if one of the two files is missing.
    """
    alexnet = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    package = find_spec("lpips")
    distance = Path(package.submodule_search_locations[0]) / DISTANCE if package else None
    if distance is None or not distance.exists() or not alexnet.exists():
        return None
    return Lpips(_read(alexnet), _read(distance)).to(device).eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)


class Lpips(nn.Module):
    """Distance of the features of two pictures in AlexNet.

    d = sum over l of mean over pixels of sum over channels of w_lc (f_lc - g_lc)^2, where f_l and g_l are the outputs of AlexNet's
    five ReLU layers, each divided by its length over the channels, and w_l are the trained weights.
    """

    def __init__(self, alexnet: dict[str, Tensor], distance: dict[str, Tensor]):
        """Builds AlexNet's convolutions and loads the weights.

        Args:
            alexnet: torchvision's state dict of AlexNet.
            distance: The state dict of alex.pth: lin0.model.1.weight to lin4.model.1.weight, each [1, channels, 1, 1].
        """
        super().__init__()
        layers = (
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.features = nn.Sequential(*layers)
        prefix = "features."
        convolutions = {key[len(prefix) :]: value for key, value in alexnet.items() if key.startswith(prefix)}
        self.features.load_state_dict(convolutions)
        self.weights = nn.ParameterList(distance[f"lin{k}.model.1.weight"] for k in range(5))
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
