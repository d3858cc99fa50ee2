"""Weights that several calls share, and the statements under which one value goes on serving all of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from bnfold.folding.forms import Linear
from bnfold.folding.gauges import Ids
from bnfold.folding.journal import distinct
from bnfold.folding.network import Network
from bnfold.graph.constants import Constants

MOVES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators between a stored tensor and its reader that lose nothing: what is written can be carried back."""


@dataclass(frozen=True)
class Stored:
    """Where a constant comes from: a stored tensor, and what moves its elements before it is read.

    Attributes:
        root: an initializer, or what else no further move leads to.
        moves: one entry a move, the first one first: the permutation of a Transpose, or the shape from which another
            move starts.
    """

    root: ir.Value
    moves: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def carried_back(self, array: np.ndarray) -> np.ndarray:
        """Return an array of the constant's elements as the root would store them."""
        for operator, how in reversed(self.moves):
            array = array.transpose(np.argsort(how)) if operator == "Transpose" else array.reshape(how)
        return array


def stored(value: ir.Value, constants: Constants) -> Stored:
    """Follow a constant back to the tensor that holds it."""
    moves: list[tuple[str, tuple[int, ...]]] = []
    while (node := value.producer()) is not None and node.op_type in MOVES and (before := node.inputs[0]) is not None:
        array = constants.get(before)
        if array is None:
            break
        if node.op_type == "Transpose":
            default = range(array.ndim - 1, -1, -1)
            moves.append(("Transpose", tuple(node.attributes.get_ints("perm", tuple(default)))))
        else:
            moves.append(("Reshape", array.shape))
        value = before
    return Stored(value, tuple(reversed(moves)))


def readers(root: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """Yield each node, with the input, that reads a stored tensor as it is or moved."""
    for use in root.uses():
        if use.node.op_type in MOVES and use.idx == 0:
            yield from readers(use.node.outputs[0])
        else:
            yield use.node, use.idx


@dataclass(frozen=True)
class Call:
    """One use of a stored weight by a linear operator.

    Attributes:
        linear: the operator.
        layout: what moves the weight on its way, but for transpositions.
        sources: the operator's sources, as the stored weight lies.
        targets: the operator's targets, likewise.
    """

    linear: Linear
    layout: tuple[object, ...]
    sources: Ids
    targets: Ids

    @classmethod
    def of(cls, linear: Linear, where: Stored) -> "Call":
        """Describe an operator that reads its weight from ``where``."""
        if all(operator == "Transpose" for operator, _ in where.moves):
            return cls(linear, (), where.carried_back(linear.sources), where.carried_back(linear.targets))
        return cls(linear, where.moves, linear.sources, linear.targets)

    def is_like(self, other: "Call") -> bool:
        """Whether the two read the weight the same way round."""
        return (self.layout, self.sources.shape, self.targets.shape) == (
            other.layout,
            other.sources.shape,
            other.targets.shape,
        )

    def slot(self) -> tuple[ir.Node, int]:
        """Return the node and its input."""
        return self.linear.node, self.linear.weight_slot


def tie_weights(network: Network) -> None:
    """State that the calls of one weight W' = s_y·W/s_x go on sharing it: equal scales for all; shifts are left free.

    1. Calls that read the weight the same way round have equal scales, weight by weight.
    2. Where they do not (an encoder and its transpose), or where others read the weight too, as data or from within a
       subgraph, or it is an output of the graph, it stays as it is.
    """
    for root, calls in calls_by_weight(network).items():
        first, *others = calls
        alone = not root.is_graph_output() and set(readers(root)) <= {call.slot() for call in calls}
        if not alone or not all(call.is_like(first) for call in others):
            keep_scales((call.linear for call in calls), network)
        elif others:
            _equate_scales(first, others, network)
        else:
            continue
        network.fixed.update((call.linear.node, "its weight is shared, and stays one value") for call in calls)


def calls_by_weight(network: Network) -> dict[ir.Value, list[Call]]:
    """Return the stored weights, each with the linear operators that read it."""
    calls: dict[ir.Value, list[Call]] = {}
    for linear in network.linears.values():
        value = linear.node.inputs[linear.weight_slot]
        assert value is not None
        where = stored(value, network.facts.constants)
        calls.setdefault(where.root, []).append(Call.of(linear, where))
    return calls


def keep_scales(linears: Iterable[Linear], network: Network) -> None:
    """State s = 1 on both sides of linear operators."""
    for linear in linears:
        network.gauges.know_scale(distinct(linear.sources, linear.targets), network.facts.numbers[linear.node])


def _equate_scales(first: Call, others: Iterable[Call], network: Network) -> None:
    for call in others:
        for one, other in ((first.sources, call.sources), (first.targets, call.targets)):
            network.gauges.relate_scales(one, other, 1.0, network.facts.numbers[call.linear.node])
            network.equal.append((one.ravel(), other.ravel()))
