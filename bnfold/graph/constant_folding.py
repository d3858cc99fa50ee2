"""Constant expressions, evaluated once: exactly, and never at the price of a much larger file.

onnxscript's pass does the walking and the symbolic shapes; here is what it may evaluate. Left to itself it takes every
operator that onnx's reference implementation knows, and some of those are silently wrong: Softmax before opset 13 is
evaluated with the axes of opset 13, ReduceSumSquare turns int32 into int64, reductions of float16 accumulate in it.
"""

import math
from collections.abc import Container

import onnx_ir as ir
from onnxscript.optimizer import fold_constants as fold_constants_pass

from bnfold.graph.protobuf import PLAIN
from bnfold.graph.sequences import has_sequences

_MOVES = "Concat ConstantOfShape Expand Flatten Gather Identity Reshape Slice Squeeze Tile Transpose Unsqueeze Where"
_DECIDES = "And Equal Greater Less Not Or Shape Size"
_ROUNDS_CORRECTLY = "Abs Add Cast Ceil Div Floor Mul Neg Reciprocal Sqrt Sub"  # IEEE 754 prescribes their last bit

EXACT = frozenset(f"{_MOVES} {_DECIDES} {_ROUNDS_CORRECTLY}".split())
"""Operators whose value does not depend on who computes it."""

MAX_GROWTH = 2**16
"""Elements that folding one node may add to the file: a ConstantOfShape or an Expand above it stays a node."""


def fold_constants(model: ir.Model, *, keep: Container[str] = frozenset()) -> None:
    """Replace every constant expression by an initializer, in place.

    Args:
        model: the graph to edit; shapes declared in it are believed.
        keep: names of initializers that stay stored as they are: a node that reads one is not folded.
    """
    if has_sequences(model) and model.graph.opset_imports.get("", 0) < 18:
        return  # the pass would take them apart with Split and Unsqueeze of opset 18
    fold_constants_pass(
        model,
        onnx_shape_inference=True,
        output_size_limit=MAX_GROWTH,
        should_fold=lambda node: _is_exact(node) and not _reads(node, keep) and growth(node) <= MAX_GROWTH,
    )


def _is_exact(node: ir.Node) -> bool:
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    return node.domain == "" and node.op_type in EXACT and all(value.dtype in PLAIN for value in values)


def _reads(node: ir.Node, names: Container[str]) -> bool:
    return any(value is not None and value.name is not None and value.name in names for value in node.inputs)


def growth(node: ir.Node) -> float:
    """Return the elements that the file gains: those of the result, less those that nothing else reads."""
    shape = node.outputs[0].shape
    if shape is None or not shape.is_static():
        return math.inf
    freed = [value.const_value for value in node.inputs if value is not None and len(value.uses()) == 1]
    return math.prod(shape.numpy()) - sum(tensor.size for tensor in freed if tensor is not None)
