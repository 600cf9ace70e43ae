"""StepGradients: the forward and backward pass of a training step, in parts that threads of a CPU share, or in one on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from adnerf_core.config import TrainConfig
from adnerf_core.data.ray_batches import step_seed
from adnerf_core.training.parallel import map_in_threads
from adnerf_core.training.task import Phase, StepLoss

MIN_THREAD_RAYS = 2048
"""Rays of a step from which each part has a thread of its own; a smaller part is done sooner than a thread has started on a busy machine."""
MAX_PARTS = 2
"""Most parts of a step (see Phase.sample)."""


class StepGradients:
    """Adds the gradients of the steps of a phase to its parameters.

    What differs between two steps of one kind (Phase.kind) is in tensors and generators that stay, so that a CUDA graph can stand for
    the step (cuda_graphs.py).
    """

    def __init__(self, phase: Phase, config: TrainConfig):
        """Makes the tensors and generators for steps of `phase`."""
        self.phase, self.config = phase, config
        self.generators = [torch.Generator(config.device) for _ in range(MAX_PARTS)]
        self.done = torch.zeros((), device=config.device)

    def add(self, parts: Sequence[Any], step: int) -> StepLoss:
        """Adds the gradients of a step to the parameters: those of the mean loss of all parts, and those of the phase's planes' smoothness.

        The parts of a large step are computed at the same time, by a thread each. Two gradients have the same sum in either order, so
        that the result does not depend on threads; with more parts it would.

        Returns:
            The means of the parts' figures.
        """
        self.set_step(step)
        compute = map_in_threads if self.config.rays >= MIN_THREAD_RAYS else map
        figures = compute(lambda part: self.add_part(parts[part], step, part, len(parts)), range(len(parts)))
        mean = torch.stack(list(figures)).mean(0)
        self.phase.smooth(step)
        return StepLoss(*mean)

    def set_step(self, step: int) -> None:
        """Seeds the generators for a step, and tells the loss which share of the phase is completed."""
        for part, generator in enumerate(self.generators):
            generator.manual_seed(step_seed(self.config.seed, step, part))
        self.done.fill_(step / self.phase.steps)

    def add_part(self, batch: Any, step: int, part: int = 0, parts: int = 1) -> Float[Tensor, " figures"]:
        """Adds the gradients of one part of `parts`, and returns its figures, those of StepLoss."""
        result = self.phase.loss(batch, step, self.done, self.generators[part])
        (result.loss / parts).backward()
        return torch.stack([value.detach() for value in result])
