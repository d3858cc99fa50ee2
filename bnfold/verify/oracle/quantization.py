"""From integers back to real numbers, in float64."""

import numpy as np

from bnfold.verify.oracle.types import Array, Value


def dequantize_linear(x: Value, scale: Array, zero_point: Value | None = None, *, axis: int = 1) -> Array:
    """Return y = (x − zero_point)·scale, one of each, or one per index along ``axis`` (DequantizeLinear-10, -13)."""
    shape = [1] * x.ndim
    if scale.ndim == 1 and scale.size > 1:
        shape[axis] = -1
    zero = np.zeros(1) if zero_point is None else zero_point.astype(np.float64)
    return (x.astype(np.float64) - zero.reshape(shape)) * scale.reshape(shape)
