"""Operators that change places with a pooling, so that they work on the smaller tensor."""

import math
from collections.abc import Iterator

import onnx_ir as ir

from bnfold.graph.editor import Editor
from bnfold.merging.cost import tap
from bnfold.merging.facts import Facts, name_of
from bnfold.merging.operators import Linear, meaning
from bnfold.merging.report import Merge, Rule


def move_thresholds(editor: Editor, facts: Facts) -> Iterator[Merge]:
    """Move Max and Min with a constant a channel from in front of a MaxPool that shrinks its input to behind it.

    max_k max(x_k, t) = max(max_k x_k, t), for every window that holds an element: the constant is monotone. A Relu
    stays: a runtime fuses it into the Conv in front for nothing.
    """
    for pool in [node for node in facts.graph if node.op_type == "MaxPool" and node.domain == ""]:
        threshold = None if pool.inputs[0] is None else pool.inputs[0].producer()
        if threshold is None or not _moves(threshold, pool, facts):
            continue
        slot = next(i for i, value in enumerate(threshold.inputs) if facts.constant(value) is None)
        first = ir.Node("", "MaxPool", [threshold.inputs[slot]], pool.attributes.values(), name=pool.name)
        first.outputs[0].name = editor.unique(f"{pool.outputs[0].name}_pooled")
        facts.declare(first.outputs[0], like=pool.outputs[0])
        operands = [first.outputs[0] if i == slot else value for i, value in enumerate(threshold.inputs)]
        second = ir.Node("", threshold.op_type, operands, name=threshold.name)
        editor.graph.insert_before(pool, first)
        editor.replace(pool, second)
        editor.remove(threshold)
        names = (name_of(threshold), name_of(pool))
        yield Merge(Rule.THRESHOLD, names, (name_of(first), name_of(second)), 0.0, 0.0)


def _moves(threshold: ir.Node, pool: ir.Node, facts: Facts) -> bool:
    alone = threshold.op_type in {"Max", "Min"} and facts.only_reader(threshold.outputs[0]) is pool
    if not alone or len(threshold.inputs) != 2 or len([y for y in pool.outputs if y.name]) > 1:
        return False
    constants = [facts.parameter(value) for value in threshold.inputs]
    bound = next((array for array in constants if array is not None), None)
    dims = facts.dims(threshold.outputs[0])
    if bound is None or all(array is not None for array in constants) or dims is None or len(dims) < 3:
        return False
    shape = (1,) * (len(dims) - bound.ndim) + bound.shape
    # The constant must not be what gives the result its extents, which are known of the other operand then.
    source = facts.dims(next(value for value, array in zip(threshold.inputs, constants, strict=True) if array is None))
    if bound.ndim > len(dims) or source is None or len(source) != len(dims) or bound.size != shape[1]:
        return False
    return (shape[1] == 1 or source[1] == shape[1]) and _shrinks(pool) and _windows_hold_elements(pool)


def _shrinks(pool: ir.Node) -> bool:
    return math.prod(pool.attributes.get_ints("strides", None) or (1,)) > 1


def _windows_hold_elements(pool: ir.Node) -> bool:
    """Whether each window surely has an element: without gaps, and longer than the padding on either side."""
    kernel = pool.attributes.get_ints("kernel_shape", None) or ()
    rank = len(kernel)
    pads = pool.attributes.get_ints("pads", None) or (0,) * (2 * rank)
    dense = all(dilation == 1 for dilation in pool.attributes.get_ints("dilations", None) or ())
    shorter = all(pad < kernel[i % rank] for i, pad in enumerate(pads))
    return dense and shorter and not pool.attributes.get_int("ceil_mode", 0)


def move_pools(editor: Editor, facts: Facts) -> Iterator[Merge]:
    """Move an AveragePool from behind a pointwise Conv of stride 1 to in front of it, where that is cheaper.

    A mean over positions and a map of channels commute, Σ_k (W·x_k + b)/K = W·(Σ_k x_k)/K + b. The bias needs a mean
    whose weights add up to 1: one that counts no padding.
    """
    for pool in [node for node in facts.graph if node.op_type == "AveragePool" and node.domain == ""]:
        conv = None if pool.inputs[0] is None else pool.inputs[0].producer()
        if conv is None or conv.op_type != "Conv" or facts.only_reader(conv.outputs[0]) is not pool:
            continue
        found = meaning(conv, facts)
        if not isinstance(found, Linear) or not _commutes(found, pool):
            continue
        geometry, taps = found.convolution.geometry, math.prod(pool.attributes.get_ints("kernel_shape", ()))
        dense = geometry.outputs * geometry.inputs / geometry.groups
        before = dense * math.prod(pool.attributes.get_ints("strides", None) or (1,)) + taps * geometry.outputs
        after = dense + taps * geometry.inputs
        more_taps = taps * (geometry.inputs - geometry.outputs)
        if after + more_taps * (tap(geometry.inputs) - 1.0) >= before:
            continue
        first = ir.Node("", "AveragePool", [conv.inputs[0]], pool.attributes.values(), name=pool.name)
        first.outputs[0].name = editor.unique(f"{pool.outputs[0].name}_pooled")
        facts.declare(first.outputs[0], like=pool.outputs[0], channels=geometry.inputs)
        second = ir.Node("", "Conv", [first.outputs[0], *conv.inputs[1:]], conv.attributes.values(), name=conv.name)
        second.metadata_props.update(conv.metadata_props)
        editor.graph.insert_before(pool, first)
        editor.replace(pool, second)
        editor.remove(conv)
        yield Merge(Rule.POOLING, (name_of(conv), name_of(pool)), (name_of(first), name_of(second)), before, after)


def _commutes(conv: Linear, pool: ir.Node) -> bool:
    plain = all(
        (axis.taps, axis.stride, axis.before, axis.after) == (1, 1, 0, 0) for axis in conv.convolution.geometry.axes
    )
    counted = pool.attributes.get_int("count_include_pad", 0) == 1
    unpadded = not any(pool.attributes.get_ints("pads", None) or ()) and (
        pool.attributes.get_string("auto_pad", "NOTSET") in {"NOTSET", "VALID"}
    )
    return plain and (not counted or unpadded or conv.convolution.silent)
