"""ONNX files without detours for their weights: read from where they lie, written to where they go.

protobuf copies every byte of a message several times over, to parse it and to serialize it. But a message is a row of
fields: each a tag and what it announces, a number, some bytes, or a length and as many bytes
(https://protobuf.dev/programming-guides/encoding). That is enough to find the weights, and to let protobuf see the rest
of the model alone.
"""

import math
import mmap
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeGuard

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

LARGE = 2**12
"""Bytes from which on a tensor is not left to protobuf."""

_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
_RAW_DATA = onnx.TensorProto.RAW_DATA_FIELD_NUMBER

_PLAIN_NAMES = "FLOAT DOUBLE FLOAT16 BFLOAT16 BOOL INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64"
PLAIN = frozenset(map(ir.DataType.__getitem__, _PLAIN_NAMES.split()))
"""Types whose numbers lie in a file as in memory; there are strings, complex numbers and numbers below a byte, too."""

# Out


def skeleton(model: ir.Model) -> onnx.ModelProto:
    """Return the model as a message in which the large initializers of the main graph have type and shape alone.

    A row of integers is none of these, however long: it may be what a shape follows from.
    """
    with _without_contents(model):
        return ir.to_proto(model)


def write(model: ir.Model, path: Path) -> None:
    """Write a model to a file."""
    proto = skeleton(model)
    parts = list(_initializers(model, proto.graph))
    del proto.graph.initializer[:]
    rest = proto.graph.SerializeToString()
    proto.ClearField("graph")
    size = len(rest) + sum(len(part) if isinstance(part, bytes) else part.nbytes for part in parts)
    with path.open("wb") as file:
        file.write(proto.SerializeToString() + _announced(_GRAPH, size) + rest)
        for part in parts:
            file.write(part if isinstance(part, bytes) else _content_of(part))


def _initializers(model: ir.Model, graph: onnx.GraphProto) -> Iterator[bytes | ir.TensorProtocol]:
    """Yield the initializers as they stand in the file: those of a skeleton, with contents where they belong."""
    tensors = [value.const_value for value in model.graph.initializers.values() if value.const_value is not None]
    for tensor, described in zip(tensors, graph.initializer, strict=True):
        if _is_large(tensor):
            described.ClearField("raw_data")
            head = described.SerializeToString() + _announced(_RAW_DATA, tensor.nbytes)
            yield _announced(_INITIALIZER, len(head) + tensor.nbytes) + head
            yield tensor
        else:
            yield _announced(_INITIALIZER, described.ByteSize()) + described.SerializeToString()


def _content_of(tensor: ir.TensorProtocol) -> memoryview:
    array = np.ascontiguousarray(tensor.numpy())
    return array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data


@contextmanager
def _without_contents(model: ir.Model) -> Generator[None]:
    """Let large initializers be tensors of their type and shape, but without a byte."""
    values = [(value, value.const_value) for value in model.graph.initializers.values()]
    try:
        for value, tensor in values:
            if _is_large(tensor):
                value.const_value = ir.LazyTensor(
                    _nothing,
                    tensor.dtype,
                    ir.Shape(tensor.shape.numpy()),
                    doc_string=tensor.doc_string,
                    metadata_props=dict(tensor.metadata_props),
                )
        yield
    finally:
        for value, tensor in values:
            value.const_value = tensor


def _nothing() -> ir.TensorProtocol:
    return ir.Tensor(np.empty(0, dtype=np.uint8))


def _is_large(tensor: ir.TensorProtocol | None) -> TypeGuard[ir.TensorProtocol]:
    return (
        tensor is not None
        and not isinstance(tensor, ir.ExternalTensor)
        and tensor.dtype in PLAIN
        and tensor.nbytes >= LARGE
        and (tensor.dtype.is_floating_point() or len(tensor.shape) > 1)
    )


# In


