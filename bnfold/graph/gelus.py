"""Gelus in operators of older sets: x·(1 + erf(x/√2))/2 (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx_ir as ir

from bnfold.graph.constants import Constants
from bnfold.graph.readers import only_reader


@dataclass(frozen=True)
class Gelu:
    """One Gelu of five nodes.

    Attributes:
        x: what it is of.
        nodes: in an order in which they can run; the last one computes the result.
        is_fusable: whether it is written as ONNX Runtime looks for it: x divided by √2, and x, or the product of x and
            1 + erf, multiplied by 1/2. torch's exporter, for one, halves the sum.
    """

    x: ir.Value
    nodes: tuple[ir.Node, ...]
    is_fusable: bool


def find_gelus(graph: ir.Graph, constants: Constants) -> Iterator[Gelu]:
    """Yield the Gelus of ``graph`` itself of whose values, but for the result, nobody else reads any."""
    for node in graph:
        if node.op_type == "Erf" and node.domain == "" and (gelu := _around(node, constants)) is not None:
            yield gelu


def _around(erf: ir.Node, constants: Constants) -> Gelu | None:
    """Return the Gelu that an Erf is part of."""
    scaled = erf.inputs[0].producer() if erf.inputs[0] is not None else None
    x = None if scaled is None or _reader(scaled) is not erf else _by(scaled, math.sqrt(0.5), constants)
    if scaled is None or x is None:
        return None
    plus = _reader(erf)
    if plus is None or plus.op_type != "Add" or not _is(plus, erf.outputs[0], 1.0, constants):
        return None
    first = _reader(plus)
    if first is None or first.op_type not in {"Mul", "Div"}:
        return None
    if _by(first, 0.5, constants) is not None:  # x·((1 + erf)/2)
        last = _reader(first)
        if last is not None and last.op_type == "Mul" and _other(last, first.outputs[0]) is x:
            return Gelu(x, (scaled, erf, plus, first, last), is_fusable=False)
        return None
    factor = _other(first, plus.outputs[0])
    if first.op_type != "Mul" or factor is None:
        return None
    if factor is x:  # (x·(1 + erf))/2
        last = _reader(first)
        if last is not None and _by(last, 0.5, constants) is first.outputs[0]:
            return Gelu(x, (scaled, erf, plus, first, last), _divides_and_multiplies(scaled, last))
        return None
    half = factor.producer()  # (x/2)·(1 + erf)
    if half is not None and _reader(half) is first and _by(half, 0.5, constants) is x:
        return Gelu(x, (scaled, erf, plus, half, first), _divides_and_multiplies(scaled, half))
    return None


def _divides_and_multiplies(scaled: ir.Node, half: ir.Node) -> bool:
    return scaled.op_type == "Div" and half.op_type == "Mul"


def _reader(node: ir.Node) -> ir.Node | None:
    reader = only_reader(node.outputs[0], node.graph if isinstance(node.graph, ir.Graph) else None)
    return reader if reader is not None and reader.domain == "" else None


def _other(node: ir.Node, operand: ir.Value) -> ir.Value | None:
    a, b = node.inputs
    return b if a is operand else a


def _by(node: ir.Node, factor: float, constants: Constants) -> ir.Value | None:
    """Return what a node multiplies by ``factor``; None if it does something else."""
    if node.domain != "" or node.op_type not in {"Mul", "Div"}:
        return None
    a, b = node.inputs
    if a is not None and _is(node, a, factor if node.op_type == "Mul" else 1.0 / factor, constants):
        return a
    return b if node.op_type == "Mul" and b is not None and _is(node, b, factor, constants) else None


def _is(node: ir.Node, operand: ir.Value, number: float, constants: Constants) -> bool:
    """Whether a node's operand beside ``operand`` is one ``number``, as its type or float32 rounds it."""
    constant = constants.get(_other(node, operand))
    if constant is None or constant.size != 1:
        return False
    rounding = max(float(ml_dtypes.finfo(dtype).eps) for dtype in (constant.dtype, np.float32))
    return math.isclose(float(constant.item()), number, rel_tol=rounding)
