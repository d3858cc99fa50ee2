"""Writes a region as one Conv, if its type can hold the numbers."""

import ml_dtypes
import numpy as np
import onnx_ir as ir

from bnfold.graph.editor import Editor
from bnfold.graph.rounding import rounded
from bnfold.merging.convolution import Array
from bnfold.merging.geometry import Geometry
from bnfold.merging.plan import Region
from bnfold.merging.report import Hindrance, Unmergeable


def write_region(editor: Editor, region: Region, base: ir.Value) -> ir.Node:
    """Replace a region's nodes by one Conv of ``base``, and return it.

    The Conv bears the name of the region's largest Conv, its weight the name of that one's weight (with a suffix, where
    others read that too); the value that it computes keeps the name that it had.

    Raises:
        Unmergeable: a number does not fit the type of the weights; nothing has been edited.
    """
    principal = max(region.convs, key=_weight_size)
    weight, bias = region.convolution.values()
    dtype = _dtype(principal)
    stored, offset = (checked(numbers, dtype) for numbers in (weight, bias))
    stem = principal.name or principal.outputs[0].name or "conv"
    original = principal.inputs[1]
    assert original is not None
    operands = [base, editor.renewed(original, stored, suffix="merged")]
    if offset.any():
        operands.append(editor.initializer(f"{stem}.bias_merged", offset))
    attributes = _attributes(region.convolution.geometry)
    node = ir.Node("", "Conv", operands, attributes, outputs=[ir.Value()], name=principal.name)
    node.metadata_props.update(principal.metadata_props)
    editor.replace(region.root, node)
    for inner in reversed(region.nodes[:-1]):
        editor.remove(inner)
    return node


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


def _attributes(geometry: Geometry) -> list[ir.Attr]:
    axes = geometry.axes
    return [
        ir.AttrInt64s("dilations", [axis.dilation for axis in axes]),
        ir.AttrInt64("group", geometry.groups),
        ir.AttrInt64s("kernel_shape", [axis.taps for axis in axes]),
        ir.AttrInt64s("pads", [*(axis.before for axis in axes), *(axis.after for axis in axes)]),
        ir.AttrInt64s("strides", [axis.stride for axis in axes]),
    ]


def _weight_size(conv: ir.Node) -> int:
    weight = conv.inputs[1]
    return 0 if weight is None or weight.shape is None else int(np.prod(weight.shape.numpy()))


def _dtype(conv: ir.Node) -> ir.DataType:
    weight = conv.inputs[1]
    assert weight is not None
    assert weight.dtype is not None
    return weight.dtype
