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


def load(path: Path) -> ir.Model:
    """Read an ONNX file into the IR; external data stays on disk, memory-mapped until it is used.

    Model-local functions are inlined, so that every operator is one of the standard's.

    Raises:
        InputError: the file is missing, a directory, truncated, not ONNX, or its external data is missing or lies
            outside its folder.
    """
    require_file(path)
    try:
        proto = onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise InputError(f"{path}: not an ONNX file, or truncated.") from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise InputError(f"{path}: not an ONNX model (it has no graph or no opset).")
    try:
        model = ir.from_proto(proto)
    except Exception as error:  # onnx-ir raises whatever the malformed field led to
        raise InputError(f"{path}: malformed ONNX model: {error}") from error
    _attach_external_data(model, path)
    if model.functions:
        passes.InlinePass()(model)
    return model


def float_initializers(model: ir.Model) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and value of every floating-point initializer of the main graph."""
    for name, value in model.graph.initializers.items():
        if value.const_value is not None and value.const_value.dtype.is_floating_point():
            yield name, value.const_value.numpy()


def _attach_external_data(model: ir.Model, path: Path) -> None:
    ir.external_data.set_base_dir(model.graph, path.absolute().parent)
    for tensor in _external_tensors(model):
        location = PurePosixPath(str(tensor.location))
        if location.is_absolute() or ".." in location.parts:
            raise InputError(f"{path}: initializer {tensor.name} points outside the model's folder ({location}).")
        side_file = path.absolute().parent / location
        if not side_file.is_file():
            raise InputError(f"{path}: external data file {location} of initializer {tensor.name} is missing.")
        if side_file.stat().st_size < (tensor.offset or 0) + (tensor.length or 0):
            raise InputError(f"{path}: external data file {location} is truncated (initializer {tensor.name}).")


def _external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value
