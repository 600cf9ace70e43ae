"""ChosenRays: the rays of a batch for which a field counts, and how they are evaluated without the others, or among them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor


class ChosenRays:
    """Some rays of a batch, which alone show a field.

    Only these are evaluated, except in training on CUDA, where all are evaluated and the others are covered afterwards. How many are
    chosen is known on the device alone, and the host would have to wait for it in every step. Whether that takes less time is unmeasured.

    Attributes:
        chosen: which rays.
        indices: of these; None if all are evaluated.
    """

    def __init__(self, chosen: Bool[Tensor, " rays"], all_evaluated: bool = False):
        self.chosen = chosen
        self.indices = None if all_evaluated else chosen.nonzero()[:, 0]

    def take(self, values: Shaped[Tensor, "rays ..."]) -> Shaped[Tensor, "evaluated ..."]:
        """Returns the values of the rays that are evaluated."""
        return values if self.indices is None else values[self.indices]

    def put(self, values: Float[Tensor, "evaluated ..."], elsewhere: float) -> Float[Tensor, "rays ..."]:
        """Returns values of all rays: those of the chosen ones, and `elsewhere` of the others."""
        if self.indices is None:
            return torch.where(self.chosen.view(-1, *[1] * (values.dim() - 1)), values, elsewhere)
        return values.new_full((len(self.chosen), *values.shape[1:]), elsewhere).index_copy(0, self.indices, values)


def trains_on_cuda(values: Tensor) -> bool:
    """Returns whether `values` are on a GPU and gradients are wanted: then no shape may depend on them (see ChosenRays)."""
    return values.is_cuda and torch.is_grad_enabled()
