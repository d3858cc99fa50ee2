"""Normalizations in float64, as inference computes them."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bnfold.errors import InputError
from bnfold.verify.oracle.types import Array


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

    deviation = x - along_channels(mean)
    return along_channels(scale) * deviation / np.sqrt(along_channels(variance) + epsilon) + along_channels(bias)


def lrn(x: Array, *, alpha: float, beta: float, bias: float, size: int) -> Array:
    """Return y = x / (bias + alpha/size·S)^beta with S the sum of x² over ``size`` channels around each.

    The window runs from c − ⌊(size−1)/2⌋ to c + ⌈(size−1)/2⌉, cut at the ends. x is (N, C, *spatial). ONNX LRN-1, -13.
    The reference implementation sums for the first N channels only.
    """
    before = (size - 1) // 2
    widths = [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)]
    squares = sliding_window_view(np.pad(x * x, widths), size, axis=1).sum(axis=-1)
    return x / (bias + alpha / size * squares) ** beta
