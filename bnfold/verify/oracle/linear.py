"""Convolutions in float64: few and large matrix products, in blocks that bound the memory."""

from collections.abc import Sequence
from math import prod

import numpy as np

from bnfold.verify.oracle.types import Array
from bnfold.verify.oracle.windows import Windows

BLOCK = 2**22
"""Numbers that one block of gathered windows may hold (32 MiB)."""


def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    auto_pad: str | None = None,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,  # noqa: ARG001  (the weight's own extents, by definition)
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Return y[n, m, o] = b[m] + Σ_{c, k} w[m, c, k]·x[n, c, o·stride + k·dilation − pad], zero outside x.

    x is (N, C, *spatial), the weight (M, C/group, *kernel), y (N, M, *output). ONNX Conv-1 to Conv-22.
    """
    windows = Windows.of(
        x.shape[2:], weight.shape[2:], strides=strides, dilations=dilations, pads=pads, auto_pad=auto_pad
    )
    padded = windows.pad(x)
    padded = padded.reshape(len(x), group, x.shape[1] // group, *padded.shape[2:])
    weight = weight.reshape(group, len(weight) // group, *weight.shape[1:])
    y = np.empty((len(x), *weight.shape[:2], *windows.output))
    convolve = _depthwise if weight.shape[2] == 1 else _grouped
    for image, result in zip(padded, y, strict=True):
        convolve(image, weight, windows, result)
    y = y.reshape(len(x), group * weight.shape[1], *windows.output)
    if bias is not None:
        y += bias.reshape(-1, *[1] * len(windows.output))
    return y


def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    auto_pad: str | None = None,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,  # noqa: ARG001  (the weight's own extents, by definition)
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Return y[n, m, i·stride + k·dilation − pad] = b[m] + Σ_{c, k} w[c, m, k]·x[n, c, i]: the adjoint of ``conv``.

    x is (N, C, *spatial), the weight (C, M/group, *kernel), y (N, M, *output). ONNX ConvTranspose-1 to -22.
    """
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    sizes = zip(x.shape[2:], weight.shape[2:], strides, dilations, strict=True)
    spread = [(size - 1) * stride + (k - 1) * dilation + 1 for size, k, stride, dilation in sizes]
    full = [extent + more for extent, more in zip(spread, output_padding or [0] * rank, strict=True)]
    before, output = _transpose_crop(x.shape[2:], full, strides, pads, auto_pad, output_shape)
    windows = Windows.of(spread, weight.shape[2:], strides=strides, dilations=dilations, pads=None, auto_pad=None)
    columns = x.reshape(len(x), group, x.shape[1] // group, prod(x.shape[2:]))
    weight = weight.reshape(group, x.shape[1] // group, *weight.shape[1:])
    canvas_size = [max(extent, first + out) for extent, first, out in zip(full, before, output, strict=True)]
    y = np.zeros((len(x), group, weight.shape[2], *canvas_size))
    for tap, slices in windows.taps():
        spreading = np.matmul(np.ascontiguousarray(weight[(..., *tap)].swapaxes(1, 2)), columns)
        y[(..., *slices)] += spreading.reshape(*y.shape[:3], *x.shape[2:])
    cropped = y[(..., *(slice(first, first + out) for first, out in zip(before, output, strict=True)))]
    cropped = cropped.reshape(len(x), group * weight.shape[2], *output)
    return cropped if bias is None else cropped + bias.reshape(-1, *[1] * rank)


def _grouped(image: Array, weight: Array, windows: Windows, result: Array) -> None:
    """Fill ``result`` (G, M/G, *output): gather the windows of a block of output rows, then one product a group."""
    rows = weight.reshape(*weight.shape[:2], -1)
    numbers_a_row = rows.shape[0] * rows.shape[2] * prod(windows.output[1:])
    step = max(1, BLOCK // max(1, numbers_a_row))
    for start in range(0, windows.output[0], step):
        block = slice(start, start + step)
        taps = [image[(..., *slices)][:, :, block] for _, slices in windows.taps()]
        gathered = taps[0] if len(taps) == 1 else np.stack(taps, axis=2)  # of one tap no copy is needed
        product = np.matmul(rows, gathered.reshape(rows.shape[0], rows.shape[2], -1))
        result[:, :, block] = product.reshape(result[:, :, block].shape)


def _depthwise(image: Array, weight: Array, windows: Windows, result: Array) -> None:
    """Fill ``result`` (G, M/G, *output) for one input channel a group: there is no sum but that over the taps."""
    result[...] = 0
    for tap, slices in windows.taps():
        result += weight[:, :, 0][(..., *tap)].reshape(*weight.shape[:2], *[1] * len(tap)) * image[(..., *slices)]


def _transpose_crop(
    spatial: Sequence[int],
    full: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: str | None,
    output_shape: Sequence[int] | None,
) -> tuple[list[int], list[int]]:
    """Return where the output begins in the full map, and its extents, one an axis.

    An explicit output shape decides over ``pads``; the operator's formula splits the total padding so that
    SAME_UPPER puts the larger half at the end, everything else at the beginning.
    """
    rank = len(spatial)
    if auto_pad in {"SAME_UPPER", "SAME_LOWER"} and not output_shape:
        output_shape = [size * stride for size, stride in zip(spatial, strides, strict=True)]
    if output_shape:
        totals = [extent - out for extent, out in zip(full, output_shape[-rank:], strict=True)]
        halves = [max(0, total) for total in totals]
        before = [total // 2 if auto_pad == "SAME_UPPER" else total - total // 2 for total in halves]
        return before, list(output_shape[-rank:])
    pads = [0] * (2 * rank) if auto_pad == "VALID" or not pads else pads
    ends = zip(full, pads[:rank], pads[rank:], strict=True)
    return list(pads[:rank]), [extent - first - last for extent, first, last in ends]
