"""Gives the values of a float64 graph their types, with a Cast wherever two types meet."""

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir

from bnfold.export.definitions import find_schema
from bnfold.graph.editor import Editor
from bnfold.graph.rounding import rounded

_TYPE_ATTRIBUTES = ("to", "dtype")
"""Attributes that hold the type of a result."""


def narrow_types(
    model: ir.Model, chosen: Mapping[ir.Node, ir.DataType], ports: Mapping[str, ir.DataType], floats: Collection[str]
) -> int:
    """Let every node compute in its type; return how many Casts that takes.

    Args:
        model: a float64 graph, edited in place. Its weights are rounded once.
        chosen: the type of each node of the main graph.
        ports: the types of the graph's inputs and outputs, by name.
        floats: names of the floating-point results of nodes.
    """
    editor = _Typist(model, ports, floats)
    opset = model.graph.opset_imports.get("", 1)
    for node in list(model.graph):
        editor.type_node(node, chosen[node], opset)
    editor.type_outputs()
    editor.drop_unread()
    return editor.casts


class _Typist:
    """Types one graph from its inputs on."""

    def __init__(self, model: ir.Model, ports: Mapping[str, ir.DataType], floats: Collection[str]) -> None:
        self.editor, self.graph = Editor(model), model.graph
        self.ports, self.floats = ports, floats
        self.casts = 0
        self.types: dict[ir.Value, ir.DataType] = {}
        self.converted: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self.weights = [v for v in self.graph.initializers.values() if v.dtype is ir.DataType.DOUBLE]
        for value in self.graph.inputs:
            if value.dtype is ir.DataType.DOUBLE and not value.is_initializer():
                self._set(value, ports[value.name or ""])

    def type_node(self, node: ir.Node, dtype: ir.DataType, opset: int) -> None:
        """Give a node operands of the types that it takes, and note those of its results."""
        schema = find_schema(node.op_type, opset) if node.domain == "" else None
        formals = [] if schema is None else list(schema.inputs)
        for slot, value in enumerate(node.inputs):
            if value is not None and (value in self.types or value in self.weights):
                allowed = formals[min(slot, len(formals) - 1)].types if formals else ()
                node.replace_input_with(slot, self._as(value, _nearest(dtype, allowed)))
        _retype_attributes(node, dtype)
        results = [] if schema is None else list(schema.outputs)
        for slot, value in enumerate(node.outputs):
            if value.name in self.floats:
                allowed = results[min(slot, len(results) - 1)].types if results else ()
                self._set(value, _nearest(dtype, allowed))

    def type_outputs(self) -> None:
        """Give the graph's outputs the types that they had, under the names that they had."""
        for slot, value in enumerate(list(self.graph.outputs)):
            wanted = self.ports.get(value.name or "")
            known = value in self.types or value in self.weights
            if wanted is None or not known or self.types.get(value) is wanted:
                continue
            name = value.name or ""
            if value in self.weights:
                value.const_value = ir.Tensor(_stored(value, wanted), name=name)
                value.type = ir.TensorType(wanted)
                self.types[value] = wanted
                continue
            value.name = self.editor.unique(f"{name}_{self.types[value].name.lower()}")
            result = self._as(value, wanted, at_end=True)
            result.name = name
            self.graph.outputs[slot] = result

    def drop_unread(self) -> None:
        """Remove the float64 weights that have been replaced."""
        for value in self.weights:
            if not value.uses() and not value.is_graph_output():
                if value.is_graph_input():
                    self.graph.inputs.remove(value)
                self.graph.initializers.pop(value.name or "", None)
        for value in self.weights:
            twins = [twin for (old, _), twin in self.converted.items() if old is value]
            if len(twins) == 1 and not value.uses() and not value.is_graph_output():
                self._rename(twins[0], value.name or "")

    def _rename(self, value: ir.Value, name: str) -> None:
        self.graph.initializers.pop(value.name or "", None)
        value.name = name
        if value.const_value is not None:
            value.const_value.name = name
        self.graph.register_initializer(value)

    def _as(self, value: ir.Value, dtype: ir.DataType, *, at_end: bool = False) -> ir.Value:
        """Return a value in a type: itself, a weight rounded once, or the result of a Cast behind its producer."""
        if self.types.get(value) is dtype:
            return value
        key = (value, dtype)
        if key not in self.converted or at_end:
            self.converted[key] = self._convert(value, dtype)
        return self.converted[key]

    def _convert(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        name = f"{value.name}_{dtype.name.lower()}"
        if value in self.weights:
            return self.editor.initializer(name, _stored(value, dtype))
        self.casts += 1
        cast = ir.Node("", "Cast", [value], [ir.AttrInt64("to", dtype.value)], name=self.editor.unique(f"{name}_cast"))
        result = cast.outputs[0]
        result.name, result.shape = self.editor.unique(name), value.shape
        self._set(result, dtype)
        producer = value.producer()
        if producer is not None:
            self.graph.insert_after(producer, cast)
        else:
            self.graph.insert_before(self.graph[0], cast)
        return result

    def _set(self, value: ir.Value, dtype: ir.DataType) -> None:
        value.type = ir.TensorType(dtype)
        self.types[value] = dtype


def _stored(value: ir.Value, dtype: ir.DataType) -> np.ndarray:
    assert value.const_value is not None
    return rounded(value.const_value.numpy(), dtype)


def _nearest(dtype: ir.DataType, allowed: Collection[str]) -> ir.DataType:
    """Return ``dtype`` if an operand may have it, else float32: what operators take that fix a type."""
    return dtype if not allowed or f"tensor({dtype.name.lower()})" in allowed else ir.DataType.FLOAT


def _retype_attributes(node: ir.Node, dtype: ir.DataType) -> None:
    for name in _TYPE_ATTRIBUTES:
        attribute = node.attributes.get(name)
        if attribute is not None and attribute.type == ir.AttributeType.INT and attribute.as_int() == 11:
            node.attributes[name] = ir.AttrInt64(name, dtype.value)
    for attribute in list(node.attributes.values()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype is ir.DataType.DOUBLE:
            array = rounded(attribute.as_tensor().numpy(), dtype)
            node.attributes[attribute.name] = ir.AttrTensor(attribute.name, ir.Tensor(array))
