"""Finds the affine maps that can go together, and the gauges under which they do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from bnfold.folding.affine import Affine
from bnfold.folding.contradiction import Contradiction
from bnfold.folding.forms import Linear, Normalization, Pointwise
from bnfold.folding.gauges import Ids
from bnfold.folding.labels import with_rank
from bnfold.folding.network import Network
from bnfold.folding.precision import overstrained_roots
from bnfold.folding.refusal import Refusal, range_refusal, refusal_of
from bnfold.folding.report import Reason
from bnfold.folding.scales import choose_scales, made_equal
from bnfold.folding.solution import Solution

LARGEST_FACTOR = 1e100
"""An |a| beyond this, or below its inverse, leaves no room for the products that the algebra forms in float64."""


@dataclass(frozen=True)
class Removals:
    """What `solve` found.

    Attributes:
        removed: affine maps that go, in graph order.
        kept: affine maps that stay, in graph order.
        refused: why a map that could have gone stays.
        linears: the linear operators by node, with channels silenced where a removal needs it.
        solution: the gauges.
        classes: the representative of every variable's scale class.
    """

    removed: tuple[Pointwise, ...]
    kept: tuple[Pointwise, ...]
    refused: Mapping[Pointwise, Refusal]
    linears: Mapping[ir.Node, Linear]
    solution: Solution
    classes: Ids


def solve(network: Network, *, normalizations_first: bool = True) -> Removals:
    """Try all removals; then again without those whose weights would not fit their type, until all fit.

    The network's gauges are in the end what they were.

    Args:
        network: a graph of which every rule has stated what its operator carries.
        normalizations_first: which maps are tried first, since what is removed early can stand in the way of what comes
            later: normalizations, or arithmetic with constants.
    """
    start, refused = network.gauges.checkpoint(), dict(network.withheld)
    while True:
        attempt = _Attempt(network, refused, normalizations_first=normalizations_first)
        solution, overstrained = _choose(attempt)
        if overstrained:
            refused |= _blamed(attempt, overstrained)
        classes, _ = network.gauges.roots(np.arange(len(network.gauges)))
        network.gauges.rollback(start)
        if not overstrained:
            return Removals(attempt.removed, attempt.kept, attempt.refused, attempt.linears, solution, classes)


class _Attempt:
    """One attempt at all removals: what it removed, what it refused, and the linear operators as they would be then."""

    def __init__(self, network: Network, refused: Mapping[Pointwise, Refusal], *, normalizations_first: bool) -> None:
        self.network = network
        self.gauges = network.gauges
        self.refused = dict(refused)
        self.linears = dict(network.linears)
        self.maps = {pointwise.node: pointwise for pointwise in network.pointwise}
        self.producers = {linear.node: linear.node for linear in network.linears.values()}
        self.producers |= {linear.bias[0]: linear.node for linear in network.linears.values() if linear.bias}
        self._decide_signs(network.turning)
        for pointwise in sorted(network.pointwise, key=lambda p: isinstance(p, Normalization) != normalizations_first):
            if pointwise.removable and not pointwise.carrier.turns_sign and pointwise not in self.refused:
                refusal = self._remove(pointwise, network.facts.numbers[pointwise.node])
                if refusal is not None:
                    self.refused[pointwise] = refusal
        going = {pointwise: pointwise.removable and pointwise not in self.refused for pointwise in network.pointwise}
        self.removed = tuple(pointwise for pointwise, goes in going.items() if goes)
        self.kept = tuple(pointwise for pointwise, goes in going.items() if not goes)

    def _decide_signs(self, turning: Sequence[Pointwise]) -> None:
        """Try the removal of maps that turn the sign before all others, which depend on what becomes of these."""
        mark = self.gauges.checkpoint()
        try:
            for pointwise in turning:
                if pointwise not in self.refused:
                    refusal = self._remove(pointwise, self.network.facts.numbers[pointwise.node])
                    if refusal is None:
                        continue
                    self.refused[pointwise] = refusal
                self.network.keep_sign(pointwise)
        except Contradiction as contradiction:  # one that cannot go shares its scales with one that went: all stay
            self.gauges.rollback(mark)
            self.linears = dict(self.network.linears)
            for pointwise in turning:
                self.refused.setdefault(pointwise, refusal_of(contradiction, self.network, pointwise))
                self.network.keep_sign(pointwise)

    def overstrained(self, solution: Solution) -> dict[int, ir.Node]:
        """Return the scale classes under which a constant would not fit its type, with the node that reads it."""
        thresholds = self.network.thresholds
        return overstrained_roots(self.gauges, solution, self.linears.values(), self.removed, self.kept, thresholds)

    def _remove(self, pointwise: Pointwise, cause: int) -> Refusal | None:
        """State what a removal needs; take all of it back if some of it contradicts what holds already."""
        magnitude = np.abs(pointwise.affine.scale)
        if (magnitude > LARGEST_FACTOR).any() or ((magnitude < 1 / LARGEST_FACTOR) & (magnitude > 0)).any():
            return Refusal(Reason.WEIGHT_RANGE, None, "its scale exceeds what weights can hold")
        mark = self.gauges.checkpoint()
        live, linear = self._without_zeros(pointwise)
        if isinstance(live, Refusal):
            return live
        try:
            self.gauges.relate_scales(live.sources, live.targets, live.affine.scale, cause)
            self.gauges.relate_shifts(
                [(live.affine.scale, live.sources), (-1.0, live.targets)], live.affine.offset, cause
            )
        except Contradiction as contradiction:
            self.gauges.rollback(mark)
            return refusal_of(contradiction, self.network, pointwise)
        if linear is not None:
            self.linears[linear.node] = linear
        return None

    def _without_zeros(self, pointwise: Pointwise) -> tuple[Pointwise | Refusal, Linear | None]:
        """Return the map without zeros in a, and the linear operator before it if that must change for it.

        A channel with a = 0 is the constant b behind the map; removing the map there would need s = 0.

        1. The input is computed by a linear operator, possibly with affine maps between, for this map alone: the
           operator's weights for the channel become 0. The input is then some constant k, and a = 1 with b − k is
           right.
        2. Else the map is kept; so it is where the operator's weight is not its own to change.
        """
        scale, offset = pointwise.affine.scale, pointwise.affine.offset
        if scale.all():
            return pointwise, None
        linear, between = self._computed_by(pointwise)
        computed = (between[0] if between else pointwise).input
        label = self.network.label(computed)
        if linear is None or label is None or linear.node in self.network.fixed:
            return _zero_refusal(pointwise.input), None
        # By the label of what is computed: several of its channels may be one to the map.
        zero = scale == 0
        zeros, channels = np.broadcast_arrays(zero, with_rank(label, zero.ndim))
        dead = np.unique(channels[zeros])
        if np.isin(dead, channels[~zeros]).any():
            return _zero_refusal(pointwise.input), None
        k = np.zeros(1)
        for earlier in between:
            k = earlier.affine.scale * k + earlier.affine.offset
        live = np.broadcast_arrays(np.where(zero, 1.0, scale), np.where(zero, offset - k, offset))
        return replace(pointwise, affine=Affine(*live)), linear.silence(dead.tolist())

    def _computed_by(self, pointwise: Pointwise) -> tuple[Linear | None, list[Pointwise]]:
        """Return the linear operator that computes a map's input for it alone, and the maps between, in order."""
        between: list[Pointwise] = []
        while True:
            x = pointwise.input
            producer = None if len(x.uses()) > 1 or x.is_graph_output() else x.producer()
            if producer is None or producer in self.producers:
                return (None if producer is None else self.linears[self.producers[producer]]), between
            if (earlier := self.maps.get(producer)) is None or not earlier.removable:
                return None, between
            between.insert(0, pointwise := earlier)


