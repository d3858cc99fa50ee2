"""What is known about a graph: constants, extents, and who reads a value."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bnfold.graph.constants import Constants
from bnfold.graph.gelus import find_gelus
from bnfold.graph.readers import only_reader
from bnfold.graph.shapes import Dims, dims_of, infer_values

PRODUCTS = frozenset({"Gemm", "MatMul"})
"""Operators whose result has its channels on the last axis."""

KEEPING = frozenset({"Add", "Div", "Identity", "Mul", "Neg", "Sub", "Sum"})
"""Operators that work element by element, and leave the channels where they are."""


class Facts:
    """A graph's constants and shapes. Shapes are kept by name: a value that takes a name takes the shape, too.

    Attributes:
        graph: the graph.
        opset: version of the standard operators.
        fused: nodes that a runtime makes one of, and that stay for it.
    """

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 1))
        self._values = infer_values(model)
        self._model = model
        self._constants = Constants(model)
        self._rows = self._found_rows()
        self.fused = {node for gelu in find_gelus(self.graph, self._constants) for node in gelu.nodes}

    def _found_rows(self) -> set[ir.Value]:
        """Return what matrix products compute, by way of what keeps axes, and what is of rank 2 anyway."""
        rows: set[ir.Value] = set()
        for node in self.graph:
            keeps = node.op_type in KEEPING and rows.intersection(node.inputs)
            if node.op_type in PRODUCTS or keeps or len(self.dims(node.outputs[0]) or ()) == 2:
                rows.add(node.outputs[0])
        return rows

    def is_rows(self, node: ir.Node) -> bool:
        """Whether a node computes rows, whose channels are on the last axis."""
        return node.outputs[0] in self._rows

    def layout(self, node: ir.Node, value: ir.Value | None) -> tuple[int, int] | None:
        """Return how many channels and spatial axes an operand has, for a node that keeps axes; None where not known.

        Rows (…, C) have no spatial axes: each is looked at by itself.
        """
        dims = self.dims(value)
        if not self.is_rows(node):
            channels = self.channels(value)
            return None if channels is None or dims is None else (channels, len(dims) - 2)
        extent = dims[-1] if dims is not None and len(dims) > 1 else None
        return (extent, 0) if isinstance(extent, int) else None

    def forget(self) -> None:
        """Read constants and rows anew after an edit."""
        self._constants = Constants(self._model)
        self._rows = self._found_rows()

    def declare(self, value: ir.Value, like: ir.Value, channels: int | None = None) -> None:
        """Give a new value type and shape of another one, ``channels`` instead of its own if given."""
        described = self._values.get(like.name or "")
        if described is None or described.type is None or described.shape is None:
            return
        dims = described.shape.dims
        value.type = described.type
        value.shape = ir.Shape([*dims[:1], *(dims[1:2] if channels is None else [channels]), *dims[2:]])
        self._values[value.name or ""] = value

    def dims(self, value: ir.Value | None) -> Dims | None:
        """Return a value's dims, None where its rank is not known."""
        described = None if value is None else self._values.get(value.name or "")
        return None if described is None or described.shape is None else dims_of(described.shape)

    def channels(self, value: ir.Value | None) -> int | None:
        """Return the extent of the channel axis of a value (N, C, *spatial), None where it is not known."""
        dims = self.dims(value)
        extent = dims[1] if dims is not None and len(dims) > 2 else None
        return extent if isinstance(extent, int) else None

    def constant(self, value: ir.Value | None) -> npt.NDArray[Any] | None:
        """Return the content of a value that depends on no run-time input, None for any other."""
        return self._constants.get(value)

    def weight(self, value: ir.Value | None) -> npt.NDArray[Any] | None:
        """Return a constant of floating-point numbers, None for any other value."""
        array = self.constant(value)
        floats = array is not None and ir.DataType.from_numpy(array.dtype).is_floating_point()
        return array if floats else None

    def parameter(self, value: ir.Value | None) -> npt.NDArray[Any] | None:
        """Return a constant of finite floating-point numbers, None for any other value."""
        array = self.weight(value)
        return array if array is not None and np.isfinite(array).all() else None

    def only_reader(self, value: ir.Value) -> ir.Node | None:
        """Return the one node of the main graph that alone reads a value, once; None for a graph output too."""
        return only_reader(value, self.graph)


def name_of(node: ir.Node) -> str:
    """Return a node's name; a node without one goes by that of its output."""
    return node.name or node.outputs[0].name or node.op_type
