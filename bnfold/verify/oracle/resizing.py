"""Resizing in float64 as opsets below 11 define it: Upsample, and the first Resize. Newer ones are the reference's."""

import math
from collections.abc import Sequence

import numpy as np

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
