"""ONNX files in: any exporter, any age, nothing trusted."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx_ir.passes import common as passes

from bnfold.errors import InputError
from bnfold.files import require_file
from bnfold.graph import protobuf
from bnfold.graph.quiet import quiet


def load(path: Path) -> ir.Model:
    """Read an ONNX file into the IR; external data stays on disk, memory-mapped until it is used.

    Model-local functions are inlined, so that every operator is one of the standard's.

    Raises:
        InputError: the file is missing, a directory, truncated, not ONNX, of an opset that is not known here, without
            outputs, reads values that nothing computes, holds a tensor that is shorter than its shape says, or its
            external data is missing or lies outside its folder; or it has sparse initializers.
    """
    require_file(path)
    try:
        proto, weights = protobuf.read(path)
    except DecodeError as error:
        raise InputError(f"{path}: not an ONNX file, or truncated.") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}.") from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise InputError(f"{path}: not an ONNX model (it has no graph or no opset).")
    if proto.graph.sparse_initializer:
        raise InputError(f"{path}: its graph has sparse initializers; store them as plain ones.")
    try:
        with quiet():
            model = ir.from_proto(proto)
    except Exception as error:  # onnx-ir raises whatever the malformed field led to
        raise InputError(f"{path}: malformed ONNX model: {_reason(error)}.") from error
    for name, weight in weights.items():
        model.graph.initializers[name].const_value = weight
    _require_signature(model, path)
    _require_tensors(model, path)
    _require_producers(model, path)
    if model.functions:
        passes.InlinePass()(model)
    try:
        passes.TopologicalSortPass()(model)
    except ValueError as error:
        raise InputError(f"{path}: the nodes of its graph form a cycle.") from error
    return model


def float_initializers(model: ir.Model) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and value of every floating-point initializer of the main graph."""
    for name, value in model.graph.initializers.items():
        if value.const_value is not None and value.const_value.dtype.is_floating_point():
            yield name, value.const_value.numpy()


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _require_signature(model: ir.Model, path: Path) -> None:
    """Check that the graph computes something, by operators of a version that is known."""
    if not model.graph.outputs:
        raise InputError(f"{path}: its graph has no outputs.")
    newest, opset = onnx.defs.onnx_opset_version(), model.opset_imports.get("", 0)
    if opset > newest:
        raise InputError(f"{path}: opset {opset} is newer than {newest}, the newest that the installed onnx knows.")


def _require_tensors(model: ir.Model, path: Path) -> None:
    """Check that every tensor is as long as its shape says; those outside the file also that they may be read."""
    ir.external_data.set_base_dir(model.graph, path.absolute().parent)
    for tensor in _tensors(model):
        if isinstance(tensor, ir.ExternalTensor):
            _require_side_file(tensor, path)
            continue
        try:
            tensor.numpy()
        except ValueError as error:
            raise InputError(f"{path}: tensor {tensor.name} is not as long as its shape {tensor.shape}.") from error


def _require_side_file(tensor: ir.ExternalTensor, path: Path) -> None:
    folder, location = path.absolute().parent, PurePosixPath(str(tensor.location))
    side_file = folder / location
    inside = folder.resolve() in side_file.resolve().parents
    if location.is_absolute() or ".." in location.parts or not inside:
        raise InputError(f"{path}: initializer {tensor.name} points outside the model's folder ({location}).")
    if not side_file.is_file():
        raise InputError(f"{path}: external data file {location} of initializer {tensor.name} is missing.")
    if side_file.stat().st_size < (tensor.offset or 0) + tensor.nbytes:
        raise InputError(f"{path}: external data file {location} is truncated (initializer {tensor.name}).")


def _require_producers(model: ir.Model, path: Path) -> None:
    """Check that every value is an input, an initializer or computed; onnx-ir makes one up where it is not."""
    read = [(node.name or node.op_type, value) for node in model.graph.all_nodes() for value in node.inputs]
    for reader, value in [*read, *(("the graph's outputs", value) for value in model.graph.outputs)]:
        if value is not None and value.producer() is None and not (value.is_graph_input() or value.is_initializer()):
            raise InputError(f"{path}: {reader}: nothing computes the value {value.name}.")


def _tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    for graph in model.graphs():
        yield from (value.const_value for value in graph.initializers.values() if value.const_value is not None)
        for node in graph:
            attributes = node.attributes.values()
            yield from (a.as_tensor() for a in attributes if a.type == ir.AttributeType.TENSOR and not a.is_ref())
