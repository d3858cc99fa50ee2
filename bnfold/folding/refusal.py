"""Why an affine map stays: a reason for machines, a witness, and words that a user can act on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir

from bnfold.folding.contradiction import NO_CAUSE, Contradiction, Obstacle
from bnfold.folding.forms import Pointwise
from bnfold.folding.gauges import IDENTITY
from bnfold.folding.network import Network
from bnfold.folding.report import Reason

_REASONS = {
    Obstacle.SCALE: Reason.SCALE_FIXED,
    Obstacle.SIGN: Reason.SIGN_FIXED,
    Obstacle.SHIFT: Reason.SHIFT_FIXED,
}

_WHAT = {
    Obstacle.SCALE: "scale its channels carry",
    Obstacle.SIGN: "negative γ it has in some channels",
    Obstacle.SHIFT: "shift its channels carry",
}

_NOT_LINEAR = dict.fromkeys(("Clip", "Relu", "LeakyRelu", "PRelu"), "not linear")
_FOLDED = {"BatchNormalization": "folded before it, on the same values"}

_WHY: Mapping[Obstacle, Mapping[str, str]] = {
    Obstacle.SCALE: {
        **_NOT_LINEAR,
        **_FOLDED,
        "Conv": "one scale a channel",
        "ConvTranspose": "one scale a channel",
        "Add": "both summands need one scale",
        "Sum": "all summands need one scale",
    },
    Obstacle.SIGN: {
        **_NOT_LINEAR,
        **_FOLDED,
        "MaxPool": "a maximum keeps its order only under positive scales",
        "GlobalMaxPool": "a maximum keeps its order only under positive scales",
    },
    Obstacle.SHIFT: {
        **_NOT_LINEAR,
        **_FOLDED,
        "Conv": "one shift a channel, none under zero padding",
        "ConvTranspose": "its taps differ by position",
    },
}
"""What an operator's rule holds fast, in words; operators that are not listed hold everything."""


@dataclass(frozen=True)
class Refusal:
    """One affine map that stays.

    Attributes:
        reason: the machine-readable reason.
        witness: the operators that stand in the way, with the values that they hold; None where it is the map itself.
        detail: the same in words.
        blockers: these operators as nodes, and any others that share in it.
    """

    reason: Reason
    witness: str | None
    detail: str
    blockers: tuple[ir.Node, ...] = ()


def refusal_of(contradiction: Contradiction, network: Network, pointwise: Pointwise) -> Refusal:
    """Translate what contradicts the removal of a map."""
    nodes, causes, node = network.facts.nodes, contradiction.causes, pointwise.node
    blockers = tuple(nodes[cause] for cause in causes if NO_CAUSE < cause < len(nodes) and nodes[cause] is not node)
    # Operators before affine maps: what another removal asks for is the lesser part of the story.
    named = [node for node in blockers if node not in network.maps][:2] + [
        node for node in blockers if node in network.maps
    ][:1]
    held = _held_before(pointwise, network, contradiction.obstacle)
    names = [*held, *(_describe(node, network, contradiction.obstacle) for node in named)]
    if len(nodes) in causes:
        names.append("an output of the graph")
    witness = "; ".join(dict.fromkeys(names)) or "the inputs of the graph"
    detail = f"the {_WHAT[contradiction.obstacle]} cannot pass {witness}"
    return Refusal(_REASONS[contradiction.obstacle], witness, detail, blockers)


def range_refusal(node: ir.Node) -> Refusal:
    """Say whose constants could not hold what the removal would make of them."""
    witness = f"{node.op_type} {node.name or node.outputs[0].name}"
    detail = f"in some channels the constants of {witness} would leave their range, or what it reads lose its digits"
    return Refusal(Reason.WEIGHT_RANGE, witness, detail)


def slower_refusal(refusal: Refusal, ratio: float) -> Refusal:
    """Say that a map could go although free rules refuse it, but that the graph would run slower then."""
    detail = (
        f"what could take its place at {refusal.witness} is slower: by the cost model passes over activations would "
        f"take {ratio:.2f} times as long; --objective no-bn removes it"
    )
    return replace(refusal, reason=Reason.SLOWER, detail=detail)


def _held_before(pointwise: Pointwise, network: Network, obstacle: Obstacle) -> list[str]:
    """Return what computes a map's input, where that is all there is to say about the input's gauge."""
    label = network.label(pointwise.input)
    if label is not None and (label != IDENTITY).any():
        return []
    producer = pointwise.input.producer()
    if producer is None:
        return ["an input of the graph"]
    if producer not in network.facts.numbers:
        return [f"{pointwise.input.name}, which is of the graph around"]
    return [_describe(producer, network, obstacle)]


def _describe(node: ir.Node, network: Network, obstacle: Obstacle) -> str:
    name, opaque = node.name or node.outputs[0].name, network.opaque.get(node)
    why = network.fixed.get(node, _WHY[obstacle].get(node.op_type)) if opaque is None else str(opaque)
    return f"{node.op_type} {name}" + (f" ({why})" if why else "")
