"""Decides, without touching the graph, which normalizations go and what gauge every value gets.

1. Every node's rule states what its operator can carry. The gauge (1, 0) everywhere satisfies all of it.
2. Each affine map in turn states what its removal needs, s_x = a·s_y and a·σ_x − σ_y = b, channel by channel; if one
   channel contradicts what holds already, all of it is taken back and the map is kept. Normalizations come first;
   where that leaves some, another order is tried as well, and the cost model decides.
3. Scales that are still free are chosen, and the weights that follow are checked against the range of their type. Where
   one does not fit, the maps that it depends on are kept, and step 2 is done again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import onnx_ir as ir

from bnfold.folding.costs import COSTS, Candidate, Costs, dearest_first, fastest
from bnfold.folding.forms import Linear, Normalization, Pointwise, Threshold
from bnfold.folding.gelus import keep_gelus
from bnfold.folding.network import Facts, Network, Opaque
from bnfold.folding.outcomes import outcomes
from bnfold.folding.report import Outcome, Reason
from bnfold.folding.rules import RULES
from bnfold.folding.site import Site
from bnfold.folding.solution import Solution
from bnfold.folding.solve import Removals, normalizations_first, solve
from bnfold.graph.shapes import bodies

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
        unsettled: whether what is removed may have stood in the way of more, or a border map is added that may go, too.
    """

    solution: Solution
    linears: tuple[Linear, ...]
    removed: tuple[Pointwise, ...]
    kept: tuple[Pointwise, ...]
    thresholds: tuple[Threshold, ...]
    outcomes: Mapping[ir.Node, Outcome]
    unsettled: bool


class Objective(StrEnum):
    """What a fold is for."""

    LATENCY = "latency"
    """Take what makes the graph faster: every removal that is free, and what has a price where it is worth it."""

    NO_BN = "no-bn"
    """Take every removal there is, also at the price of a maximum in place of a Relu, or of a constant at a border."""


PRICED = frozenset({"Clip", "Conv", "Relu"})
"""Operators whose rules know a form that carries more, at a cost at run time."""


Limit = Callable[[Network], None]
"""States what a plan must respect beyond what the operators can carry; the gauge (1, 0) everywhere satisfies it."""


def make_plan(
    model: ir.Model,
    objective: Objective = Objective.LATENCY,
    *,
    costs: Costs | None = COSTS["cpu"],
    limits: Sequence[Limit] = (),
    graph: ir.Graph | None = None,
) -> Plan:
    """Plan the fold of a model's main graph, or of one of its bodies; the model is only read.

    Free rules come first. What they leave is tried again with forms at a price around it; whether what these let in is
    taken is for the objective to say.

    Args:
        model: the graph.
        objective: what the fold is for.
        costs: what passes cost where the model will run, for ``LATENCY``; None takes nothing that has a price.
        limits: what else the plan has to respect.
        graph: the body of an If, Loop or Scan; default: the main graph.

    Raises:
        InputError: a weight or a normalization's parameter is not finite, or does not fit its input.
    """
    objective = Objective(objective)  # a plain string would compare unequal to every member, silently
    facts = Facts(model, graph)
    if objective is Objective.LATENCY:
        limits = (*limits, keep_gelus)
    tries = list(_tries(facts, limits))
    network, removals = _most(tries)
    if objective is Objective.LATENCY and tries[0][1].refused:
        others = list(_in_another_order(*tries[0], costs))
        network, removals = fastest([tries[0], *others, (network, removals)], costs)
        tries += others
    return Plan(
        solution=removals.solution,
        linears=tuple(removals.linears.values()),
        removed=removals.removed,
        kept=removals.kept,
        thresholds=tuple(network.thresholds),
        outcomes=dict(outcomes(network, removals)),
        unsettled=bool(removals.removed) and (any(_holds_back(*one) for one in tries) or any(removals.bordered())),
    )


def _tries(facts: Facts, limits: Sequence[Limit]) -> Iterator[Candidate]:
    """Solve with free rules, then with forms at a price around what was refused, until that lets in no more."""
    priced = frozenset[ir.Node]()
    while True:
        network = _limited(Network(facts, priced), limits)
        removals = solve(network)
        yield network, removals
        blockers = {node for refusal in removals.refused.values() for node in refusal.blockers}
        more = priced.union(node for node in blockers if node.op_type in PRICED)
        if more == priced:
            return
        priced = more


def _in_another_order(network: Network, removals: Removals, costs: Costs | None) -> Iterator[Candidate]:
    """Yield what goes if removals are tried in another order, where there is one that is worth it."""
    if costs is not None:
        order = dearest_first(network, costs)
    else:
        order = tuple(sorted(network.maps.values(), key=lambda pointwise: isinstance(pointwise, Normalization)))
    if order != normalizations_first(network):
        yield network, solve(network, order=order, doubtful=removals.refused.keys())


def _most(tries: Sequence[Candidate]) -> Candidate:
    """Return the try that removes most, the first of equals."""
    network, removals = max(tries, key=lambda one: _merit(one[1]))
    return network, _refused_for_range(removals, tries[-1][1])


def _holds_back(network: Network, removals: Removals) -> bool:
    """Whether something stays for what a removal may take along: a rule's uniform gauge, or several maps' whole range.

    Of removals that together were too much for a type more may have been refused than had to be.
    """
    return network.narrowed or any(refusal.reason is Reason.WEIGHT_RANGE for refusal in removals.refused.values())


def _refused_for_range(removals: Removals, at_a_price: Removals) -> Removals:
    """Give what stays the reason that is left where every form at a price is there, if that is the range of a type."""
    ranges = {
        pointwise.node: refusal
        for pointwise, refusal in at_a_price.refused.items()
        if refusal.reason is Reason.WEIGHT_RANGE
    }
    refused = {pointwise: ranges.get(pointwise.node, refusal) for pointwise, refusal in removals.refused.items()}
    return replace(removals, refused=refused)


def _merit(removals: Removals) -> tuple[int, int]:
    """Return how many normalizations go, and how many maps in all."""
    return sum(isinstance(pointwise, Normalization) for pointwise in removals.removed), len(removals.removed)


def _limited(network: Network, limits: Sequence[Limit]) -> Network:
    """Let the rules state what operators carry, and then the limits what else holds; return the network."""
    state_rules(network)
    for limit in limits:
        limit(network)
    return network


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
    for output in facts.graph.outputs:
        network.hold(output, len(facts.nodes))
    return network


def _captured(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the values that a node's subgraphs read from outside."""
    for body in bodies(node):
        for inner in body.all_nodes():
            yield from (value for value in inner.inputs if value is not None)
        yield from body.outputs
