"""What passes over activations cost on a provider: whether removing a normalization at a price is worth the price.

The unit is nanoseconds an element, one thread; only ratios between the figures of one provider matter. They come from
``benchmarks/costs.py``, which measures them on the device that it runs on.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType

import onnx_ir as ir

from bnfold.errors import InputError
from bnfold.folding.forms import Carrier, Normalization, Pointwise
from bnfold.folding.network import Network
from bnfold.folding.refusal import slower_refusal
from bnfold.folding.solve import Removals


@dataclass(frozen=True)
class Costs:
    """Nanoseconds an element of one pass over a tensor.

    Attributes:
        normalization: a BatchNormalization, with or without a Relu behind it.
        relu: a Relu that stands alone; behind a Conv or a normalization it is part of theirs.
        threshold: a Max with a constant for each channel.
        addition: an Add or a Sub of a constant for each channel.
        multiplication: a Mul or a Div by a constant for each channel.
        border_map: an Add of a constant map behind a Conv.
    """

    normalization: float
    relu: float
    threshold: float
    addition: float
    multiplication: float
    border_map: float


COSTS: Mapping[str, Costs | None] = MappingProxyType(
    {
        # ONNX Runtime 1.28, AVX-512, (1, 64, 28, 28); the other shapes of the benchmark give the same order.
        "cpu": Costs(
            normalization=0.12, relu=0.07, threshold=0.31, addition=0.25, multiplication=0.08, border_map=0.57
        ),
        "cuda": None,
        "tensorrt": None,
    }
)
"""By provider; None where nothing has been measured yet."""


def costs_on(provider: str) -> Costs | None:
    """Return what passes cost on a provider, None where that has not been measured.

    Raises:
        InputError: it is none of `COSTS`.
    """
    if provider not in COSTS:
        raise InputError(f"provider {provider}: expected one of {', '.join(COSTS)}.")
    return COSTS[provider]


Candidate = tuple[Network, Removals]
"""What could be done to a graph."""


def fastest(candidates: Sequence[Candidate], costs: Costs | None) -> Candidate:
    """Return the candidate whose passes cost least, the earliest of equals; say of each map that it keeps for that.

    Without costs, those with forms at a price do not count.
    """
    if costs is None:
        free = [candidate for candidate in candidates if not candidate[0].priced]
        return min(free, key=lambda candidate: len(candidate[1].kept))
    totals = [running_cost(*candidate, costs) for candidate in candidates]
    best = totals.index(min(totals))
    network, removals = candidates[best]
    refused = dict(removals.refused)
    for (_, other), total in zip(candidates, totals, strict=True):
        removed = {pointwise.node for pointwise in other.removed}
        slower = {p: refusal for p, refusal in removals.refused.items() if p.node in removed}
        refused |= {p: slower_refusal(refusal, total / totals[best]) for p, refusal in slower.items()}
    return network, replace(removals, refused=refused)


def dearest_first(network: Network, costs: Costs) -> tuple[Pointwise, ...]:
    """Return the affine maps by what they would cost if they stayed, those of equal cost in graph order.

    Where of several maps that read one value only one can go, as of the normalizations of a dense block, which read
    more of the block the later they come, it had better be the dearest.
    """
    return tuple(sorted(network.maps.values(), key=lambda p: -_cost_of(p, costs) * _elements(network, p.node)))


def running_cost(network: Network, removals: Removals, costs: Costs) -> float:
    """Return what the passes cost that a fold can change, in nanoseconds; unknown and empty extents count as 1."""
    maps = ((pointwise.node, _cost_of(pointwise, costs)) for pointwise in removals.kept)
    borders = ((node, costs.border_map) for node in removals.bordered())
    passes = maps, _rectifiers(network, removals, costs), borders
    return math.fsum(cost * _elements(network, node) for node, cost in chain(*passes))


def _cost_of(pointwise: Pointwise, costs: Costs) -> float:
    """Return what an element costs of an affine map that stays."""
    if pointwise.carrier is Carrier.BATCH_NORM:
        return costs.normalization
    return costs.multiplication if pointwise.carrier.has_scale else costs.addition


def _rectifiers(network: Network, removals: Removals, costs: Costs) -> Iterator[tuple[ir.Node, float]]:
    """Yield what is or was a Relu; one behind a Conv or a normalization that stays is part of theirs."""
    shifted = {t.node for t in network.thresholds if removals.solution.shift[t.label].any()}
    hosts = {linear.node for linear in removals.linears.values() if linear.node.op_type == "Conv"}
    hosts |= {pointwise.node for pointwise in removals.kept if isinstance(pointwise, Normalization)}
    wires = {pointwise.node: pointwise.input for pointwise in removals.removed}
    for node in network.facts.nodes:
        if node in shifted:
            yield node, costs.threshold
        elif node.op_type in {"Relu", "Clip"}:
            x = node.inputs[0]
            while x is not None and (producer := x.producer()) in wires:
                x = wires[producer]
            if x is None or x.producer() not in hosts or len(x.uses()) > 1:
                yield node, costs.relu


def _elements(network: Network, node: ir.Node) -> int:
    dims = network.facts.dims(node.outputs[0]) or ()
    return math.prod(max(dim, 1) for dim in dims if isinstance(dim, int))
