"""A linear layer over the last axis as one Gemm of rows: product and bias in one kernel."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from bnfold.graph.constants import Constants
from bnfold.graph.editor import Editor
from bnfold.graph.readers import only_reader


@dataclass(frozen=True)
class _Layer:
    """A MatMul by a stored matrix and the Add of a stored bias behind it.

    Attributes:
        product: x (*front, K) by ``matrix``.
        matrix: (K, N).
        add: of ``bias`` (N).
        front: extents of x in front of the last axis, -1 for one that is unknown.
    """

    product: ir.Node
    matrix: np.ndarray
    add: ir.Node
    bias: np.ndarray
    front: list[int]


def use_gemms(model: ir.Model) -> bool:
    """Make Reshape, Gemm, Reshape of a MatMul by a stored matrix and the Add of a stored bias, in place; tell whether.

    ONNX Runtime does so by itself where every extent is known, but not where the batch is free; its Add of a vector to
    many short rows costs as much as the product. Only float32, which was measured. Where two extents in front of the
    last axis are unknown, no stored shape could bring them back, and the nodes stay.
    """
    constants, editor = Constants(model), Editor(model)
    products = [node for node in model.graph if node.op_type == "MatMul" and node.domain == ""]
    layers = [layer for product in products if (layer := _layer(product, constants)) is not None]
    for layer in layers:
        _write(layer, editor)
    editor.prune()
    return bool(layers)


def _layer(product: ir.Node, constants: Constants) -> _Layer | None:
    x, matrix = product.inputs[0], constants.get(product.inputs[1])
    add = only_reader(product.outputs[0], product.graph)
    front = None if x is None or x.shape is None else _front(x.shape)
    if front is None or matrix is None or matrix.dtype != np.float32 or matrix.ndim != 2:
        return None
    if add is None or add.op_type != "Add" or add.domain != "":
        return None
    bias = next(constants.get(value) for value in add.inputs if value is not product.outputs[0])
    if (
        bias is None
        or bias.size != matrix.shape[1]
        or bias.shape[-1:] != matrix.shape[1:]
        or bias.ndim > 1 + len(front)
    ):
        return None
    return _Layer(product, matrix, add, bias.reshape(-1), front)


def _front(shape: ir.Shape) -> list[int] | None:
    """Return the extents in front of the last axis; None where there are none, or none that can be stored."""
    front = [extent if isinstance(extent, int) else -1 for extent in shape.dims[:-1]]
    return front if front and front.count(-1) <= 1 and 0 not in front else None


def _write(layer: _Layer, editor: Editor) -> None:
    """Put a Gemm in the place of a layer; its result keeps name and shape."""
    rows, (width, channels), flat = layer.product.inputs[0], layer.matrix.shape, len(layer.front) == 1
    name = layer.add.outputs[0].name
    nodes: list[ir.Node] = []
    if not flat:
        nodes.append(ir.node("Reshape", [rows, editor.initializer(f"{name}_rows_shape", np.array([-1, width]))]))
        rows = nodes[0].outputs[0]
    bias = editor.initializer(f"{name}_bias", layer.bias)
    nodes.append(ir.node("Gemm", [rows, layer.product.inputs[1], bias], name=layer.product.name))
    if not flat:
        shape = editor.initializer(f"{name}_shape", np.array([*layer.front, channels]))
        nodes.append(ir.node("Reshape", [nodes[-1].outputs[0], shape]))
        for node, suffix in zip(nodes, ("rows", "product"), strict=False):
            node.outputs[0].name = editor.unique(f"{name}_{suffix}")
    editor.graph.insert_before(layer.add, nodes[:-1])
    editor.replace(layer.add, nodes[-1])
    editor.remove(layer.product)
