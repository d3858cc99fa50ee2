"""Finds the affine maps that can go together, and the gauges under which they do."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from bnfold.folding.affine import Affine
from bnfold.folding.contradiction import Contradiction
from bnfold.folding.forms import Linear, Normalization, Pointwise
from bnfold.folding.gauges import Ids
from bnfold.folding.journal import distinct
from bnfold.folding.labels import with_rank
from bnfold.folding.network import Network
from bnfold.folding.parts import parts
from bnfold.folding.precision import overstrained_roots
from bnfold.folding.refusal import Refusal, range_refusal, refusal_of
from bnfold.folding.report import Reason
from bnfold.folding.scales import choose_scales, made_equal
from bnfold.folding.solution import Solution

LARGEST_FACTOR = 1e100
"""An |a| beyond this, or below its inverse, leaves no room for the products that the algebra forms in float64."""


_BATCH = 2**12
"""Channels whose maps are tried together: beyond that a statement costs by the channel, no longer by the statement."""


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

    def bordered(self) -> Iterator[ir.Node]:
        """Yield the padded operators behind which a border map is added."""
        for linear in self.linears.values():
            if linear.taps is not None and self.solution.bias(linear)[1] is not None:
                yield linear.node


def normalizations_first(network: Network) -> tuple[Pointwise, ...]:
    """Return the affine maps in graph order, normalizations before arithmetic with constants."""
    return tuple(sorted(network.maps.values(), key=lambda pointwise: not isinstance(pointwise, Normalization)))


def solve(
    network: Network, *, order: Sequence[Pointwise] | None = None, doubtful: Collection[Pointwise] = ()
) -> Removals:
    """Try all removals; then again without those whose weights would not fit their type, until all fit.

    The network's gauges are in the end what they were.

    Args:
        network: a graph of which every rule has stated what its operator carries.
        order: the network's affine maps as they are to be tried, since what is removed early can stand in the way of
            what comes later; default: `normalizations_first`.
        doubtful: maps that could not go when they were tried in another order, so that their parts cannot go whole.
    """
    start, refused = network.gauges.checkpoint(), dict(network.withheld)
    order = normalizations_first(network) if order is None else order
    while True:
        attempt = _Attempt(network, refused, order, frozenset(doubtful))
        solution, overstrained = _choose(attempt)
        if overstrained:
            blamed = _blamed(attempt, overstrained)
            assert blamed, "nothing is overstrained where no map is removed"
            refused |= blamed
        classes, _ = network.gauges.roots(np.arange(len(network.gauges)))
        network.gauges.rollback(start)
        if not overstrained:
            return Removals(attempt.removed, attempt.kept, attempt.refused, attempt.linears, solution, classes)


class _Attempt:
    """One attempt at all removals: what it removed, what it refused, and the linear operators as they would be then."""

    def __init__(
        self,
        network: Network,
        refused: Mapping[Pointwise, Refusal],
        order: Sequence[Pointwise],
        doubtful: frozenset[Pointwise],
    ) -> None:
        self.network = network
        self.gauges = network.gauges
        self.refused = dict(refused)
        self.linears = dict(network.linears)
        self.producers = {linear.node: linear.node for linear in network.linears.values()}
        self.producers |= {linear.bias[0]: linear.node for linear in network.linears.values() if linear.bias}
        self._decide_signs(network.turning)
        for part in (found := parts(self.gauges, order)):
            if doubtful.intersection(part):
                for candidate in self._candidates(part):
                    self._remove_parts([[candidate]])
        for batch in _batches(list(self._candidates(part)) for part in found if doubtful.isdisjoint(part)):
            self._remove_parts(batch)
        going = {p: p.removable and p not in self.refused for p in network.maps.values()}
        self.removed = tuple(pointwise for pointwise, goes in going.items() if goes)
        self.kept = tuple(pointwise for pointwise, goes in going.items() if not goes)

    def _decide_signs(self, turning: Sequence[Pointwise]) -> None:
        """Try the removal of maps that turn the sign before all others, which depend on what becomes of these."""
        mark = self.gauges.checkpoint()
        try:
            for pointwise in turning:
                if pointwise not in self.refused:
                    refusal = self._remove([_Candidate(pointwise, pointwise.affine)])
                    if refusal is None:
                        continue
                    self.refused[pointwise] = refusal
                self.network.keep_sign(pointwise)
        except Contradiction as contradiction:  # one that cannot go shares its scales with one that went: all stay
            self.gauges.rollback(mark)
            for pointwise in turning:
                self.refused.setdefault(pointwise, refusal_of(contradiction, self.network, pointwise))
                self.network.keep_sign(pointwise)

    def overstrained(self, solution: Solution) -> dict[int, ir.Node]:
        """Return the scale classes under which a constant would not fit its type, with the node that reads it."""
        return overstrained_roots(self.network, solution, self.linears.values(), self.removed, self.kept)

    def _candidates(self, some: Iterable[Pointwise]) -> Iterator["_Candidate"]:
        """Yield the maps that can be tried; refuse those that cannot go for what they are themselves."""
        for pointwise in some:
            if pointwise.removable and not pointwise.carrier.turns_sign and pointwise not in self.refused:
                candidate = self._candidate(pointwise)
                if isinstance(candidate, Refusal):
                    self.refused[pointwise] = candidate
                else:
                    yield candidate

    def _remove_parts(self, some: Sequence[Sequence["_Candidate"]]) -> None:
        """Remove what can go of some parts: all at once if that can be, else of one half of them and then of the other.

        The maps of a part that cannot go whole are tried one after the other. In the end that is what would go if all
        were tried so: what can go together can go in any order.
        """
        refusal = self._remove([candidate for part in some for candidate in part])
        if refusal is None:
            return
        if len(some) > 1:
            middle = len(some) // 2
            self._remove_parts(some[:middle])
            self._remove_parts(some[middle:])
        elif len(some[0]) > 1:
            for candidate in some[0]:
                self._remove_parts([[candidate]])
        else:
            self.refused[some[0][0].pointwise] = refusal

    def _remove(self, some: Sequence["_Candidate"]) -> Refusal | None:
        """State what the removal of some maps needs; take it back, and say why, if it contradicts what holds already.

        The last map comes first: where the shift may be its result's or its input's, the result's stays free.
        """
        mark = self.gauges.checkpoint()
        rows = [candidate.rows(self.network.facts.numbers) for candidate in reversed(some)]
        sources, targets, scale, offset, causes = (np.concatenate(column) for column in zip(*rows, strict=True))
        try:
            self.gauges.relate_scales(sources, targets, scale, causes)
            self.gauges.relate_shifts([(scale, sources), (-1.0, targets)], offset, causes)
        except Contradiction as contradiction:
            self.gauges.rollback(mark)
            return refusal_of(contradiction, self.network, some[0].pointwise)
        for candidate in some:
            for node, channels in candidate.silenced.items():
                self.linears[node] = self.linears[node].silence(channels)
        return None

    def _candidate(self, pointwise: Pointwise) -> "_Candidate | Refusal":
        """Return what the removal of a map needs, or why nothing can be enough.

        A channel with a = 0 is the constant b behind the map; removing the map there would need s = 0.

        1. The input is computed by a linear operator, possibly with affine maps between, for this map alone: the
           operator's weights for the channel become 0. The input is then some constant k, and a = 1 with b − k is
           right.
        2. Else the map is kept; so it is where the operator's weight is not its own to change.
        """
        scale, offset = pointwise.affine.scale, pointwise.affine.offset
        magnitude = np.abs(scale)
        if (magnitude > LARGEST_FACTOR).any() or ((magnitude < 1 / LARGEST_FACTOR) & (magnitude > 0)).any():
            return Refusal(Reason.WEIGHT_RANGE, None, "its scale exceeds what weights can hold")
        if scale.all():
            return _Candidate(pointwise, pointwise.affine)
        linear, between = self._computed_by(pointwise)
        computed = (between[0] if between else pointwise).input
        label = self.network.label(computed)
        if linear is None or label is None or linear.node in self.network.fixed:
            return _zero_refusal(pointwise.input)
        # By the label of what is computed: several of its channels may be one to the map.
        zero = scale == 0
        zeros, channels = np.broadcast_arrays(zero, with_rank(label, zero.ndim))
        dead = distinct(channels[zeros])
        if np.isin(dead, channels[~zeros]).any():
            return _zero_refusal(pointwise.input)
        k = np.zeros(1)
        for earlier in between:
            k = earlier.affine.scale * k + earlier.affine.offset
        live = np.broadcast_arrays(np.where(zero, 1.0, scale), np.where(zero, offset - k, offset))
        return _Candidate(pointwise, Affine(*live), {linear.node: dead.tolist()})

    def _computed_by(self, pointwise: Pointwise) -> tuple[Linear | None, list[Pointwise]]:
        """Return the linear operator that computes a map's input for it alone, and the maps between, in order."""
        between: list[Pointwise] = []
        while True:
            x = pointwise.input
            producer = None if len(x.uses()) > 1 or x.is_graph_output() else x.producer()
            if producer is None or producer in self.producers:
                return (None if producer is None else self.linears[self.producers[producer]]), between
            if (earlier := self.network.maps.get(producer)) is None or not earlier.removable:
                return None, between
            between.insert(0, pointwise := earlier)


