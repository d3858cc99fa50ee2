"""Pooling in float64, one kernel tap at a time."""

from collections.abc import Sequence

import numpy as np

from bnfold.verify.oracle.types import Array, Value
from bnfold.verify.oracle.windows import Windows


def max_pool(
    x: Array,
    *,
    auto_pad: str | None = None,
    ceil_mode: int | None = None,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    storage_order: int | None = 0,
    strides: Sequence[int] | None = None,
    outputs: int = 1,
) -> Array | tuple[Array, Value]:
    """Return y[n, c, o] = max_k x[n, c, o·stride + k·dilation − pad] over the taps that fall on x.

    With two ``outputs`` also where in x, flattened, each maximum was found first; with ``storage_order`` 1 the spatial
    axes are flattened with the first one fastest. x is (N, C, *spatial). ONNX MaxPool-1 to MaxPool-22.
    """
    windows = Windows.of(
        x.shape[2:],
        kernel_shape,
        strides=strides,
        dilations=dilations,
        pads=pads,
        auto_pad=auto_pad,
        ceil_mode=ceil_mode,
    )
    padded = windows.pad(x, -np.inf)
    y = np.full((*x.shape[:2], *windows.output), -np.inf)
    if outputs == 1:
        for _, slices in windows.taps():
            np.maximum(y, padded[(..., *slices)], out=y)
        return y
    positions = windows.pad_with(_positions(x.shape, column_major=bool(storage_order)), -1)
    found = np.full(y.shape, -1, np.int64)
    for _, slices in windows.taps():
        larger = padded[(..., *slices)] > y
        y[larger], found[larger] = padded[(..., *slices)][larger], positions[(..., *slices)][larger]
    return y, found


def _positions(shape: Sequence[int], *, column_major: bool) -> Value:
    """Return of every element of an array (N, C, *spatial) its place when the array is flattened."""
    places = np.arange(np.prod(shape, dtype=np.int64)).reshape(shape)
    if not column_major:
        return places
    turned = np.arange(np.prod(shape, dtype=np.int64)).reshape(*shape[:2], *reversed(shape[2:]))
    return turned.transpose(0, 1, *range(len(shape) - 1, 1, -1))


def global_max_pool(x: Array) -> Array:
    """Return the maximum over the spatial axes of x (N, C, *spatial), each kept as extent 1 (ONNX GlobalMaxPool-1)."""
    return x.max(axis=tuple(range(2, x.ndim)), keepdims=True)


def global_lp_pool(x: Array, *, p: int | None = 2) -> Array:
    """Return (Σ |x|^p)^(1/p) over the spatial axes of x (N, C, *spatial), kept as extent 1 (ONNX GlobalLpPool-2)."""
    power = p or 2
    return (np.abs(x) ** power).sum(axis=tuple(range(2, x.ndim)), keepdims=True) ** (1 / power)


def average_pool(
    x: Array,
    *,
    auto_pad: str | None = None,
    ceil_mode: int | None = None,
    count_include_pad: int | None = None,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Return y[n, c, o] = mean_k x[n, c, o·stride + k·dilation − pad] over the taps that fall on x.

    With ``count_include_pad`` the declared padding counts as zeros; what ceil mode adds beyond it never counts.
    x is (N, C, *spatial). ONNX AveragePool-1 to AveragePool-22.
    """
    windows = Windows.of(
        x.shape[2:],
        kernel_shape,
        strides=strides,
        dilations=dilations,
        pads=pads,
        auto_pad=auto_pad,
        ceil_mode=ceil_mode,
    )
    one = np.ones((1, 1, *x.shape[2:]))
    counted = windows.pad_overhang(windows.pad_declared(one, 1.0 if count_include_pad else 0.0))
    return _tap_sum(windows, windows.pad(x)) / _tap_sum(windows, counted)


def _tap_sum(windows: Windows, padded: Array) -> Array:
    total = np.zeros((*padded.shape[:2], *windows.output))
    for _, slices in windows.taps():
        total += padded[(..., *slices)]
    return total
