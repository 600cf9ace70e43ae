"""GraphGradients: the forward and backward pass of the fast model's steps as CUDA graphs (docs/decisions/0036-cuda-graphs.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import fields
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from adnerf_core.config import TrainConfig
from adnerf_core.data.ray_batches import RayBatch
from adnerf_core.errors import AdnerfError
from adnerf_core.training.gradients import StepGradients
from adnerf_core.training.task import Phase, StepLoss

WARM_UP = 3
"""Steps of a kind that are taken operator by operator before it is captured: libraries and kernels are loaded in them, which a capture
forbids. As many as in torch's documentation."""


def make_step_gradients(phase: Phase, optimizer: torch.optim.Optimizer, config: TrainConfig) -> StepGradients:
    """Returns what computes the gradients of a phase from now on: with CUDA graphs if the configuration asks for them and the phase can.

    They belong to the weights and the optimizer of now; after a restart they must be made anew.
    """
    if config.cuda_graphs and config.device == "cuda" and phase.kind(0) is not None:
        return GraphGradients(phase, optimizer, config)
    return StepGradients(phase, config)


class StepGraph(NamedTuple):
    """A captured step.

    Attributes:
        graph: what was captured. It reads and writes the memory of the other fields, whatever their tensors hold at the time.
        inputs: the rays.
        figures: those of StepLoss.
        gradients: of each parameter; None if it has none.
    """

    graph: torch.cuda.CUDAGraph
    inputs: RayBatch
    figures: Float[Tensor, " figures"]
    gradients: list[Tensor | None]


class GraphGradients(StepGradients):
    """StepGradients that starts all kernels of a step at once, by one CUDA graph for each kind of step.

    Drawing the rays, the smoothness of the planes and the optimizer's step are no part of the graphs.
    """

    def __init__(self, phase: Phase, optimizer: torch.optim.Optimizer, config: TrainConfig):
        """Prepares graphs of steps that change the parameters of `optimizer`."""
        super().__init__(phase, config)
        self.parameters = [each for group in optimizer.param_groups for each in group["params"]]
        self.stream = torch.cuda.Stream()
        self.taken: Counter[Hashable] = Counter()
        self.graphs: dict[Hashable, StepGraph] = {}

    def add(self, parts: Sequence[RayBatch], step: int) -> StepLoss:
        """Sets the gradients of the parameters to those of a step, whose only part is the whole batch; they must have had none.

        Raises:
            AdnerfError: the step cannot be captured.
        """
        (batch,), kind = parts, self.phase.kind(step)
        self.taken[kind] += 1
        if self.taken[kind] <= WARM_UP:
            return self._warm_up(batch, step)
        if kind not in self.graphs:
            self.graphs[kind] = self._capture(batch, step)
        graph, inputs, figures, gradients = self.graphs[kind]
        self.set_step(step)
        for field in fields(batch):
            getattr(inputs, field.name).copy_(getattr(batch, field.name))
        graph.replay()
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.phase.smooth(step)
        return StepLoss(*figures.clone())

    def _warm_up(self, batch: RayBatch, step: int) -> StepLoss:
        """Takes a step operator by operator, on the stream of the captures, where libraries then have their memory."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            result = super().add((batch,), step)
        torch.cuda.current_stream().wait_stream(self.stream)
        return result

    def _capture(self, batch: RayBatch, step: int) -> StepGraph:
        """Captures a step of the kind of `step`. Without gradients from before, those of the capture have memory that belongs to it."""
        inputs = RayBatch(**{field.name: getattr(batch, field.name).clone() for field in fields(batch)})
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generators[0])
        for parameter in self.parameters:
            parameter.grad = None
        try:
            # Other threads of a worker may ask for the device's memory meanwhile, which the usual mode would take for an error.
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                figures = self.add_part(inputs, step)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise AdnerfError(
                "A step of the training could not be captured as a CUDA graph.",
                "Set ADNERF_CUDA_GRAPHS=false and start the worker anew: CUDA may not work in this process any more.",
                details=error,
            ) from error
        return StepGraph(graph, inputs, figures, [parameter.grad for parameter in self.parameters])