def _zero_refusal(x: ir.Value) -> Refusal:
    """Say why zeros in a cannot be moved into the operator that computes x."""
    detail = f"its scale is 0 in places, and {x.name} is not the result of a linear operator for it alone"
    return Refusal(Reason.ZERO_SCALE, x.name, detail)


def _choose(attempt: _Attempt) -> tuple[Solution, dict[int, ir.Node]]:
    """Return the gauges, and the scale classes under which a constant would not fit its type, with its node.

    Where one does not fit, its class's scale is spread over the weights on both sides before the class is given up.
    """
    balanced = dict[int, ir.Node]()
    equal = attempt.network.equal
    solution = made_equal(choose_scales(attempt.gauges, attempt.removed), equal)
    overstrained = attempt.overstrained(solution)
    while not overstrained.keys() <= balanced.keys():
        balanced |= overstrained
        solution = made_equal(choose_scales(attempt.gauges, attempt.removed, balanced=balanced), equal)
        overstrained = attempt.overstrained(solution)
    return solution, overstrained


def _blamed(attempt: _Attempt, overstrained: Mapping[int, ir.Node]) -> dict[Pointwise, Refusal]:
    """Return, for every node whose constants do not fit, the most extreme removal that bears on them."""
    worst: dict[ir.Node, tuple[float, Pointwise]] = {}
    for pointwise in attempt.removed:
        arrays = np.broadcast_arrays(pointwise.sources, pointwise.affine.scale, pointwise.affine.offset)
        sources, scale, offset = (array.ravel() for array in arrays)
        with np.errstate(divide="ignore"):
            extremity = np.abs(np.log(np.abs(scale))) + np.log1p(np.abs(offset))
        roots, _ = attempt.gauges.roots(sources)
        for i in np.flatnonzero(np.isin(roots, list(overstrained))).tolist():
            node = overstrained[int(roots[i])]
            if node not in worst or extremity[i] > worst[node][0]:
                worst[node] = (float(extremity[i]), pointwise)
    if not worst:  # what does not fit came as a shift, across maps that stay: from any of those that shift
        node = next(iter(overstrained.values()))
        shifting = [pointwise for pointwise in attempt.removed if pointwise.affine.offset.any()] or attempt.removed
        return dict.fromkeys(shifting, range_refusal(node))
    return {pointwise: range_refusal(node) for node, (_, pointwise) in worst.items()}
