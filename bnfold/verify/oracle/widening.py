"""A float64 twin of a graph: every stored number kept exactly, every later operation in double."""

from typing import Any, cast
from weakref import WeakKeyDictionary, ref

import numpy as np
import onnx_ir as ir

WIDENED = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.FLOAT})
"""Types that turn into double. Each is a subset of double, so that turning one rounds nothing."""

_TYPE_ATTRIBUTES = frozenset(
    {"to", "dtype", "output_dtype", "output_datatype", "precision", "softmax_precision", "stash_type"}
)
"""Attributes that hold the type an operator produces or computes in."""


def widened(model: ir.Model) -> ir.Model:
    """Return a copy of ``model`` in which every floating-point type narrower than double is double.

    Initializers, constants inside nodes, cast targets and the types of values change; the numbers do not. Casts to a
    narrower type become the identity: rounding is what the oracle leaves out. ``model`` stays as it is.
    """
    twin = model.clone()
    for graph in twin.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                value.const_value = widened_tensor(value.const_value)
        for value in (*graph.inputs, *graph.initializers.values()):
            _widen_type(value)
        for node in graph:
            for value in node.outputs:
                _widen_type(value)
            _widen_attributes(node)
    return twin


_wide: "WeakKeyDictionary[ir.TensorProtocol, ref[ir.LazyTensor]]" = WeakKeyDictionary()
"""What has been widened: the twins of a graph and of its copies share their numbers, which nobody writes to."""


def widened_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """Return ``tensor`` in double where it is narrower; the numbers are made when they are read, and freed with it."""
    if tensor.dtype not in WIDENED:
        return tensor
    known = _wide[tensor]() if tensor in _wide else None
    if known is not None:
        return known

    def numbers() -> ir.Tensor[Any]:
        wide = tensor.numpy().astype(np.float64)
        wide.flags.writeable = False
        return ir.Tensor(wide, name=tensor.name)

    shape = ir.Shape(tensor.shape.numpy())
    lazy = ir.LazyTensor(numbers, dtype=ir.DataType.DOUBLE, shape=shape, cache=True, name=tensor.name)
    _wide[tensor] = ref(lazy)
    return lazy


def _widen_type(value: ir.Value) -> None:
    if isinstance(value.type, ir.TensorType) and value.dtype in WIDENED:
        value.type = ir.TensorType(ir.DataType.DOUBLE)


def _widen_attributes(node: ir.Node) -> None:
    for attribute in list(node.attributes.values()):
        node.attributes[attribute.name] = _widened_attribute(attribute)
    if node.op_type == "Constant":
        _widen_constant(node)
    if node.op_type == "ConstantOfShape" and "value" not in node.attributes:
        node.attributes["value"] = ir.AttrTensor("value", ir.tensor(np.zeros(1)))


def _widened_attribute(attribute: ir.Attr) -> ir.Attr:
    if attribute.type == ir.AttributeType.TENSOR:
        return ir.AttrTensor(attribute.name, widened_tensor(attribute.as_tensor()))
    if attribute.name in _TYPE_ATTRIBUTES and attribute.type == ir.AttributeType.INT and attribute.as_int() in WIDENED:
        return ir.AttrInt64(attribute.name, ir.DataType.DOUBLE.value)
    return attribute


def _widen_constant(node: ir.Node) -> None:
    """Turn ``value_float(s)``, which are float32 by definition, into a double tensor of the same numbers."""
    for name in ("value_float", "value_floats"):
        attribute = node.attributes.pop(name, None)
        if attribute is not None:
            numbers = cast("float | tuple[float, ...]", attribute.value)
            stored = np.asarray(numbers, dtype=np.float32).astype(np.float64)
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(stored))
