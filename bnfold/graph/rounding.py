"""One rounding from float64 into a stored type."""

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir


def rounded(values: npt.NDArray[np.float64], dtype: ir.DataType) -> np.ndarray:
    """Return ``values`` rounded once, to nearest even, to ``dtype``; what exceeds its range becomes infinite."""
    with np.errstate(over="ignore", under="ignore"):
        if dtype is ir.DataType.BFLOAT16:
            return _to_odd_float32(values).astype(ml_dtypes.bfloat16)
        return values.astype(dtype.numpy())


def _to_odd_float32(values: npt.NDArray[np.float64]) -> np.ndarray:
    """Return float32 values whose last bit records that something was cut off.

    ml_dtypes converts float64 to bfloat16 by way of float32; rounding to odd on that way leaves the second rounding
    right (S. Boldo, G. Melquiond, "When double rounding is odd", 2005: two more bits suffice, float32 has sixteen).
    """
    nearest = values.astype(np.float32)
    toward_zero = np.where(np.abs(nearest.astype(np.float64)) > np.abs(values), np.nextafter(nearest, 0), nearest)
    inexact = np.isfinite(nearest) & (toward_zero.astype(np.float64) != values)
    return np.where(inexact, (toward_zero.astype(np.float32).view(np.uint32) | 1).view(np.float32), nearest)
