"""All mutants in one graph: the wrong constants that each of them reads are inputs, which a call may leave out.

Source: Untch, Offutt and Harrold, "Mutation analysis using mutant schemata", 1993.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from bnfold.graph.constants import Constants
from bnfold.verify.mutants import DATA_SLOT, WEIGHT_SLOT, Mutant
from bnfold.verify.samples import Arrays

_OVERRIDABLE = 4
"""IR version from which on an initializer that is a graph input too is a default, which a call may override."""


class MetaMutant:
    """A copy of the candidate that computes what the candidate does, and what a mutant does where that is fed.

    Every constant that a mutant changes is there one of the node's own, and the default of an input; where a mutant
    shifts data, they are shifted by zero.

    Attributes:
        model: the copy, for one session that serves all mutants.
    """

    def __init__(self, candidate: ir.Model, mutants: Sequence[Mutant]) -> None:
        self.model = candidate.clone()
        self.model.ir_version = max(self.model.ir_version, _OVERRIDABLE)
        self._constants, self._right = Constants(candidate), dict[str, np.ndarray]()
        self._nodes, originals = list(self.model.graph), list(candidate.graph)
        for mutant in mutants:
            for slot in mutant.changes:
                if self._name(mutant, slot) not in self._right:
                    self._open(mutant, slot, originals[mutant.index])

    def feeds(self, mutant: Mutant) -> Arrays:
        """Return what is to be fed beside the inputs of the candidate, to compute what ``mutant`` does."""
        fed: dict[str, np.ndarray] = {}
        for slot, change in mutant.changes.items():
            right = self._right[self._name(mutant, slot)]
            fed[self._name(mutant, slot)] = change(right.astype(np.float64)).astype(right.dtype)
        return fed

    def _name(self, mutant: Mutant, slot: int) -> str:
        return f"{self._nodes[mutant.index].outputs[0].name}.mutant{slot}"

    def _open(self, mutant: Mutant, slot: int, original: ir.Node) -> None:
        """Let a node of the copy read what can be fed, in the place of what ``original`` reads."""
        node, name = self._nodes[mutant.index], self._name(mutant, slot)
        weight = self._constants.get(original.inputs[WEIGHT_SLOT])
        assert weight is not None
        if slot == DATA_SLOT:
            shift = self._default(name, np.zeros(1, weight.dtype))
            shifted = ir.Node("", "Add", [node.inputs[0], shift], outputs=[ir.Value(name=f"{name}.shifted")])
            self.model.graph.insert_before(node, shifted)
            node.replace_input_with(slot, shifted.outputs[0])
            return
        absent = slot >= len(original.inputs) or original.inputs[slot] is None
        right = np.zeros(len(weight), weight.dtype) if absent else self._constants.get(original.inputs[slot])
        assert right is not None
        node.resize_inputs(max(slot + 1, len(node.inputs)))
        node.replace_input_with(slot, self._default(name, right))

    def _default(self, name: str, array: np.ndarray) -> ir.Value:
        self._right[name] = array
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.model.graph.register_initializer(value)
        self.model.graph.inputs.append(value)
        return value
