"""CUDA graphs on the pretended device: a capture notes the operators, and a replay computes them again.

As with a real graph, a replay reads and writes the memory that the operators of the capture had, with the numbers of Python that they
had, and draws from the registered generators; a capture itself computes nothing that is kept. So a step whose replay gives what the step
gives holds no number and no tensor that should have changed. What it does not show: the reuse of freed memory, streams, and what CUDA
refuses to capture besides waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from tests.adnerf_core.pretend_cuda import REAL, Waits, pretend_cuda


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


class PretendedGraph:
    """Stands for torch.cuda.CUDAGraph.

    replays: how often it was replayed.
    """

    def __init__(self) -> None:
        self.generators: list[torch.Generator] = []
        self.operators: list[tuple[Any, tuple, dict, Any]] = []
        self.outside, self.own = set(), set()  # addresses of memory
        self.replays = 0

    def register_generator_state(self, generator: torch.Generator) -> None:
        """As torch.cuda.CUDAGraph.register_generator_state."""
        self.generators.append(generator)

    def note(self, function: Any, args: tuple, kwargs: dict, result: Any) -> None:
        """Notes an operator of the capture."""
        generator = kwargs.get("generator")
        seeds = [each.initial_seed() for each in self.generators]  # C++ does not keep the object
        if generator is not None and generator.initial_seed() not in seeds:
            raise RuntimeError(f"{function}: its generator is not registered with the graph")
        if torch.Tag.nondeterministic_seeded in function.tags and generator is None:
            raise RuntimeError(f"{function}: draws without a generator")
        self.outside |= {each.untyped_storage().data_ptr() for each in _tensors((args, kwargs))} - self.own
        self.own |= {each.untyped_storage().data_ptr() for each in _tensors(result)} - self.outside
        self.operators.append((function, args, kwargs, result))

    def forget(self) -> None:
        """Spoils what the capture computed: CUDA computes nothing then."""
        with _disable_current_modes(), torch.no_grad():
            for each in _tensors([result for *_, result in self.operators]):
                if each.is_floating_point() and each.untyped_storage().data_ptr() in self.own:
                    each.fill_(torch.nan)

    def replay(self) -> None:
        """As torch.cuda.CUDAGraph.replay."""
        self.replays += 1
        with _disable_current_modes(), torch.no_grad():
            for function, args, kwargs, result in self.operators:
                for old, new in zip(_tensors(result), _tensors(function(*args, **kwargs)), strict=True):
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)


@contextmanager
def pretend_graphs() -> Iterator[tuple[Waits, list[PretendedGraph]]]:
    """pretend_cuda() with graphs; yields its waits, and the graphs that are captured. Nothing is pretended on a real device."""
    graphs: list[Any] = []
    with pretend_cuda() as waits, pytest.MonkeyPatch.context() as patch:
        graph_type = torch.cuda.CUDAGraph if REAL else PretendedGraph

        def new_graph() -> Any:
            graphs.append(graph_type())
            return graphs[-1]

        @contextmanager
        def capture(graph: PretendedGraph, stream: object = None, capture_error_mode: str = "global") -> Iterator[None]:
            waits.capture = graph
            try:
                yield
            finally:
                waits.capture = None
            graph.forget()

        patch.setattr(torch.cuda, "CUDAGraph", new_graph)
        if not REAL:
            stream = SimpleNamespace(wait_stream=lambda other: None)
            patch.setattr(torch.cuda, "graph", capture)
            patch.setattr(torch.cuda, "Stream", lambda: stream)
            patch.setattr(torch.cuda, "current_stream", lambda: stream)
            patch.setattr(torch.cuda, "stream", lambda _: nullcontext())
        yield waits, graphs
