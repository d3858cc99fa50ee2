"""Static shapes of every value, without touching the model that they describe."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
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


def infer_values(model: ir.Model, graph: ir.Graph | None = None) -> dict[str, ir.Value]:
    """Return a description of every value that a graph's nodes may read, shape and type as far as known, by name.

    The model's own value infos stay what they were. What a file declares for results counts only where inference finds
    nothing: it is a comment to a runtime, and may be stale.

    Args:
        model: the whole.
        graph: its main graph, which is the default, or the body of a node, which reads values of the graphs around it.
    """
    scopes = _scopes(model.graph, model.graph if graph is None else graph)
    inferred = _inferred(model, scopes)
    if constants := _unknown_constants(model, inferred):
        inferred = _inferred(model, scopes, constants)
    described: dict[str, ir.Value] = {}
    for scope in scopes:
        results = [output for node in scope for output in node.outputs]
        for value in (*scope.inputs, *scope.initializers.values(), *results):
            found = inferred.get(value.name or "")
            shape, dtype = (None, None) if found is None else (found.shape, found.type)
            described[value.name or ""] = ir.Value(
                name=value.name,
                shape=value.shape if shape is None else shape,
                type=value.type if dtype is None else dtype,
            )
    return described


def bodies(node: ir.Node) -> list[ir.Graph]:
    """Return the graphs in a node's attributes: of If, Loop and Scan."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            found += attribute.as_graphs()
    return found


def _scopes(outer: ir.Graph, graph: ir.Graph) -> list[ir.Graph]:
    """Return the graphs from ``outer`` to ``graph``, each in a node of the one before; none if it is not in there."""
    if graph is outer:
        return [outer]
    inside = (_scopes(body, graph) for node in outer for body in bodies(node))
    return next(([outer, *scopes] for scopes in inside if scopes), [])


def _unknown_constants(model: ir.Model, inferred: Mapping[str, ir.Value]) -> dict[str, np.ndarray]:
    """Return the constants whose shapes inference does not find, such as those of an Unsqueeze with computed axes."""
    constants = Constants(model)
    unknown: dict[str, np.ndarray] = {}
    for output in (output for node in model.graph for output in node.outputs if output.name):
        found = inferred.get(output.name or "")
        if (found is None or found.shape is None) and (array := constants.get(output)) is not None:
            unknown[output.name or ""] = array
    return unknown


def _inferred(
    model: ir.Model, scopes: Sequence[ir.Graph], constants: Mapping[str, np.ndarray] = MappingProxyType({})
) -> dict[str, ir.Value]:
    """Return what onnx infers from the inputs, the initializers and some constants alone, in graphs within graphs."""
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
    known: dict[str, ir.Value] = {}
    for scope in _protos(graph, scopes):
        infos = (*scope.output, *scope.value_info, *scope.input)
        known |= {info.name: ir.serde.deserialize_value_info_proto(info, None) for info in infos}
        for tensor in scope.initializer:
            dtype = ir.TensorType(ir.DataType(tensor.data_type))
            known[tensor.name] = ir.Value(name=tensor.name, shape=ir.Shape(tensor.dims), type=dtype)
    return known


def _protos(graph: onnx.GraphProto, scopes: Sequence[ir.Graph]) -> Iterator[onnx.GraphProto]:
    """Yield the messages of graphs within graphs, given that of the first."""
    yield graph
    for outer, inner in pairwise(scopes):
        number, node = next((number, node) for number, node in enumerate(outer) if inner in bodies(node))
        graphs = [body for attribute in graph.node[number].attribute for body in _bodies(attribute)]
        graph = graphs[bodies(node).index(inner)]
        yield graph


def _forget_results(graph: onnx.GraphProto) -> None:
    """Drop what a graph declares of its results, those of its subgraphs included, but for their types."""
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    for node in graph.node:
        for inner in (body for attribute in node.attribute for body in _bodies(attribute)):
            _forget_results(inner)


def _bodies(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    return [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else list(attribute.graphs)
