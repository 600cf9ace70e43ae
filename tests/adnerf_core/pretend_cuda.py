"""A pretended CUDA device: tensors that say they are on `cuda` while the CPU computes them.

Inside pretend_cuda(), code that is written for a GPU runs on a machine without one, and fails where a GPU would refuse it or would be slow:

* An operator that gets tensors of both devices raises, as CUDA does. Tensors without dimensions and indices may be on the CPU, as there.
* A float64 tensor on the device raises: a GPU computes with them at a small share of its speed.
* Each time at which the host would have to wait for the device is counted, with the line of ours that causes it: reading a number,
  copies in either direction that are not `non_blocking`, and operators whose result has a shape that depends on the data.

To the C++ code of torch the tensors are "meta" tensors, which need neither a driver nor a build for CUDA; a dispatch mode computes every
operator, also those of the backward pass, on the values that they hold. What it does not show: the kernels, their speed, and streams.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

REAL = os.environ.get("ADNERF_TEST_CUDA") == "real"
DEVICE = torch.device("cuda", 0)
CORE = str(Path(__file__).parents[2] / "adnerf_core")
aten = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)
INDEXING = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default)
WAITING = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.repeat_interleave.Tensor,
    aten.multinomial.default,  # checks the sum of the probabilities
    aten._linalg_check_errors.default,
    aten.linalg_matrix_exp.default,  # chooses a degree for each matrix
    aten._linalg_svd.default,
}
"""Operators that make the host wait for the device, besides copies and indexing with masks."""


class CudaTensor(Tensor):
    """A tensor that says it is on `cuda`; `values`, on the CPU, are what it holds."""

    values: Tensor
    device = property(lambda self: DEVICE)
    is_cuda = property(lambda self: True)
    is_cpu = is_meta = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor):
        layout = {"strides": values.stride(), "storage_offset": values.storage_offset()}
        # C++ makes views of normal tensors in this mode too, and refuses those of others.
        with torch.inference_mode(False):
            tensor = Tensor._make_wrapper_subclass(cls, values.shape, dtype=values.dtype, device="meta", **layout)
        tensor.values = values
        return tensor

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise RuntimeError(f"{function} gets a tensor of the pretended device outside of pretend_cuda()")

    def __repr__(self) -> str:
        return f"CudaTensor({self.values})"

    def tolist(self) -> Any:
        """As torch.Tensor.tolist, which refuses subclasses."""
        return self.cpu().tolist()

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None) -> Tensor:
        """As torch.Tensor.new_tensor, which would return an empty meta tensor."""
        return torch.tensor(data, dtype=dtype or self.dtype, device=DEVICE)


CpuGenerator = torch.Generator


SEED_OF_DEVICE = 1 << 63
"""Bit of the seed by which generators of the device are recognised: C++ does not keep their class. Numbers depend on lower bits only."""


class CudaGenerator(CpuGenerator):
    """A generator of the pretended device; it draws what one of the CPU with the same seed draws."""

    device = property(lambda self: DEVICE)

    def manual_seed(self, seed: int) -> CpuGenerator:
        super().manual_seed(seed | SEED_OF_DEVICE)
        return self


class _GeneratorType(type):
    def __instancecheck__(cls, each: Any) -> bool:
        return isinstance(each, CpuGenerator)


class _Generator(metaclass=_GeneratorType):
    """Stands for torch.Generator, which knows no device that is not there."""

    def __new__(cls, device: torch.device | str = "cpu") -> CpuGenerator:
        return CpuGenerator() if torch.device(device).type == "cpu" else CudaGenerator().manual_seed(0)


class Waits:
    """The times at which the host waited for the device so far.

    count: their number.
    places: how many of them each line of the core caused, with the operator.
    capture: the graph that is being captured (pretend_graphs.py), or None. CUDA forbids waits while there is one.
    """

    def __init__(self) -> None:
        self.count, self.places = 0, Counter()
        self.capture: Any = None

    def add(self, function: Any) -> None:
        """Counts one, caused by `function`."""
        if self.capture is not None:
            raise RuntimeError(f"{function}: operation not permitted when stream is capturing")
        self.count += 1
        frame = sys._getframe(1)
        while frame is not None and not frame.f_code.co_filename.startswith(CORE):
            frame = frame.f_back
        place = f"{frame.f_code.co_filename.removeprefix(CORE)[1:]}:{frame.f_lineno}" if frame else "elsewhere"
        self.places[f"{place} {function}"] += 1


class _PretendMode(TorchDispatchMode):
    """Computes every operator of one thread that has to do with the pretended device."""

    def __init__(self, waits: Waits):
        super().__init__()
        self.waits = waits

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and loading the compiler takes seconds

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        # Operators that are made of others come whole then, without their kernels.
        if torch.is_inference_mode_enabled():
            with self:
                result = function.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        flat = tree_flatten((args, kwargs))[0]
        ours = {id(each.values): each for each in flat if isinstance(each, CudaTensor)}
        asked = kwargs.get("device")
        to_device = bool(ours) if asked is None else torch.device(asked).type != "cpu"
        generator = kwargs.get("generator")
        if generator is not None and bool(generator.initial_seed() & SEED_OF_DEVICE) != to_device:
            raise RuntimeError(f"{function}: generator and tensor are on different devices")
        if not ours and not to_device:
            return function(*args, **kwargs)
        self._check(function, args, kwargs, flat, to_device)
        if asked is not None:
            kwargs["device"] = "cpu"
        held = tree_map(_values, args), tree_map(_values, kwargs)
        values = function(*held[0], **held[1])
        if self.waits.capture is not None:
            self.waits.capture.note(function, *held, values)

        def placed(value: Any) -> Any:
            if not isinstance(value, Tensor) or id(value) in ours:
                return ours.get(id(value), value)  # an operator that works in place returns its argument
            if not to_device:
                return value
            if value.dtype == torch.float64:
                raise TypeError(f"{function} makes a float64 tensor on the device")
            return CudaTensor(value)

        if function is aten.copy_.default:
            return args[0]
        return tree_map(placed, values)

    def _check(self, function: Any, args: tuple, kwargs: dict, flat: list, to_device: bool) -> None:
        """Refuses what a GPU refuses, and counts where the host waits."""
        elsewhere = [each for each in flat if isinstance(each, Tensor) and not isinstance(each, CudaTensor)]
        if function in COPIES:
            target = isinstance(args[0], CudaTensor) if function is aten.copy_.default else to_device
            source = args[1] if function is aten.copy_.default else args[0]
            to_host = not target
            blocking = to_host or not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
            if isinstance(source, CudaTensor) != target and blocking:
                self.waits.add(function)
            return
        if function in INDEXING:
            indices = [each for each in args[1] if each is not None]
            others = [args[0], *args[2:3]]
            if any(each.dim() and not isinstance(each, CudaTensor) for each in others):
                raise RuntimeError(f"{function}: indices are on `cuda`, the rest is on the CPU")
            if any(each.dtype in (torch.bool, torch.uint8) or not isinstance(each, CudaTensor) for each in indices):
                self.waits.add(function)
            return
        if kwargs.get("device") is None and any(each.dim() for each in elsewhere):
            raise RuntimeError(f"{function}: tensors are on `cuda` and on the CPU")
        if function in WAITING:
            self.waits.add(function)


TENSOR_TO, MAKE_TENSOR = Tensor.to, torch.tensor


def _numbered(value: Any) -> Any:
    """Returns "cuda" as "cuda:0", other values as they are: without a number, C++ would ask the driver which device is meant."""
    is_device = isinstance(value, torch.device) or (isinstance(value, str) and value.startswith("cuda"))
    return DEVICE if is_device and torch.device(value).type == "cuda" else value


def _to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """As torch.Tensor.to."""
    return TENSOR_TO(tensor, *map(_numbered, args), **{name: _numbered(value) for name, value in kwargs.items()})


def _tensor(data: Any, *, device: torch.device | str | None = None, **kwargs: Any) -> Tensor:
    """As torch.tensor, which makes a tensor on the CPU and then copies it: in C++ that needs a driver."""
    made = MAKE_TENSOR(data, **kwargs)
    return made if device is None else made.to(device)


def _values(value: Any) -> Any:
    return value.values if isinstance(value, CudaTensor) else value


@contextmanager
def _counting_on_the_device(waits: Waits) -> Iterator[None]:
    """Counts the warnings of torch's own debugging of waits."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: waits.add(message) if "synchroniz" in str(message) else None
        torch.set_warn_always(True)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
            torch.set_warn_always(False)


@contextmanager
def pretend_cuda() -> Iterator[Waits]:
    """Pretends that the machine has one CUDA device inside the block, also in the threads of pools that are used there.

    With ADNERF_TEST_CUDA=real the machine has one: nothing is pretended, and torch itself counts the waits that it knows of.
    """
    waits, submit = Waits(), ThreadPoolExecutor.submit
    if REAL:
        with _counting_on_the_device(waits):
            yield waits
        return

    def submit_pretending(pool: ThreadPoolExecutor, function: Any, *args: Any, **kwargs: Any) -> Any:
        def work() -> Any:
            with _PretendMode(waits):
                return function(*args, **kwargs)

        return submit(pool, work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "submit", submit_pretending)
        patch.setattr(torch, "Generator", _Generator)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)  # optimizers would ask its stream
        patch.setattr(Tensor, "to", _to)
        patch.setattr(torch, "tensor", _tensor)
        with _PretendMode(waits):
            yield waits
