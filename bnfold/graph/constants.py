"""Values that are known before the graph runs."""

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from bnfold.graph.rounding import rounded

FOLDABLE = frozenset(
    {
        "Add",
        "Cast",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Div",
        "Expand",
        "Gather",
        "Identity",
        "Mul",
        "Range",
        "Reciprocal",
        "Reshape",
        "Shape",
        "Size",
        "Slice",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators that exporters leave between a stored tensor and the parameter that it stands for."""

REPARAMETERIZING = frozenset(
    {
        "Abs",
        "Einsum",
        "Exp",
        "Flatten",
        "Gemm",
        "MatMul",
        "Max",
        "Min",
        "Neg",
        "Pow",
        "ReduceL2",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "Sigmoid",
        "Softplus",
        "Tanh",
    }
)
"""Operators by which a weight is computed from others: weight and spectral norm, standardized and positive weights."""


class Constants:
    """Evaluates, on demand and once, every value that depends on no run-time input.

    A value is constant if it is

    1. an initializer that no caller can override: not a graph input, or in a file of IR version 3 or older, where the
       inputs merely declare the initializers;
    2. an output of one of `FOLDABLE`, all of whose inputs are constant, or of CastLike, if what it casts is;
    3. an output of one of `REPARAMETERIZING`, all of whose inputs are constants of floating point. From there on it is
       computed in float64, and rounded to its type once, where it is read.

    An initializer that is also a graph input of a newer file is a default, not a constant.
    """

    def __init__(self, model: ir.Model) -> None:
        self._opsets = dict(model.opset_imports)
        self._inputs_declare_initializers = model.ir_version < 4
        self._known: dict[ir.Value, np.ndarray | None] = {}
        self._wide: dict[ir.Value, np.ndarray] = {}

    def get(self, value: ir.Value | None) -> np.ndarray | None:
        """Return the value's content in its own type, or None where it is not constant or absent."""
        if value is None:
            return None
        if value not in self._known:
            self._known[value] = self._evaluate(value)
        return self._known[value]

    def _evaluate(self, value: ir.Value) -> np.ndarray | None:
        if value.is_initializer():
            overridable = value.is_graph_input() and not self._inputs_declare_initializers
            return None if overridable or value.const_value is None else value.const_value.numpy()
        node = value.producer()
        if node is None or node.domain not in {"", "ai.onnx"}:
            return None
        if node.op_type == "CastLike":
            return self._cast_like(*node.inputs)
        if node.op_type not in FOLDABLE | REPARAMETERIZING:
            return None
        inputs = [self.get(operand) for operand in node.inputs]
        if any(
            array is None and operand is not None for array, operand in zip(inputs, node.inputs, strict=True)
        ) or any(attribute.is_ref() for attribute in node.attributes.values()):
            return None
        wide = any(operand in self._wide for operand in node.inputs) and node.op_type != "Cast"
        if wide or node.op_type in REPARAMETERIZING:
            return self._run_wide(node, inputs)
        return self._run(node, inputs)

    def _run_wide(self, node: ir.Node, inputs: list[np.ndarray | None]) -> np.ndarray | None:
        """Evaluate one node in float64 and return the result in the type of its floating-point inputs."""
        types = [None if array is None else ir.DataType.from_numpy(array.dtype) for array in inputs]
        floats = {dtype for dtype in types if dtype is not None and dtype.is_floating_point()}
        if len(floats) != 1:
            return self._run(node, inputs) if node.op_type in FOLDABLE else None
        widened = [
            self._widened(value, array) if dtype in floats else array
            for value, array, dtype in zip(node.inputs, inputs, types, strict=True)
        ]
        result = self._run(node, widened)
        if result.dtype != np.float64:  # Shape and Size
            return result
        self._wide[node.outputs[0]] = result
        return rounded(result, floats.pop())

    def _widened(self, value: ir.Value | None, array: np.ndarray | None) -> np.ndarray | None:
        if value is None or array is None:
            return None
        return self._wide[value] if value in self._wide else array.astype(np.float64)

    def _cast_like(self, value: ir.Value | None, like: ir.Value | None) -> np.ndarray | None:
        """Evaluate a cast to the type of another value, of which nothing but the type counts."""
        array = self.get(value)
        return None if array is None or like is None or like.dtype is None else array.astype(like.dtype.numpy())

    def _run(self, node: ir.Node, inputs: list[np.ndarray | None]) -> np.ndarray:
        """Evaluate one node by onnx's reference implementation, as a graph of its own."""
        operands = [
            None if array is None else ir.val(f"input_{index}", ir.DataType.from_numpy(array.dtype), array.shape)
            for index, array in enumerate(inputs)
        ]
        result = ir.val("output")
        copy = ir.Node("", node.op_type, operands, node.attributes.values(), outputs=[result])
        graph = ir.Graph(
            [operand for operand in operands if operand is not None],
            [result],
            nodes=[copy],
            opset_imports={"": self._opsets.get("", self._opsets.get("ai.onnx", 1))},
        )
        feeds = {f"input_{index}": array for index, array in enumerate(inputs) if array is not None}
        with np.errstate(all="ignore"):  # infinities and NaN are for who reads the value to judge
            (result_array,) = ReferenceEvaluator(ir.to_proto(ir.Model(graph, ir_version=10))).run(["output"], feeds)
        return np.asarray(result_array)
