"""Static shapes of every value, without touching the model that they describe."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper

from bnfold.graph.constants import Constants
from bnfold.graph.protobuf import skeleton

Dims = tuple[int | str | None, ...]
"""One entry an axis: its extent, the name of a symbolic extent, or None where nothing is known."""


def infer_shapes(model: ir.Model) -> dict[str, Dims]:
    """Return the dims of every value of the main graph whose rank is known, by value name."""
    return {name: dims_of(value.shape) for name, value in infer_values(model).items() if value.shape is not None}


def dims_of(shape: ir.Shape) -> Dims:
    """Return a shape's extents as plain values."""
    return tuple(dim if isinstance(dim, int) else dim.value for dim in shape)


def infer_values(model: ir.Model) -> dict[str, ir.Value]:
    """Return a description of every value of the main graph, its shape and type as far as they are known, by name.

    The model's own value infos stay what they were. What a file declares for results counts only where inference finds
    nothing: it is a comment to a runtime, and may be stale.
    """
    inferred = _inferred(model)
    if constants := _unknown_constants(model, inferred):
        inferred = _inferred(model, constants)
    described: dict[str, ir.Value] = {}
    results = [output for node in model.graph for output in node.outputs]
    for value in (*model.graph.inputs, *model.graph.initializers.values(), *results):
        found = inferred.get(value.name or "")
        shape, dtype = (None, None) if found is None else (found.shape, found.type)
        described[value.name or ""] = ir.Value(
            name=value.name, shape=value.shape if shape is None else shape, type=value.type if dtype is None else dtype
        )
    return described


def _unknown_constants(model: ir.Model, inferred: Mapping[str, ir.Value]) -> dict[str, np.ndarray]:
    """Return the constants whose shapes inference does not find, such as those of an Unsqueeze with computed axes."""
    constants = Constants(model)
    unknown: dict[str, np.ndarray] = {}
    for output in (output for node in model.graph for output in node.outputs if output.name):
        found = inferred.get(output.name or "")
        if (found is None or found.shape is None) and (array := constants.get(output)) is not None:
            unknown[output.name or ""] = array
    return unknown


def _inferred(model: ir.Model, constants: Mapping[str, np.ndarray] = MappingProxyType({})) -> dict[str, ir.Value]:
    """Return what onnx infers from the inputs, the initializers and some constants alone."""
    proto = skeleton(model)
    proto.ir_version = max(proto.ir_version, 4)  # before, it looks at no initializer that is not an input as well
    _forget_results(proto.graph)
    proto.graph.value_info.extend(
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in constants.items()
    )
    try:
        graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except Exception:  # a graph that does not hold together: of its results nothing is known
        graph = proto.graph
    infos = (*graph.output, *graph.value_info, *graph.input)
    known = {info.name: ir.serde.deserialize_value_info_proto(info, None) for info in infos}
    for tensor in graph.initializer:
        dtype = ir.TensorType(ir.DataType(tensor.data_type))
        known[tensor.name] = ir.Value(name=tensor.name, shape=ir.Shape(tensor.dims), type=dtype)
    return known


def _forget_results(graph: onnx.GraphProto) -> None:
    """Drop what a graph declares of its results, those of its subgraphs included, but for their types."""
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type in {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}:
                for inner in (attribute.g, *attribute.graphs):
                    _forget_results(inner)
