"""Decides, without touching the graph, which normalizations go and what gauge every value gets.

1. Every node's rule states what its operator can carry. The gauge (1, 0) everywhere satisfies all of it.
2. Each affine map in turn states what its removal needs, s_x = a·s_y and a·σ_x − σ_y = b, channel by channel; if one
   channel contradicts what holds already, all of it is taken back and the map is kept. Normalizations come first.
3. Scales that are still free are chosen, and the weights that follow are checked against the range of their type. Where
   one does not fit, the maps that it depends on are kept, and step 2 is done again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import onnx_ir as ir

from bnfold.folding.forms import Linear, Normalization, Pointwise, Threshold
from bnfold.folding.network import Facts, Network, Opaque
from bnfold.folding.outcomes import outcomes
from bnfold.folding.report import Outcome, Reason
from bnfold.folding.rules import RULES
from bnfold.folding.site import Site
from bnfold.folding.solution import Solution
from bnfold.folding.solve import Removals, solve

OLDEST_OPSET = 7
"""Before opset 7 constants broadcast by attributes of their own, and operators had training flags of their own."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What `apply_plan` does to the graph that the plan was made for.

    Attributes:
        solution: the gauge of every variable.
        linears: the linear operators, each with the weights that it will have.
        removed: affine maps that become wires, in graph order.
        kept: affine maps that stay, with their parameters adapted to the gauges around them.
        thresholds: rectifiers that become maxima with a constant wherever a shift reaches them.
        outcomes: one for each BatchNormalization, in graph order.
        narrowed: whether what is removed may have stood in the way of more.
    """

    solution: Solution
    linears: tuple[Linear, ...]
    removed: tuple[Pointwise, ...]
    kept: tuple[Pointwise, ...]
    thresholds: tuple[Threshold, ...]
    outcomes: Mapping[ir.Node, Outcome]
    narrowed: bool


class Objective(StrEnum):
    """What a fold is for."""

    LATENCY = "latency"
    """Take every removal that costs nothing at run time."""

    NO_BN = "no-bn"
    """Take every removal there is, at the price of a maximum in place of a Relu or of a constant added to a border."""


PRICED = frozenset({"Clip", "Conv", "Relu"})
"""Operators whose rules know a form that carries more, at a cost at run time."""


def make_plan(model: ir.Model, objective: Objective = Objective.LATENCY) -> Plan:
    """Plan the fold of a model; the model is only read.

    Forms at a price are let in only around the normalizations that free rules leave, and only if fewer are left then.

    Raises:
        InputError: a weight or a normalization's parameter is not finite, or does not fit its input.
    """
    objective = Objective(objective)  # a plain string would compare unequal to every member, silently
    facts = Facts(model)
    network = state_rules(Network(facts))
    removals = solve(network)
    if objective is Objective.NO_BN:
        network, removals = _at_a_price(network, removals)
    return Plan(
        solution=removals.solution,
        linears=tuple(removals.linears.values()),
        removed=removals.removed,
        kept=removals.kept,
        thresholds=tuple(network.thresholds),
        outcomes=dict(outcomes(network, removals)),
        narrowed=network.narrowed and bool(removals.removed),
    )


def _at_a_price(network: Network, removals: Removals) -> tuple[Network, Removals]:
    """Solve again with forms at a price around what was refused, until that lets in no more; return the best found."""
    best = network, removals
    while True:
        blockers = {node for refusal in removals.refused.values() for node in refusal.blockers}
        priced = {node for node in blockers if node.op_type in PRICED}.union(network.priced)
        if len(priced) == len(network.priced):
            return best
        network = state_rules(Network(network.facts, priced))
        removals = solve(network)
        if _merit(removals) > _merit(best[1]):
            best = network, removals


def _merit(removals: Removals) -> tuple[int, int]:
    """Return how many normalizations go, and how many maps in all."""
    return sum(isinstance(pointwise, Normalization) for pointwise in removals.removed), len(removals.removed)


def state_rules(network: Network) -> Network:
    """Let every node's rule state what its operator carries; return the network."""
    facts = network.facts
    for index, node in enumerate(facts.nodes):
        if facts.constants.get(node.outputs[0]) is not None:
            continue
        site = Site(network, index)
        try:
            if facts.opset < OLDEST_OPSET:
                raise Opaque(
                    Reason.UNSUPPORTED, f"opset {facts.opset} is older than {OLDEST_OPSET}; convert the model first"
                )
            if node.op_type in RULES and node.domain in {"", "ai.onnx"}:
                RULES[node.op_type](site)
                site.hold_others()
                continue
        except Opaque as opaque:
            network.opaque[node] = opaque
        for slot in range(len(node.inputs)):
            site.hold(slot)
        for value in _captured(node):
            network.hold(value, index)
    for output in facts.model.graph.outputs:
        network.hold(output, len(facts.nodes))
    return network


def _captured(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the values that a node's subgraphs read from outside."""
    for attribute in node.attributes.values():
        graphs = ()
        if attribute.type == ir.AttributeType.GRAPH:
            graphs = (attribute.as_graph(),)
        elif attribute.type == ir.AttributeType.GRAPHS:
            graphs = attribute.as_graphs()
        for graph in graphs:
            for inner in graph.all_nodes():
                yield from (value for value in inner.inputs if value is not None)
            yield from graph.outputs
