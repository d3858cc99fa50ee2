"""Softmax and its relatives as opsets below 13 define them: over a matrix that the input is coerced to.

The reference implementation gives every opset the meaning of opset 13, one axis at a time.
"""

from math import prod

import numpy as np

from bnfold.verify.oracle.types import Array


def flattened_softmax(x: Array, *, axis: int) -> Array:
    """Return exp(x)/Σ exp(x), the sum over all axes from ``axis`` on together (ONNX Softmax-1, -11)."""
    return np.exp(flattened_log_softmax(x, axis=axis))


def flattened_log_softmax(x: Array, *, axis: int) -> Array:
    """Return x − log Σ exp(x), the sum over all axes from ``axis`` on together (ONNX LogSoftmax-1, -11)."""
    rows = _as_matrix(x, axis)
    shifted = rows - rows.max(axis=1, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))).reshape(x.shape)


def flattened_hardmax(x: Array, *, axis: int) -> Array:
    """Return 1 at the first maximum of each row, 0 elsewhere, rows as above (ONNX Hardmax-1, -11)."""
    rows = _as_matrix(x, axis)
    return (np.arange(rows.shape[1]) == rows.argmax(axis=1)[:, None]).astype(np.float64).reshape(x.shape)


def _as_matrix(x: Array, axis: int) -> Array:
    axis %= x.ndim
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))
