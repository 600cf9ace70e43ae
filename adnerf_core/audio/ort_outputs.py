"""Reads what a network of ONNX Runtime computes on the way, by a change of its file.

A file in the format .ort is a FlatBuffer; the numbers of the fields below are those of onnxruntime/core/flatbuffers/schema/ort.fbs. All
offsets are unsigned, 32 bits, and count from where they are stored, so what is pointed to lies behind.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

MODEL, GRAPH, OUTPUTS = 1, 7, 6
"""Numbers of the fields InferenceSession.model, Model.graph and Graph.outputs."""


def with_outputs(network: bytes, names: Sequence[str]) -> bytes:
    """Returns a network with other outputs: a new vector of names, and the names, are appended to the file.

    Args:
        network: Content of a file in the format .ort.
        names: Names of the values, in ASCII: outputs of the network's nodes.
    """
    buffer = bytearray(network + bytes(-len(network) % 4))
    position = _target(buffer, 0)
    for field in (MODEL, GRAPH):
        position = _target(buffer, _field(buffer, position, field))
    outputs = _field(buffer, position, OUTPUTS)
    struct.pack_into("<I", buffer, outputs, len(buffer) - outputs)
    vector, strings = [len(names)], b""  # a vector and a string start with their length
    for number, name in enumerate(names):
        vector.append(4 * (len(names) - number) + len(strings))
        strings += (
            struct.pack("<I", len(name)) + name.encode() + bytes(4 - len(name) % 4)
        )  # at least one zero at the end
    return bytes(buffer) + struct.pack(f"<{len(vector)}I", *vector) + strings


def _target(buffer: bytearray, position: int) -> int:
    """Returns where the offset at `position` points to."""
    return position + struct.unpack_from("<I", buffer, position)[0]


def _field(buffer: bytearray, table: int, number: int) -> int:
    """Returns where a field of the table at `table` is stored: the table's vtable, which lies before it, has an entry for each field."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    return table + struct.unpack_from("<H", buffer, vtable + 4 + 2 * number)[0]
