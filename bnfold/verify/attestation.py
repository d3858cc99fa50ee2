"""Did the work run where it was asked to? Judged from recorded placements alone, so that any recording can be judged.

ONNX Runtime falls back silently in four places:

1. Library load: the provider's library cannot be loaded and the session is built without it (``diagnosis``).
2. Session construction: the session comes up with other providers than asked for.
3. Node placement: single nodes go to another provider, because the asked one has no kernel for them.
4. Run: a failing run is repeated on another provider (switched off when a session is opened).

Shape arithmetic, a few integers a node, belongs on the CPU on every device: ``SHAPE_OPERATORS`` are allowed there,
where the profile shows them to produce integers or booleans only.
"""

from collections.abc import Iterator

from bnfold.verify.placement import PlacedNode, Placement
from bnfold.verify.provider import Provider

SHAPE_OPERATORS = frozenset(
    {
        *("Constant", "ConstantOfShape", "NonZero", "Range", "Shape", "Size"),
        *("Concat", "Expand", "Gather", "Identity", "Reshape", "ScatterND", "Slice", "Split", "Squeeze", "Tile"),
        *("Transpose", "Unsqueeze", "Where"),
        *("Add", "Cast", "Ceil", "Div", "Floor", "Max", "Min", "Mod", "Mul", "Neg", "Sub"),
        *("ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"),
        *("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"),
    }
)
"""Operators that compute extents and indices, allowed on the CPU where they produce nothing but integers."""

_INTEGERS = frozenset({"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})

_NO_KERNEL = (
    " (no kernel there takes such a node: store it in another --precision or --opset (bnfold export), "
    "or install a newer onnxruntime-gpu)"
)
_RUN_ELSEWHERE = " (none was assigned there: a run that failed was repeated; give it more memory, or smaller batches)"

_NAMED = 3
"""Nodes named in a finding; the rest is counted."""


def attest(provider: Provider, placement: Placement) -> tuple[str, ...]:
    """Return what speaks against the work having run on ``provider``; empty if it did, every node of it."""
    return tuple(_findings(provider.runtime_name, placement))


def _findings(wanted: str, placement: Placement) -> Iterator[str]:
    if not placement.providers or placement.providers[0] != wanted:
        yield f"the session was built for {', '.join(placement.providers) or 'no provider'}, not for {wanted}"
    if not placement.assigned or not placement.executed:
        yield f"the runtime recorded {len(placement.assigned)} assigned and {len(placement.executed)} executed nodes"
    elif not any(node.provider == wanted for node in placement.executed):
        yield f"no node ran on {wanted}"
    assigned = [node for node in placement.assigned if node.provider != wanted and node.op_type not in SHAPE_OPERATORS]
    executed = [node for node in placement.executed if node.provider != wanted and not _is_shape_arithmetic(node)]
    if executed:
        yield f"{_named(executed)} ran elsewhere than {wanted}{'' if assigned else _RUN_ELSEWHERE}"
    if assigned:
        yield f"{_named(assigned)} assigned elsewhere than {wanted}{_NO_KERNEL}"


def _is_shape_arithmetic(node: PlacedNode) -> bool:
    return node.op_type in SHAPE_OPERATORS and bool(node.outputs) and _INTEGERS.issuperset(node.outputs)


def _named(nodes: list[PlacedNode]) -> str:
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return ", ".join(map(str, nodes[:_NAMED])) + more
