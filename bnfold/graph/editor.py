"""Edits of one graph: fresh names, stored constants, and the removal of what they leave unused."""

from collections.abc import Iterable
from itertools import chain, count

import numpy as np
import onnx_ir as ir


class Editor:
    """Edits a model's main graph and the bodies in it, and remembers what may have become unused."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self._declares_initializers = model.ir_version < 4
        self._names = {name for name in ir.convenience.create_value_mapping(model.graph) if name}
        self._names |= {node.name for node in model.graph.all_nodes() if node.name}
        self._abandoned: list[ir.Value] = []

    def unique(self, name: str) -> str:
        """Return ``name``, with a number if the graph has it already."""
        candidates = chain([name], (f"{name}_{number}" for number in count(2)))
        chosen = next(candidate for candidate in candidates if candidate not in self._names)
        self._names.add(chosen)
        return chosen

    def initializer(self, name: str, array: np.ndarray) -> ir.Value:
        """Return a new initializer of the main graph; files that list these among their inputs list it too."""
        tensor = ir.Tensor(array, name=self.unique(name))
        value = ir.Value(
            name=tensor.name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self.graph.register_initializer(value)
        if self._declares_initializers:
            self.graph.inputs.append(value)
        return value

    def renewed(self, old: ir.Value, array: np.ndarray, *, suffix: str) -> ir.Value:
        """Return an initializer that holds ``array``: ``old``, if one node alone reads it, else one named after it."""
        if old.is_initializer() and len(old.uses()) == 1 and not old.is_graph_output():
            old.const_value, old.shape = ir.Tensor(array, name=old.name), ir.Shape(array.shape)
            return old
        return self.initializer(f"{old.name}_{suffix}", array)

    def replace(self, node: ir.Node, new: ir.Node) -> ir.Value:
        """Put ``new`` in the place of a node; its first output takes name, readers and declaration of the old one's."""
        old, result = node.outputs[0], new.outputs[0]
        result.name, result.shape, result.type = old.name, old.shape, old.type
        graph_of(node).insert_before(node, new)
        old.replace_all_uses_with(result, replace_graph_outputs=True)
        self.remove(node)
        return result

    def add_behind(self, node: ir.Node, array: np.ndarray) -> ir.Node:
        """Put an Add of a constant behind a node, and return it; its result takes the name of the node's."""
        raw = node.outputs[0]
        name = node.name or raw.name
        constant = self.initializer(f"{name}.bias", array)
        result = ir.Value(name=raw.name, shape=raw.shape, type=raw.type)
        raw.replace_all_uses_with(result, replace_graph_outputs=True)
        raw.name = self.unique(f"{raw.name}_unbiased")
        add = ir.Node("", "Add", [raw, constant], outputs=[result], name=self.unique(f"{name}_bias"))
        graph_of(node).insert_after(node, add)
        return add

    def remove(self, node: ir.Node) -> None:
        """Take out a node that nothing reads; what it alone has read goes with `prune`."""
        self.abandon(node.inputs)
        graph_of(node).remove(node, safe=True)

    def abandon(self, values: Iterable[ir.Value | None]) -> None:
        """Let values go with `prune`, if nothing reads them then."""
        self._abandoned.extend(value for value in values if value is not None)

    def prune(self) -> None:
        """Drop abandoned constants that nothing reads, and the nodes that prepared them."""
        while self._abandoned:
            value = self._abandoned.pop()
            node = value.producer()
            if value.uses() or value.is_graph_output():
                continue
            if value.is_initializer():
                assert isinstance(value.graph, ir.Graph)
                if value.is_graph_input():
                    value.graph.inputs.remove(value)
                value.graph.initializers.pop(value.name or "", None)
            elif node is not None and node.graph is not None:
                self.remove(node)


def graph_of(node: ir.Node) -> ir.Graph:
    """Return the graph that a node is in, the main one or a body."""
    assert isinstance(node.graph, ir.Graph)
    return node.graph
