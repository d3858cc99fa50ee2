"""Gelus of several nodes, which runtimes fuse into one while their constants are what they should be."""

from bnfold.folding.network import Network
from bnfold.folding.refusal import Refusal
from bnfold.folding.report import Reason
from bnfold.graph.gelus import find_gelus


def keep_gelus(network: Network) -> None:
    """State that no gauge enters a Gelu, and that none of its constants goes: what is saved is less than what is fused.

    Its factors could become part of linear operators around it, of five nodes two would go; but the three that are left
    take longer than the one that a runtime makes of all.
    """
    facts = network.facts
    for gelu in find_gelus(facts.graph, facts.constants):
        for node in gelu.nodes:
            network.hold(node.outputs[0], facts.numbers[node])
            if (pointwise := network.maps.get(node)) is not None:
                detail = f"it is part of a Gelu (with {gelu.nodes[1].name or gelu.nodes[1].op_type}), which is fused"
                network.withheld[pointwise] = Refusal(Reason.SLOWER, None, detail)
        network.hold(gelu.x, facts.numbers[gelu.nodes[0]])
