"""Runs networks in LiteRT's format. Those of MediaPipe come with this package (models/NOTICE.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from adnerf_core.errors import MissingBackend
from adnerf_core.face.suppress_stderr import suppress_stderr

MODELS = Path(__file__).parent / "models"


def read_model(name: str) -> bytes:
    """Reads a file of MODELS. Raises MissingBackend if it is not there."""
    try:
        return (MODELS / name).read_bytes()
    except FileNotFoundError as error:
        raise MissingBackend(
            f"The model file {name} of this package is missing.",
            "Install the package again, or ask the operator to.",
        ) from error


@contextmanager
def _importing_litert() -> Iterator[None]:
    """LiteRT is imported where it is used, because it is not installed where only the API runs."""
    try:
        yield
    except ImportError as error:
        raise MissingBackend(
            "Finding faces and people needs LiteRT.", "Run: pip install ai-edge-litert, or ask the operator to."
        ) from error


class Network:
    """A network, which is computed in the calling thread alone. Raises MissingBackend if LiteRT is missing.

    Args:
        model: content of a .tflite file with standard operators only.
    """

    def __init__(self, model: bytes):
        with _importing_litert():
            from ai_edge_litert.interpreter import Interpreter
        with suppress_stderr():  # LiteRT says there which of its delegates it uses
            self._interpreter = Interpreter(model_content=model, num_threads=1)
            self._interpreter.allocate_tensors()
        self._inputs = [tensor["index"] for tensor in self._interpreter.get_input_details()]
        self._outputs = [tensor["index"] for tensor in self._interpreter.get_output_details()]

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Computes the outputs. Inputs and outputs are float32 of the shapes in the file; their first axis has length 1."""
        for index, value in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, value)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


class Graph:
    """The operators and tensors of a model file, to cut networks out around operators that LiteRT does not have.

    Raises MissingBackend if LiteRT is missing.

    Args:
        model: content of a .tflite file. Its weights are float16, each followed by an operator that makes them float32.
    """

    def __init__(self, model: bytes):
        with _importing_litert():
            from ai_edge_litert import schema_py_generated as schema
        self._schema, self._model = schema, schema.ModelT.InitFromPackedBuf(model, 0)
        self._graph = self._model.subgraphs[0]
        self._index = {tensor.name.decode(): index for index, tensor in enumerate(self._graph.tensors)}

    def options(self, output: str) -> dict[str, Any]:
        """Returns the options of the custom operator that computes the tensor `output`."""
        from flatbuffers import flexbuffers

        return flexbuffers.Loads(bytes(self._operator(self._index[output]).customOptions))

    def cut(self, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
        """Returns a model file with the operators that compute the tensors `outputs` from the tensors `inputs`."""
        from flatbuffers import Builder

        given, results = self._indices(inputs), self._indices(outputs)
        kept, needed = [], set(results)
        for operator in reversed(self._graph.operators):  # an operator stands behind those that it needs
            if needed.intersection(operator.outputs):
                kept.append(operator)
                needed.update(set(operator.inputs).difference(given))
        graph, model = copy(self._graph), copy(self._model)
        graph.operators, graph.inputs, graph.outputs = kept[::-1], given, results
        model.subgraphs, model.metadata = [graph], []
        builder = Builder(0)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def use_standard_convolution(self, output: str) -> None:
        """Replaces MediaPipe's operator that computes the tensor `output`: a transposed convolution with bias and one channel.

        Its kernel is as wide as its stride, so that each cell of its input makes pixels of its own. A convolution of 1 x 1
        computes them as channels, and another operator places them. Both are standard, and faster than a transposed convolution.
        """
        schema, tensors = self._schema, self._graph.tensors
        operator = self._operator(self._index[output])
        features, kernel, bias = map(int, operator.inputs)
        stride, (*cells, depth) = int(tensors[kernel].shape[1]), map(int, tensors[features].shape)
        self._reshape(kernel, [stride**2, 1, 1, depth])
        stored = self._reshape(bias, [stride**2])
        stored.data = np.tile(np.frombuffer(bytes(stored.data), np.uint8), stride**2)
        channels = copy(tensors[self._index[output]])
        channels.name, channels.shape = b"channels", [*cells, stride**2]
        tensors.append(channels)
        place, convolution, placing = schema.OperatorT(), schema.Conv2DOptionsT(), schema.DepthToSpaceOptionsT()
        place.inputs, place.outputs = [len(tensors) - 1], operator.outputs
        operator.outputs, operator.customOptions = place.inputs, None
        convolution.strideW = convolution.strideH = 1
        placing.blockSize = stride
        self._make_standard(operator, "CONV_2D", "Conv2DOptions", convolution)
        self._make_standard(place, "DEPTH_TO_SPACE", "DepthToSpaceOptions", placing)
        self._graph.operators.insert(self._graph.operators.index(operator) + 1, place)

    def _make_standard(self, operator: Any, name: str, kind: str, options: Any) -> None:
        """Makes an operator the standard one `name`, with options of the type `kind`."""
        code = self._schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(self._schema.BuiltinOperator, name)
        code.version = 1
        operator.opcodeIndex = len(self._model.operatorCodes)
        operator.builtinOptionsType, operator.builtinOptions = getattr(self._schema.BuiltinOptions, kind), options
        self._model.operatorCodes.append(code)

    def _reshape(self, weights: int, shape: Sequence[int]) -> Any:
        """Reshapes a tensor of weights, and the float16 ones behind it, whose buffer it returns."""
        (stored,) = self._operator(weights).inputs
        self._graph.tensors[weights].shape = self._graph.tensors[stored].shape = list(shape)
        return self._model.buffers[self._graph.tensors[stored].buffer]

    def _operator(self, tensor: int) -> Any:
        """Returns the operator that computes a tensor."""
        return next(operator for operator in self._graph.operators if tensor in operator.outputs)

    def _indices(self, names: Iterable[str]) -> list[int]:
        return [self._index[name] for name in names]
