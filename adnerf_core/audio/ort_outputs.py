"""Reads what a network of ONNX Runtime computes on the way, by a change of its file.

A file in the format .ort is a FlatBuffer; the numbers of the fields below are those of onnxruntime/core/flatbuffers/schema/ort.fbs. All
offsets are unsigned, 32 bits, and count from where they are stored, so what is pointed to lies behind.
"""

from __future__ import annotations

import struct

MODEL, GRAPH, OUTPUTS = 1, 7, 6
"""Numbers of the fields InferenceSession.model, Model.graph and Graph.outputs."""


def with_output(network: bytes, name: str) -> bytes:
    """Returns a network whose first output is another one of its values.

    Args:
        network: Content of a file in the format .ort.
        name: Name of the value: the output of one of the network's nodes.
    """
    buffer = bytearray(network + bytes(-len(network) % 4))
    position = _target(buffer, 0)
    for field in (MODEL, GRAPH, OUTPUTS):
        position = _target(buffer, _field(buffer, position, field))
    first = position + 4  # a vector starts with its length
    struct.pack_into("<I", buffer, first, len(buffer) - first)
    return bytes(buffer) + struct.pack("<I", len(name)) + name.encode() + b"\0"


def _target(buffer: bytearray, position: int) -> int:
    """Returns where the offset at `position` points to."""
    return position + struct.unpack_from("<I", buffer, position)[0]


def _field(buffer: bytearray, table: int, number: int) -> int:
    """Returns where a field of the table at `table` is stored: the table's vtable, which lies before it, has an entry for each field."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    return table + struct.unpack_from("<H", buffer, vtable + 4 + 2 * number)[0]
