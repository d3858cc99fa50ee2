"""Finds regions of a graph that are one convolution, and takes those that become cheaper.

A region is a tree of linear operators: its root is the value that it computes, the values inside are read by nothing
but the region, and all its branches end in one value, the base. Each value that a linear operator computes has a form
for each base that it can be seen from; adding and composing forms is `bnfold.merging.convolution`. From the inputs on,
the cheapest way to compute each value is either its own node, or one Conv of one of its bases.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from bnfold.merging.convolution import Atom, Composition, Convolution, Total
from bnfold.merging.cost import PASS, cost, work
from bnfold.merging.facts import PRODUCTS, Facts, name_of
from bnfold.merging.operators import Addition, Linear, Meaning, meaning
from bnfold.merging.report import Hindrance, Rule, Unmergeable, Unmerged

MOST_BASES = 12
"""Bases that are tried for one value: the nearest ones. Longer chains merge in several rounds."""


@dataclass(frozen=True, eq=False)
class Region:
    """A value as a convolution of another.

    Attributes:
        base: the value that is read.
        nodes: the operators in between, in graph order; the last one computes the value.
        convolution: what they compute together.
        summed: whether there is an addition of run-time values among them.
    """

    base: ir.Value
    nodes: tuple[ir.Node, ...]
    convolution: Convolution
    summed: bool

    @property
    def root(self) -> ir.Node:
        """The node whose result the region computes."""
        return self.nodes[-1]

    @property
    def weighted(self) -> list[ir.Node]:
        """The nodes of the region that have a weight: Convs, or matrix products."""
        return [node for node in self.nodes if node.op_type in {"Conv", *PRODUCTS}]

    @property
    def has_bias(self) -> bool:
        """Whether the one node that takes its place can hold a bias; a MatMul cannot."""
        return any(node.op_type != "MatMul" for node in self.weighted)

    @property
    def rule(self) -> Rule:
        """Return what merging it is called."""
        if self.summed:
            return Rule.PARALLEL
        if len(self.weighted) > 1 or any(node.op_type == "AveragePool" for node in self.nodes):
            return Rule.SEQUENTIAL
        return Rule.PADDING if any(node.op_type == "Pad" for node in self.nodes) else Rule.AFFINE


@dataclass(frozen=True, eq=False)
class _Choice:
    """The cheapest way found to compute a value from the values that other regions compute."""

    cost: float
    regions: tuple[Region, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """The regions to merge, none of which overlap, and the additions that stay, in graph order."""

    regions: tuple[Region, ...]
    unmerged: tuple[Unmerged, ...]


def make_plan(facts: Facts, left: frozenset[str]) -> Plan:
    """Return what is to be merged in the graph as it is; nothing is edited.

    Args:
        facts: of the graph.
        left: names of values whose regions were tried, and cannot be written.
    """
    planner = _Planner(facts, left)
    for node in facts.graph:
        planner.visit(node)
    regions = [region for root in planner.roots() for region in planner.choices[root].regions]
    merged = {node for region in regions for node in region.nodes}
    return Plan(tuple(regions), tuple(stays for node, stays in planner.unmerged.items() if node not in merged))


def before(region: Region, facts: Facts) -> float:
    """Return the multiply-adds that the nodes of a region spend for one output position of its root."""
    sizes, inside = {region.root: 1.0}, set(region.nodes)
    total = 0.0
    for node in reversed(region.nodes):
        found = meaning(node, facts)
        assert found is not None
        step = found.convolution.geometry if isinstance(found, Linear) else None
        if isinstance(found, Linear) and found.multiplies:
            total += sizes[node] * work(found.convolution.geometry)
        for value in node.inputs:
            producer = None if value is None else value.producer()
            if producer is not None and producer in inside:
                sizes[producer] = sizes[node] * (1 if step is None else step.stride)
    return total


class _Planner:
    """Goes through the graph once, from the inputs on."""

    def __init__(self, facts: Facts, left: frozenset[str]) -> None:
        self.facts = facts
        self.left = left
        self.meanings: dict[ir.Node, Meaning] = {}
        self.order: dict[ir.Node, int] = {}
        self.forms: dict[ir.Value, tuple[Region, ...]] = {}
        self.choices: dict[ir.Value, _Choice] = {}
        self.unmerged: dict[ir.Node, Unmerged] = {}
        self.refused: dict[ir.Value, Unmergeable] = {}

    def visit(self, node: ir.Node) -> None:
        """Find the forms of a node's result, and the cheapest way to compute it."""
        found = meaning(node, self.facts)
        if found is None:
            return
        value = node.outputs[0]
        self.meanings[node], self.order[node] = found, len(self.order)
        self.forms[value] = self._composed(node, found) if isinstance(found, Linear) else self._added(node, found)
        self.choices[value] = self._chosen(node, found)
        if isinstance(found, Addition):
            self._explain(node, found)

    def roots(self) -> list[ir.Value]:
        """Return the values that no other linear operator has inside its tree."""
        return [value for value in self.choices if not self._is_inside(value)]

    def _is_inside(self, value: ir.Value) -> bool:
        return self.facts.only_reader(value) in self.meanings and value in self.choices

    def _composed(self, node: ir.Node, linear: Linear) -> tuple[Region, ...]:
        forms = [Region(linear.source, (node,), linear.convolution, summed=False)]
        for inner in self._seen_through(linear.source):
            if len(inner.convolution.geometry.axes) != len(linear.convolution.geometry.axes):
                continue  # rows, and channels on the second axis
            try:
                whole = Composition(linear.convolution, inner.convolution)
            except Unmergeable as reason:
                self.refused[node.outputs[0]] = reason
                continue
            forms.append(replace(inner, nodes=(*inner.nodes, node), convolution=whole))
        return tuple(forms[:MOST_BASES])

    def _added(self, node: ir.Node, addition: Addition) -> tuple[Region, ...]:
        """Return one form for each base that all terms have in common."""
        terms = [self._alternatives(node, value, sign) for value, sign in addition.terms]
        forms: list[Region] = []
        for base in terms[0]:
            branches = [term[base] for term in terms if base in term]
            if len(branches) < len(terms):
                continue
            try:
                forms.append(self._total(node, base, branches))
            except Unmergeable as reason:
                self.unmerged[node] = Unmerged(name_of(node), reason.hindrance, str(reason))
        return tuple(forms[:MOST_BASES])

    def _total(self, node: ir.Node, base: ir.Value, branches: Sequence[Region]) -> Region:
        rank = len(branches[0].convolution.geometry.axes)
        dims = self.facts.dims(base) or (None,) * (2 + rank)
        extents = tuple(extent if isinstance(extent, int) else None for extent in dims[2 : 2 + rank])
        total = Total(tuple(branch.convolution for branch in branches), extents)
        inside = {inner for branch in branches for inner in branch.nodes}
        nodes = (*sorted(inside, key=self.order.__getitem__), node)
        return Region(base, nodes, total, summed=True)

    def _alternatives(self, node: ir.Node, value: ir.Value, sign: float) -> dict[ir.Value, Region]:
        """Return a term of an addition by base; its own value is one."""
        layout = self.facts.layout(node, value)
        assert layout is not None
        channels, rank = layout
        factor = Atom.diagonal(np.full(channels, sign), np.zeros(channels), rank)
        terms = {value: Region(value, (), factor, summed=False)}
        for form in self._seen_through(value):
            if len(form.convolution.geometry.axes) != rank:
                continue
            convolution = form.convolution if sign == 1 else Composition(factor, form.convolution)
            terms.setdefault(form.base, replace(form, convolution=convolution))
        return terms

    def _seen_through(self, value: ir.Value) -> tuple[Region, ...]:
        """Return the forms of a value that nothing else reads, none otherwise."""
        return self.forms.get(value, ()) if self.facts.only_reader(value) is not None else ()

    def _chosen(self, node: ir.Node, found: Meaning) -> _Choice:
        value = node.outputs[0]
        best = self._as_it_is(node, found)
        if value.name in self.left:
            return best
        for form in self.forms[value]:
            if len(form.nodes) < 2 or not form.weighted:
                continue
            geometry, rest = form.convolution.geometry, self._inside(form.base)
            price = cost(geometry) + geometry.stride * rest.cost
            if not (form.has_bias or form.convolution.silent):
                price += PASS * geometry.outputs
            if price < best.cost:
                best = _Choice(price, (*rest.regions, form))
        return best

    def _as_it_is(self, node: ir.Node, found: Meaning) -> _Choice:
        """Return the node's own cost, and the best for what it reads."""
        if isinstance(found, Linear):
            geometry, rest = found.convolution.geometry, self._inside(found.source)
            price = cost(geometry, multiplies=found.multiplies) + geometry.stride * rest.cost
            return _Choice(price, rest.regions)
        rests = [self._inside(value) for value, _ in found.terms]
        layout = self.facts.layout(node, found.terms[0][0])
        assert layout is not None
        price = PASS * layout[0] * (len(rests) - 1) + sum(rest.cost for rest in rests)
        return _Choice(price, tuple(region for rest in rests for region in rest.regions))

    def _inside(self, value: ir.Value) -> _Choice:
        """Return how a value inside a tree is computed; what others read too costs nothing more here."""
        inside = value in self.choices and self.facts.only_reader(value) is not None
        return self.choices[value] if inside else _Choice(0.0, ())

    def _explain(self, node: ir.Node, addition: Addition) -> None:
        """Note why an addition of functions of one value stays, if it is one and does."""
        if any(node in region.nodes for region in self.choices[node.outputs[0]].regions):
            self.unmerged.pop(node, None)
            return
        if node in self.unmerged:
            return
        hindrance = self._hindrance(node, addition)
        if hindrance is not None:
            self.unmerged[node] = Unmerged(name_of(node), *hindrance)

    def _hindrance(self, node: ir.Node, addition: Addition) -> tuple[Hindrance, str] | None:
        if node.outputs[0].name in self.left:
            return None  # the account of the attempt says why
        for form in self.forms[node.outputs[0]]:
            if form.weighted:
                merged, apart = work(form.convolution.geometry), before(form, self.facts)
                return Hindrance.COST, f"one takes {merged:.0f} multiply-adds a position, the branches {apart:.0f}"
        paths = [self._path(value) for value, _ in addition.terms]
        common = set(paths[0]).intersection(*paths[1:])
        if not common or not any(value.producer() in self.meanings for path in paths for value in path[:1]):
            return None
        for path in paths:
            for value in path[: next(index for index, each in enumerate(path) if each in common)]:
                if value.is_graph_output():
                    return Hindrance.OUTPUT, f"{value.name} is an output of the graph"
                if self.facts.only_reader(value) is None:
                    return Hindrance.SHARED, f"{value.name} is read by other nodes too"
                if value in self.refused:
                    refused = self.refused[value]
                    return refused.hindrance, f"{value.name} is no one convolution: {refused}"
        return None

    def _path(self, value: ir.Value) -> list[ir.Value]:
        """Return the values from ``value`` back through operators that read one value, whoever else reads them."""
        path = [value]
        while (node := path[-1].producer()) is not None:
            found = self.meanings.get(node)
            if not isinstance(found, Linear):
                break
            path.append(found.source)
        return path
