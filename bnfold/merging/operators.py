"""The operators that are convolutions, and what each computes: one function an operator, one line in the table.

A rule returns None where the operator is not a linear function of one run-time value with known numbers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from bnfold.merging.convolution import Array, Atom, Convolution
from bnfold.merging.facts import Facts
from bnfold.merging.geometry import Axis, Geometry


@dataclass(frozen=True, eq=False)
class Linear:
    """An operator that is a convolution of one value.

    Attributes:
        source: what it reads.
        convolution: what it computes.
        multiplies: whether the runtime spends multiply-adds on it (Conv, Gemm, MatMul, AveragePool), rather than a pass
            alone.
    """

    source: ir.Value
    convolution: Convolution
    multiplies: bool = False


@dataclass(frozen=True, eq=False)
class Addition:
    """An operator that adds run-time values of equal shape, each with a sign."""

    terms: tuple[tuple[ir.Value, float], ...]


Meaning = Linear | Addition


def conv(node: ir.Node, facts: Facts) -> Linear | None:
    """Conv with constant weights (M, C/g, *kernel)."""
    source, weight = node.inputs[0], facts.weight(node.inputs[1])
    if source is None or weight is None or weight.ndim < 3:
        return None
    groups = node.attributes.get_int("group", 1)
    bias: Array | None = np.zeros(len(weight))
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        stored = facts.parameter(node.inputs[2])
        bias = None if stored is None else stored.astype(np.float64)
    axes = _axes(node, weight.shape[2:], facts)
    if bias is None or axes is None:
        return None
    geometry = Geometry(weight.shape[1] * groups, len(weight), groups, axes)
    return Linear(source, Atom(geometry, weight, bias), multiplies=True)


def matmul(node: ir.Node, facts: Facts) -> Linear | None:
    """MatMul of rows (…, K) by a constant matrix (K, M)."""
    source, weight = node.inputs[0], facts.weight(node.inputs[1])
    if source is None or weight is None or weight.ndim != 2 or len(facts.dims(source) or ()) < 2:
        return None
    geometry = Geometry(*weight.shape, groups=1, axes=())
    return Linear(source, Atom(geometry, weight.T, np.zeros(weight.shape[1])), multiplies=True)


def gemm(node: ir.Node, facts: Facts) -> Linear | None:
    """Gemm of rows (N, K) by a constant matrix, with a constant of one number a channel, or none."""
    source, weight = node.inputs[0], facts.weight(node.inputs[1])
    if source is None or weight is None or node.attributes.get_int("transA", 0):
        return None
    matrix = weight if node.attributes.get_int("transB", 0) else weight.T
    gain, share = (node.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    bias = np.zeros(len(matrix))
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        stored = facts.parameter(node.inputs[2])
        if stored is None or stored.size not in {1, len(matrix)} or stored.size != math.prod(stored.shape[-1:]):
            return None
        bias = share * np.broadcast_to(stored.astype(np.float64).ravel(), bias.shape)
    geometry = Geometry(matrix.shape[1], matrix.shape[0], groups=1, axes=())
    return Linear(source, Atom(geometry, matrix if gain == 1.0 else matrix * gain, bias), multiplies=True)


def average_pool(node: ir.Node, facts: Facts) -> Linear | None:
    """AveragePool that divides by the number of taps everywhere: padding is counted, or there is none."""
    source, channels = node.inputs[0], facts.channels(node.inputs[0])
    kernel = node.attributes.get_ints("kernel_shape", ())
    axes = _axes(node, kernel, facts)
    if source is None or channels is None or axes is None or node.attributes.get_int("ceil_mode", 0):
        return None
    padded = any(axis.before or axis.after for axis in axes)
    if padded and not node.attributes.get_int("count_include_pad", 0):
        return None
    geometry = Geometry(channels, channels, channels, axes)
    weight = np.full(geometry.shape, 1.0 / math.prod(kernel))
    return Linear(source, Atom(geometry, weight, np.zeros(channels)), multiplies=True)


def pad(node: ir.Node, facts: Facts) -> Linear | None:
    """Pad with zeros around the spatial axes."""
    dims, source = facts.dims(node.inputs[0]), node.inputs[0]
    if source is None or dims is None or facts.channels(source) is None:
        return None
    rank = len(dims)
    operands = [*node.inputs, None, None, None][1:4]
    pads = _pads(node, operands[0], facts)
    fill = facts.constant(operands[1]) if operands[1] is not None else np.zeros(())
    value = node.attributes.get_float("value", 0.0)
    if pads is None or len(pads) != 2 * rank or operands[2] is not None or value or fill is None or fill.any():
        return None
    if node.attributes.get_string("mode", "constant") != "constant" or min(pads) < 0:
        return None
    if any((pads[0], pads[1], pads[rank], pads[rank + 1])):
        return None
    axes = tuple(Axis(before=pads[axis], after=pads[rank + axis]) for axis in range(2, rank))
    channels = facts.channels(source) or 0
    geometry = Geometry(channels, channels, channels, axes)
    return Linear(source, Atom(geometry, np.ones(geometry.shape), np.zeros(channels)))


def batch_norm(node: ir.Node, facts: Facts) -> Linear | None:
    """BatchNormalization at inference: a = γ/√(Var + ε), b = β − a·E; a missing ε is 1e-5."""
    if node.attributes.get_int("training_mode", 0) or len([y for y in node.outputs if y.uses()]) > 1:
        return None
    source, operands = node.inputs[0], [facts.parameter(value) for value in node.inputs[1:5]]
    if source is None or len(operands) != 4:
        return None
    parameters = [operand.astype(np.float64) for operand in operands if operand is not None]
    if len(parameters) != 4 or node.attributes.get_int("spatial", 1) != 1:
        return None
    gamma, beta, mean, variance = parameters
    deviation = variance + node.attributes.get_float("epsilon", 1e-5)
    if not (deviation > 0).all():
        return None
    scale = gamma / np.sqrt(deviation)
    return _diagonal(node, source, scale, beta - scale * mean, facts)


def multiply(node: ir.Node, facts: Facts) -> Linear | None:
    """Mul by a constant of one number a channel."""
    slot, factor = _channel_constant(node, facts)
    source = node.inputs[1 - slot]
    return None if factor is None or source is None else _diagonal(node, source, factor, np.zeros_like(factor), facts)


def divide(node: ir.Node, facts: Facts) -> Linear | None:
    """Div of a value by a constant of one number a channel."""
    slot, divisor = _channel_constant(node, facts)
    if divisor is None or slot != 1 or not divisor.all() or node.inputs[0] is None:
        return None
    return _diagonal(node, node.inputs[0], 1.0 / divisor, np.zeros_like(divisor), facts)


def negate(node: ir.Node, facts: Facts) -> Linear | None:
    """Neg."""
    return _scaled(node, -1.0, facts)


def identity(node: ir.Node, facts: Facts) -> Linear | None:
    """Identity."""
    return _scaled(node, 1.0, facts)


def add(node: ir.Node, facts: Facts) -> Meaning | None:
    """Add of a constant of one number a channel, or of two run-time values."""
    return _sum(node, facts, (1.0, 1.0))


def subtract(node: ir.Node, facts: Facts) -> Meaning | None:
    """Sub, either operand constant or neither."""
    return _sum(node, facts, (1.0, -1.0))


def add_all(node: ir.Node, facts: Facts) -> Addition | None:
    """Sum of any number of run-time values."""
    return _addition(node, facts, (1.0,) * len(node.inputs))


OPERATORS: dict[str, Callable[[ir.Node, Facts], Meaning | None]] = {
    "Add": add,
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Conv": conv,
    "Div": divide,
    "Gemm": gemm,
    "Identity": identity,
    "MatMul": matmul,
    "Mul": multiply,
    "Neg": negate,
    "Pad": pad,
    "Sub": subtract,
    "Sum": add_all,
}
"""Operator → what it computes."""


def meaning(node: ir.Node, facts: Facts) -> Meaning | None:
    """Return what a node computes, None where that is not linear, not known, or part of what a runtime fuses."""
    rule = OPERATORS.get(node.op_type) if node.domain in {"", "ai.onnx"} and node not in facts.fused else None
    if rule is None or any(attribute.is_ref() for attribute in node.attributes.values()):
        return None
    return rule(node, facts)


def _sum(node: ir.Node, facts: Facts, signs: tuple[float, float]) -> Meaning | None:
    slot, offset = _channel_constant(node, facts)
    source = node.inputs[1 - slot]
    if offset is None:
        return _addition(node, facts, signs)
    if source is None:
        return None
    return _diagonal(node, source, np.full_like(offset, signs[1 - slot]), signs[slot] * offset, facts)


def _addition(node: ir.Node, facts: Facts, signs: tuple[float, ...]) -> Addition | None:
    """Return the node as an addition of values of one rank and one number of channels."""
    values = [value for value in node.inputs if value is not None]
    shapes = {facts.dims(value) for value in values}
    ranks = {0 if dims is None else len(dims) for dims in shapes}
    layouts = {facts.layout(node, value) for value in values}
    if len(ranks) != 1 or None in layouts or len(layouts) != 1 or len(values) < 2:
        return None
    if any(facts.constant(value) is not None for value in values):
        return None
    return Addition(tuple(zip(values, signs, strict=True)))


def _scaled(node: ir.Node, factor: float, facts: Facts) -> Linear | None:
    source = node.inputs[0]
    return None if source is None else _diagonal(node, source, np.full(1, factor), np.zeros(1), facts)


def _diagonal(node: ir.Node, source: ir.Value, scale: Array, bias: Array, facts: Facts) -> Linear | None:
    layout = facts.layout(node, source)
    if layout is None or len(scale) not in {1, layout[0]}:
        return None
    channels, rank = layout
    scale, bias = (np.broadcast_to(numbers, (channels,)) for numbers in (scale, bias))
    return Linear(source, Atom.diagonal(scale, bias, rank))


def _channel_constant(node: ir.Node, facts: Facts) -> tuple[int, Array | None]:
    """Return which operand is a constant that varies along the channel axis at most, and its numbers, one or C."""
    axis, fewest = (-1, 2) if facts.is_rows(node) else (1, 3)
    for slot, value in enumerate(node.inputs):
        numbers, dims = facts.parameter(value), facts.dims(node.inputs[1 - slot])
        if numbers is None or dims is None or numbers.ndim > len(dims):
            continue
        shape = (1,) * (len(dims) - numbers.ndim) + numbers.shape
        if len(dims) >= fewest and numbers.size in {1, dims[axis]} and numbers.size == shape[axis]:
            return slot, numbers.astype(np.float64).reshape(-1)
    return 0, None


def _axes(node: ir.Node, kernel: Sequence[int], facts: Facts) -> tuple[Axis, ...] | None:
    """Return the spatial axes of a Conv or a pool, None where padding depends on an extent that is not known."""
    rank = len(kernel)
    strides = node.attributes.get_ints("strides", None) or [1] * rank
    dilations = node.attributes.get_ints("dilations", None) or [1] * rank
    pads = node.attributes.get_ints("pads", None) or [0] * (2 * rank)
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if rank == 0 or min(pads) < 0:
        return None
    if mode not in {"SAME_UPPER", "SAME_LOWER"}:
        pads = pads if mode == "NOTSET" else [0] * (2 * rank)
        return tuple(
            Axis(kernel[i], strides[i], dilations[i] if kernel[i] > 1 else 1, pads[i], pads[rank + i])
            for i in range(rank)
        )
    dims = facts.dims(node.inputs[0])
    extents = (None,) * rank if dims is None else dims[2:]
    axes: list[Axis] = []
    for taps, stride, dilation, extent in zip(kernel, strides, dilations, extents, strict=True):
        missing = _missing((taps - 1) * dilation, stride, extent if isinstance(extent, int) else None)
        if missing is None:
            return None
        smaller, larger = missing // 2, missing - missing // 2
        before, after = (smaller, larger) if mode == "SAME_UPPER" else (larger, smaller)
        axes.append(Axis(taps, stride, dilation, before, after))
    return tuple(axes)


def _missing(span: int, stride: int, extent: int | None) -> int | None:
    """Return how many positions SAME pads, so that the output has ⌈extent / stride⌉; at stride 1 for any extent."""
    if stride == 1:
        return span
    if extent is None:
        return None
    return max((-(-extent // stride) - 1) * stride + span + 1 - extent, 0)


def _pads(node: ir.Node, operand: ir.Value | None, facts: Facts) -> list[int] | None:
    """Return the pads of a Pad, which older operator sets hold as an attribute."""
    stored = facts.constant(operand)
    if stored is not None:
        return [int(number) for number in stored.ravel()]
    return list(node.attributes.get_ints("pads", ())) or None