def read(path: Path) -> tuple[onnx.ModelProto, dict[str, ir.TensorProtocol]]:
    """Return the model of a file, and by name the large initializers, of which the model has type and shape alone.

    Raises:
        DecodeError: the file is not such a message, or is cut short.
        ValueError: an initializer is not as long as its shape says.
    """
    with _opened(path) as content:
        rest, initializers = list[bytes](), list[ir.TensorProtocol | None]()
        for field in _fields(content, 0, len(content)):
            if field.number == _GRAPH:
                graph = b"".join(_graph(content, field, initializers))
                rest.append(_announced(_GRAPH, len(graph)) + graph)
            else:
                rest.append(content[field.start : field.end])
        proto = onnx.ModelProto.FromString(b"".join(rest))
    # Where two have one name, runtimes take the last.
    named = {header.name: tensor for header, tensor in zip(proto.graph.initializer, initializers, strict=True)}
    return proto, {name: tensor for name, tensor in named.items() if name and tensor is not None}


@contextmanager
def _opened(path: Path) -> Generator[bytes | mmap.mmap]:
    with path.open("rb") as file:
        if path.is_file() and path.stat().st_size:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield content
        else:  # a pipe
            yield file.read()


class _Field(NamedTuple):
    """Where a field lies in its message: its tag, its content, what comes next."""

    number: int
    start: int
    content: int
    end: int


def _fields(message: bytes | mmap.mmap, start: int, end: int) -> Iterator[_Field]:
    """Yield the fields of the message between two positions."""
    while start < end:
        tag, content = _varint_at(message, start)
        match tag & 7:
            case 0:
                _, after = _varint_at(message, content)
            case 1:
                after = content + 8
            case 2:
                length, content = _varint_at(message, content)
                after = content + length
            case 5:
                after = content + 4
            case kind:
                raise DecodeError(f"a field of kind {kind}")
        if after > end:
            raise DecodeError("a field exceeds its message")
        yield _Field(tag >> 3, start, content, after)
        start = after


def _varint_at(message: bytes | mmap.mmap, position: int) -> tuple[int, int]:
    """Return the number at a position, seven bits a byte, and the position behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise DecodeError("a number exceeds its message")
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise DecodeError("a number exceeds 64 bits")


def _graph(message: bytes | mmap.mmap, graph: _Field, initializers: list[ir.TensorProtocol | None]) -> Iterator[bytes]:
    """Yield a graph's fields without the contents of large initializers; add these to ``initializers``, or None."""
    for field in _fields(message, graph.content, graph.end):
        if field.number != _INITIALIZER:
            yield message[field.start : field.end]
            continue
        header, tensor = _tensor(message, field)
        initializers.append(tensor)
        yield message[field.start : field.end] if tensor is None else _announced(_INITIALIZER, len(header)) + header


def _tensor(message: bytes | mmap.mmap, tensor: _Field) -> tuple[bytes, ir.TensorProtocol | None]:
    """Return a tensor's fields without its content, and the tensor; None where it is small or stored otherwise."""
    if tensor.end - tensor.content < LARGE:
        return b"", None
    fields = list(_fields(message, tensor.content, tensor.end))
    header = b"".join(message[field.start : field.end] for field in fields if field.number != _RAW_DATA)
    proto = onnx.TensorProto.FromString(header)
    raw = [field for field in fields if field.number == _RAW_DATA]
    if len(raw) != 1 or proto.data_type not in PLAIN or proto.data_location != onnx.TensorProto.DEFAULT:
        return b"", None
    dtype = ir.DataType(proto.data_type)
    (data,) = raw
    if data.end - data.content != math.prod(proto.dims) * dtype.itemsize:
        raise ValueError(f"tensor {proto.name} is not as long as its shape {list(proto.dims)}")
    array = np.frombuffer(message, dtype.numpy().newbyteorder("<"), math.prod(proto.dims), data.content)
    described = ir.from_proto(proto)
    return header, ir.Tensor(
        array.reshape(proto.dims).copy(),
        name=proto.name,
        doc_string=described.doc_string,
        metadata_props=dict(described.metadata_props),
    )


# Both


def _announced(number: int, length: int) -> bytes:
    """Return the tag of a field of bytes, with how many there are."""
    return _varint(number << 3 | 2) + _varint(length)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