@dataclass(frozen=True)
class _Candidate:
    """What the removal of a map needs.

    Attributes:
        pointwise: the map.
        affine: what it computes, by no a = 0.
        silenced: linear operators of which some output channels, named by their gauge variables, become 0 for it.
    """

    pointwise: Pointwise
    affine: Affine
    silenced: Mapping[ir.Node, Sequence[int]] = field(default_factory=dict)

    def rows(self, numbers: Mapping[ir.Node, int]) -> list[np.ndarray]:
        """Return sources, targets, a, b, and the number of the map's node, as columns of one entry a channel."""
        pointwise = self.pointwise
        cause = np.array(numbers[pointwise.node])
        columns = pointwise.sources, pointwise.targets, self.affine.scale, self.affine.offset, cause
        return [column.ravel() for column in np.broadcast_arrays(*columns)]


def _batches(some: Iterable[Sequence[_Candidate]]) -> Iterator[list[Sequence[_Candidate]]]:
    """Yield small parts together and large ones alone; none that is empty."""
    batch, total = list[Sequence[_Candidate]](), 0
    for part in filter(None, some):
        size = sum(candidate.pointwise.targets.size for candidate in part)
        if size >= _BATCH:
            yield [part]
            continue
        batch.append(part)
        total += size
        if total >= _BATCH:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


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
