"""Writes a region as one Conv, if its type can hold the numbers."""

import ml_dtypes
import numpy as np
import onnx_ir as ir

from bnfold.graph.editor import Editor
from bnfold.graph.rounding import rounded
from bnfold.merging.convolution import Array
from bnfold.merging.facts import PRODUCTS
from bnfold.merging.geometry import Geometry
from bnfold.merging.plan import Region
from bnfold.merging.report import Hindrance, Unmergeable


def write_region(editor: Editor, region: Region, base: ir.Value) -> list[ir.Node]:
    """Replace a region's nodes by one Conv of ``base``, one Gemm, or one MatMul with an Add where there is a bias.

    It bears the name of the region's largest Conv, Gemm or MatMul, its weight the name of that one's weight (with a
    suffix, where others read that too); the value that it computes keeps the name that it had. Return the new nodes.

    Raises:
        Unmergeable: a number does not fit the type of the weights; nothing has been edited.
    """
    principal = max(region.weighted, key=lambda node: (node.op_type != "MatMul", _weight_size(node)))
    weight, bias = region.convolution.values()
    dtype = _dtype(principal)
    stored, offset = (checked(numbers, dtype) for numbers in (weight, bias))
    stem = principal.name or principal.outputs[0].name or "conv"
    original = principal.inputs[1]
    assert original is not None
    attributes = _attributes(principal, region.convolution.geometry)
    if principal.op_type in PRODUCTS and not principal.attributes.get_int("transB", 0):
        stored = np.ascontiguousarray(stored.T)
    operands = [base, editor.renewed(original, stored, suffix="merged")]
    if offset.any() and region.has_bias:
        operands.append(editor.initializer(f"{stem}.bias_merged", offset))
    new = [ir.Node("", principal.op_type, operands, attributes, outputs=[ir.Value()], name=principal.name)]
    new[0].metadata_props.update(principal.metadata_props)
    editor.replace(region.root, new[0])
    if offset.any() and not region.has_bias:
        new.append(editor.add_behind(new[0], offset))
    for inner in reversed(region.nodes[:-1]):
        editor.remove(inner)
    return new


def checked(numbers: Array, dtype: ir.DataType) -> np.ndarray:
    """Return numbers rounded once to ``dtype``.

    Args:
        numbers: float64, output channels along the leading axis.
        dtype: the type of the weights.

    Raises:
        Unmergeable: one of them overflows, or all of a channel that is not 0 leave the normal range.
    """
    result = rounded(numbers, dtype)
    largest = np.abs(numbers.reshape(len(numbers), -1)).max(axis=1, initial=0.0)
    if not np.isfinite(result.astype(np.float64)).all():
        raise Unmergeable(Hindrance.RANGE, f"{largest.max():.3g} overflows {dtype.name.lower()}")
    faded = (largest > 0) & (largest < float(ml_dtypes.finfo(dtype.numpy()).smallest_normal))
    if faded.any():
        raise Unmergeable(Hindrance.RANGE, f"{largest[faded].min():.3g} underflows {dtype.name.lower()}")
    return result


def _attributes(principal: ir.Node, geometry: Geometry) -> list[ir.Attr]:
    if principal.op_type in PRODUCTS:
        return [ir.AttrInt64("transB", 1)] if principal.attributes.get_int("transB", 0) else []
    axes = geometry.axes
    return [
        ir.AttrInt64s("dilations", [axis.dilation for axis in axes]),
        ir.AttrInt64("group", geometry.groups),
        ir.AttrInt64s("kernel_shape", [axis.taps for axis in axes]),
        ir.AttrInt64s("pads", [*(axis.before for axis in axes), *(axis.after for axis in axes)]),
        ir.AttrInt64s("strides", [axis.stride for axis in axes]),
    ]


def _weight_size(node: ir.Node) -> int:
    weight = node.inputs[1]
    return 0 if weight is None or weight.shape is None else int(np.prod(weight.shape.numpy()))


def _dtype(node: ir.Node) -> ir.DataType:
    weight = node.inputs[1]
    assert weight is not None
    assert weight.dtype is not None
    return weight.dtype
