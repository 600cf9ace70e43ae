"""LPIPS: how different two pictures look to people (Zhang et al., CVPR 2018), where its weights lie on this machine.

Nothing is ever downloaded. Two files are needed: torchvision's AlexNet (`torchvision.models.alexnet`, IMAGENET1K_V1) in torch's
cache of weights, where torchvision puts it, and `alex.pth`, the 1152 weights of the distance, which comes inside the Python
package `lpips` (pip install --no-deps lpips). Neither package is imported.
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
"""Of the colours -1..1, as LPIPS was trained."""


def load_lpips(device: str = "cpu") -> Callable[[Picture, Picture], float] | None:
    """The distance (0: the same picture) of two pictures of one size, at least 32 px; None where a file is missing."""
    alexnet = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    package = find_spec("lpips")
    distance = Path(package.submodule_search_locations[0]) / DISTANCE if package else None
    if distance is None or not distance.exists() or not alexnet.exists():
        return None
    return Lpips(_read(alexnet), _read(distance)).to(device).eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)


class Lpips(nn.Module):
    """AlexNet's five stages of features, normalised in every place; squared differences, weighted by channel and averaged."""

    def __init__(self, alexnet: dict[str, Tensor], distance: dict[str, Tensor]):
        """`alexnet`: torchvision's state dict; `distance`: lin0.model.1.weight .. lin4, [1, channels, 1, 1] each."""
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
        kept = {key[len(prefix) :]: value for key, value in alexnet.items() if key.startswith(prefix)}
        self.features.load_state_dict(kept)
        self.weights = nn.ParameterList(distance[f"lin{k}.model.1.weight"] for k in range(5))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("spread", torch.tensor(SPREAD).view(1, 3, 1, 1))

    def forward(self, picture: Picture, truth: Picture) -> float:
        """The distance of two RGB pictures."""
        total = torch.zeros((), device=self.mean.device)
        for a, b, weight in zip(self._stages(picture), self._stages(truth), self.weights, strict=True):
            total += ((a - b) ** 2 * weight).sum(1).mean()
        return float(total)

    def _stages(self, picture: Picture) -> list[Float[Tensor, "1 _ _ _"]]:
        values = torch.from_numpy(picture).to(self.mean.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        values, seen = (values - self.mean) / self.spread, []
        for layer in self.features:
            values = layer(values)
            if isinstance(layer, nn.ReLU):
                seen.append(values / (values.norm(dim=1, keepdim=True) + 1e-10))
        return seen
