"""A cached density grid: where matter may be, so that rays are sampled there and empty rays are skipped."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

DECAY = 0.85
"""How fast a cell forgets a density that the field no longer has, a refresh."""


class DensityGrid(nn.Module):
    """The largest density seen lately in each cell of the box [-1, 1]^3, over all conditions (mouth open, shut, ...).

    Stored [z, y, x], flat. Starts at `initial` everywhere, so that the first steps sample uniformly.
    """

    cells: Tensor

    def __init__(self, resolution: int, initial: float = 0.1):
        super().__init__()
        self.resolution = resolution
        self.register_buffer("cells", torch.full((resolution**3,), initial))

    def lookup(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        """The cached density at `points` (nearest cell; points outside the box take the nearest cell inside)."""
        scaled = ((axis + 1) * (self.resolution / 2) for axis in points.unbind(-1))
        return self._take(*scaled)

    def along(
        self,
        origins: Float[Tensor, "rays 3"],
        directions: Float[Tensor, "rays 3"],
        places: Float[Tensor, "rays places"],
    ) -> Float[Tensor, "rays places"]:
        """`lookup` of the points origin + place * direction, axis by axis, which spares making them."""
        half = self.resolution / 2
        axes = zip(((origins + 1) * half).T, (directions * half).T, strict=True)
        return self._take(*(torch.addcmul(origin[:, None], places, direction[:, None]) for origin, direction in axes))

    def _take(
        self, x: Float[Tensor, "*batch"], y: Float[Tensor, "*batch"], z: Float[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch"]:
        """The densities at coordinates counted in cells."""
        x, y, z = (axis.int().clamp_(0, self.resolution - 1) for axis in (x, y, z))
        flat = z.mul_(self.resolution).add_(y).mul_(self.resolution).add_(x)
        return self.cells.index_select(0, flat.flatten()).view(flat.shape)

    def centers(self) -> Float[Tensor, "cells 3"]:
        """The centres of all cells, in storage order."""
        steps = (torch.arange(self.resolution, device=self.cells.device) + 0.5) * (2 / self.resolution) - 1
        z, y, x = torch.meshgrid(steps, steps, steps, indexing="ij")
        return torch.stack([x, y, z], -1).reshape(-1, 3)

    @torch.no_grad()
    def refresh(
        self,
        density: Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]],
        part: tuple[int, int],
        generator: torch.Generator,
        forget: bool = False,
    ) -> None:
        """Looks at the field again in every `part[1]`-th cell, starting at `part[0]`, at a random place inside each cell.

        `forget` takes the field's present word for it (at the end of the uniform start) instead of the running maximum.
        """
        chosen = slice(part[0], None, part[1])
        points = self.centers()[chosen]
        noise = torch.rand(points.shape, generator=generator).to(points.device) - 0.5
        seen = density(points + noise * (2 / self.resolution))
        self.cells[chosen] = seen if forget else torch.maximum(self.cells[chosen] * DECAY, seen)

    def occupied(self, threshold: float) -> Float[Tensor, "cubes 3"]:
        """Centres of the cubes of 2 x 2 x 2 cells that hold a cell denser than `threshold`."""
        edge = self.resolution
        cubes = nn.functional.max_pool3d(self.cells.view(1, 1, edge, edge, edge), 2)[0, 0]
        z, y, x = (cubes > threshold).nonzero().unbind(-1)
        return (torch.stack([x, y, z], -1) + 0.5) * (4 / edge) - 1
