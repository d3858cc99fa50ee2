"""Resizing in float64: as opsets below 11 define it, Upsample and the first Resize; newer ones but for a correction."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.reference.ops.op_resize import Resize

from bnfold.verify.oracle.types import Array, Value


def upsample(
    x: Array, factors: Array | None = None, *, mode: str = "nearest", scales: Sequence[float] | None = None
) -> Value:
    """Return ``x`` with each axis longer by its factor: an attribute in ONNX Upsample-7, an input in Upsample-9."""
    return resize(x, np.asarray(scales if factors is None else factors, dtype=np.float64), mode=mode)


def resize(x: Array, factors: Array, *, mode: str = "nearest") -> Value:
    """Return y of extents ⌊n·f⌋, y[o] read at position o/f of x along every axis (ONNX Resize-10).

    ``nearest`` takes the sample before the position where f ≥ 1 and that behind it where f < 1, as ONNX Runtime does;
    ``linear`` weighs both by their distance. Positions beyond the last sample read that one.
    """
    for axis, factor in enumerate(factors.tolist()):
        if factor != 1.0:
            x = _along(x, axis, factor, linear=mode in {"linear", "bilinear"})
    return x


def _along(x: Array, axis: int, factor: float, *, linear: bool) -> Array:
    extent = x.shape[axis]
    positions = np.arange(math.floor(extent * factor)) / factor
    if not linear:
        whole = np.floor(positions) if factor >= 1 else np.ceil(positions)
        return x.take(whole.astype(np.int64).clip(0, extent - 1), axis=axis)
    positions = positions.clip(0, extent - 1)
    before = np.floor(positions).astype(np.int64)
    behind = (before + 1).clip(0, extent - 1)
    shape = [1] * x.ndim
    shape[axis] = -1
    weight = (positions - before).reshape(shape)
    return x.take(before, axis=axis) * (1 - weight) + x.take(behind, axis=axis) * weight


class ResizeToWhole(Resize):
    """The reference's Resize, with corners aligned to those of the result, whose extents are whole numbers: ⌊n·f⌋.

    The reference takes n·f itself for the extent. ONNX Resize-11 to -19.
    """

    def _run(  # pyright: ignore[reportIncompatibleMethodOverride]  (which spells out every attribute)
        self, *inputs: Value | None, **attributes: Any
    ) -> tuple[Value, ...]:
        x, roi, scales, sizes = (*inputs, None, None, None)[:4]
        aligned = attributes.get("coordinate_transformation_mode") == "align_corners"
        if not aligned or x is None or scales is None or not scales.size:
            return super()._run(x, roi, scales, sizes, **attributes)
        extents = [x.shape[axis] for axis in attributes.get("axes") or range(x.ndim)]
        # In float32, as runtimes multiply: ten samples times 0.7 are seven.
        sizes = np.floor(np.asarray(extents, np.float32) * scales.astype(np.float32)).astype(np.int64)
        return super()._run(x, None, None, sizes, **attributes)


ResizeToWhole.__name__ = "Resize"  # by which the evaluator finds it
