"""Values read at points between the samples, in float64: GridSample, AffineGrid and DeformConv, in any dimensions."""

import itertools
from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from bnfold.verify.oracle.types import Array, Value

_CUBIC = -0.75
"""The coefficient of the cubic kernel."""

_SPELLINGS = {"linear": "linear", "bilinear": "linear", "nearest": "nearest", "cubic": "cubic", "bicubic": "cubic"}


def grid_sample(
    x: Array,
    grid: Array,
    *,
    align_corners: int | None = 0,
    mode: str | None = "linear",
    padding_mode: str | None = "zeros",
) -> Array:
    """Return y[n, c, o] = x[n, c] at grid[n, o], whose last axis counts the spatial axes of x from the last one on.

    −1 and 1 are the centers of the outer samples where ``align_corners`` is set, else their outer edges. Beyond lie
    zeros, the outer samples (``border``) or x mirrored (``reflection``). x is (N, C, *spatial), grid (N, *out, axes).
    ONNX GridSample-16 to -22. The reference implementation reads point by point.
    """
    kind, padding, aligned = _SPELLINGS[mode or "linear"], padding_mode or "zeros", bool(align_corners)
    at: list[Array] = []
    for extent, place in zip(x.shape[2:], np.moveaxis(grid, -1, 0)[::-1], strict=True):
        at.append((place + 1) / 2 * (extent - 1) if aligned else ((place + 1) * extent - 1) / 2)
    return _read(x, at, kind, padding, aligned=aligned)


def deform_conv(
    x: Array,
    weight: Array,
    offset: Array,
    bias: Array | None = None,
    mask: Array | None = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,  # noqa: ARG001  (the weight's own extents, by definition)
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Return y[n, m, o] = b[m] + Σ_{c, k} w[m, c, k]·mask[n, k, o]·x[n, c](o·stride + k·dilation − pad + δ[n, k, o]).

    δ are the offsets. x is (N, C, *spatial) and zero outside, read linearly between its samples; the weight is
    (M, C/group, *kernel), the offset (N, offset_group·K·axes, *output) for K taps, the axes innermost, the mask
    (N, offset_group·K, *output), each group of which serves C/offset_group channels; y is (N, M, *output).
    ONNX DeformConv-19, -22. The reference implementation reads point by point, a minute for an image of 16 by 16.
    """
    axes, kernel, output = x.ndim - 2, weight.shape[2:], offset.shape[2:]
    offset = offset.reshape(len(x), offset_group, *kernel, axes, *output)
    at: list[Array] = []
    for axis in range(axes):
        taps = np.arange(kernel[axis]) * (dilations[axis] if dilations else 1)
        places = np.arange(output[axis]) * (strides[axis] if strides else 1) - (pads[axis] if pads else 0)
        behind = [1] * (axes - 1 - axis)
        moved = np.take(offset, axis, axis=2 + axes)
        at.append(moved + taps.reshape(-1, *behind, *[1] * axes) + places.reshape(-1, *behind))
    y = np.empty((len(x), group, len(weight) // group, prod(output)))
    rows = weight.reshape(group, len(weight) // group, -1)
    for image, result in enumerate(y):
        channels = x[image].reshape(offset_group, -1, *x.shape[2:])
        read = _read(channels, [places[image] for places in at], "linear", "zeros", aligned=True)
        if mask is not None:
            read *= mask[image].reshape(offset_group, 1, *kernel, *output)
        np.matmul(rows, read.reshape(group, rows.shape[2], -1), out=result)
    y = y.reshape(len(x), len(weight), *output)
    return y if bias is None else y + bias.reshape(-1, *[1] * axes)


def _read(x: Array, at: Sequence[Array], kind: str, padding: str, *, aligned: bool) -> Array:
    """Return (N, C, *out), x (N, C, *spatial) at positions in units of samples, one array (N, *out) a spatial axis."""
    images, y = np.arange(len(x)).reshape(-1, *[1] * (at[0].ndim - 1)), np.zeros((*at[0].shape, x.shape[1]))
    channels_last = np.moveaxis(x, 1, -1)
    taps = [
        list(_taps(places, extent, kind, padding, aligned=aligned))
        for places, extent in zip(at, x.shape[2:], strict=True)
    ]
    for corner in itertools.product(*taps):
        weight = np.prod([weights for _, weights in corner], axis=0)
        y += weight[..., None] * channels_last[(images, *(places for places, _ in corner))]
    return np.moveaxis(y, -1, 1)


def _taps(at: Array, extent: int, kind: str, padding: str, *, aligned: bool) -> Iterator[tuple[Value, Array]]:
    """Yield the samples along one axis that positions in units of samples read, and the weight of each."""
    if padding == "border" and kind != "cubic":  # of which every sample is clipped by itself, below
        at = np.clip(at, 0, extent - 1)
    elif padding == "reflection":
        at = _mirrored(at, extent, aligned=aligned)
    first = np.rint(at) if kind == "nearest" else np.floor(at)
    for offset, weight in _kernel(at - first, kind):
        place = first + offset
        if padding == "reflection":
            place = _mirrored(place, extent, aligned=aligned)
        inside = (place >= 0) & (place <= extent - 1)
        clipped = np.clip(np.nan_to_num(place), 0, extent - 1).astype(np.int64)
        yield clipped, np.where(inside | (padding != "zeros"), weight, 0.0)


def _kernel(fraction: Array, kind: str) -> Iterator[tuple[int, Array]]:
    if kind == "nearest":
        yield 0, np.ones_like(fraction)
    elif kind == "linear":
        yield from ((0, 1 - fraction), (1, fraction))
    else:
        for offset in (-1, 0, 1, 2):
            distance, a = np.abs(offset - fraction), _CUBIC
            near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
            far = a * (((distance - 5) * distance + 8) * distance - 4)
            yield offset, np.where(distance <= 1, near, far)


def _mirrored(at: Array, extent: int, *, aligned: bool) -> Array:
    """Reflect positions at the centers, or at the outer edges, of the first and the last sample."""
    low, high = (0.0, extent - 1.0) if aligned else (-0.5, extent - 0.5)
    span = high - low
    if not span:
        return np.zeros_like(at)
    folded = np.mod(at - low, 2 * span)
    return np.where(folded > span, 2 * span - folded, folded) + low


def affine_grid(theta: Array, size: Value, *, align_corners: int | None = 0) -> Array:
    """Return grid[n, o] = θ[n]·(coordinates of o, 1), in −1 to 1 as `grid_sample` reads them.

    θ is (N, axes, axes + 1), size (N, C, *spatial), the grid (N, *spatial, axes). ONNX AffineGrid-20.
    """
    spatial: Sequence[int] = size[2:].tolist()
    lines = [np.linspace(-1, 1, n) if align_corners else (2 * np.arange(n) + 1) / n - 1 for n in spatial]
    places = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(spatial)], axis=-1)
    return np.einsum("...j,nij->n...i", places, theta)
