"""Normalizations in float64, as inference computes them."""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bnfold.errors import InputError
from bnfold.verify.oracle.types import Array, Value


def batch_norm(
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float,
    momentum: float | None = None,  # noqa: ARG001  (inference does not update the statistics)
    training_mode: int | None = 0,
    spatial: int | None = 1,  # noqa: ARG001  (0 gives parameters of shape x.shape[1:], which broadcast as they are)
) -> Array:
    """Return y = scale·(x − mean)/√(variance + ε) + bias, per channel (axis 1), or per activation for ``spatial=0``.

    x is (N, C, *spatial) or (N, C); the variance is used as stored and ε, in its units, is added to it.
    ONNX BatchNormalization-7 to -15. The reference implementation of opset 9 mixes in the batch's own statistics,
    which the operator does in training only.

    Raises:
        InputError: ``training_mode`` is on.
    """
    if training_mode:
        raise InputError("BatchNormalization is in training mode; export the model for inference.")

    def along_channels(parameter: Array) -> Array:
        return parameter.reshape(*parameter.shape, *[1] * (x.ndim - 1 - parameter.ndim))

    y = x - along_channels(mean)
    y *= along_channels(scale)
    y /= along_channels(np.sqrt(variance + epsilon))
    y += along_channels(bias)
    return y


def layer_norm(
    x: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    axis: int | None = -1,
    epsilon: float = 1e-5,
    stash_type: int | None = 1,  # noqa: ARG001  (here all is double)
) -> tuple[Value, ...]:
    """Return scale·(x − mean)/√(Var + ε) + bias over all axes from ``axis`` on, then the mean and 1/√(Var + ε).

    The variance is biased, ε in its units. ONNX LayerNormalization-17.
    """
    over = tuple(range((-1 if axis is None else axis) % x.ndim, x.ndim))
    mean = x.mean(axis=over, keepdims=True)
    inverse = 1 / np.sqrt(x.var(axis=over, keepdims=True) + epsilon)
    y = (x - mean) * inverse * scale
    return y if bias is None else y + bias, mean, inverse


def mean_variance_normalization(x: Array, *, axes: Sequence[int] | None = (0, 2, 3)) -> Array:
    """Return (x − mean)/(√Var + 10⁻⁹), both over ``axes``, biased (ONNX MeanVarianceNormalization-9, -13)."""
    over = tuple(axes or (0, 2, 3))
    return (x - x.mean(axis=over, keepdims=True)) / (x.std(axis=over, keepdims=True) + 1e-9)


def lrn(x: Array, *, alpha: float, beta: float, bias: float, size: int) -> Array:
    """Return y = x / (bias + alpha/size·S)^beta with S the sum of x² over ``size`` channels around each.

    The window runs from c − ⌊(size−1)/2⌋ to c + ⌈(size−1)/2⌉, cut at the ends. x is (N, C, *spatial). ONNX LRN-1, -13.
    The reference implementation sums for the first N channels only.
    """
    before = (size - 1) // 2
    widths = [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)]
    squares = sliding_window_view(np.pad(x * x, widths), size, axis=1).sum(axis=-1)
    return x / (bias + alpha / size * squares) ** beta
