"""Implicit zero padding: whether it reaches an operator's input, and where."""

import numpy as np

from bnfold.folding.affine import Array
from bnfold.folding.site import Site


def is_padded(site: Site, kernel: tuple[int, ...]) -> bool:
    """Whether implicit padding can reach the input; SAME pads nothing only for a kernel of one tap."""
    mode = site.string("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return any(site.integers("pads") or ())
    return mode.startswith("SAME") and any(extent > 1 for extent in kernel)


def border_taps(site: Site, kernel: tuple[int, ...]) -> tuple[Array, ...] | None:
    """Return, for each spatial axis, which taps read the input at which output position; None for dynamic extents.

    Args:
        site: a Conv, input (N, C, *spatial).
        kernel: extents of the kernel along the spatial axes.
    """
    inputs, outputs = (site.network.dims(value) for value in (site.value(0), site.node.outputs[0]))
    if inputs is None or outputs is None:
        return None
    rank = len(kernel)
    strides, dilations = site.integers("strides") or [1] * rank, site.integers("dilations") or [1] * rank
    taps: list[Array] = []
    for axis, (extent, size, count) in enumerate(zip(inputs[2:], kernel, outputs[2:], strict=True)):
        if not isinstance(extent, int) or not isinstance(count, int):
            return None
        stride, dilation = strides[axis], dilations[axis]
        begin = _begin(site, axis, rank, (count - 1) * stride + (size - 1) * dilation + 1 - extent)
        position = np.arange(count)[:, np.newaxis] * stride + np.arange(size) * dilation - begin
        taps.append(((position >= 0) & (position < extent)).astype(np.float64))
    return tuple(taps)


def _begin(site: Site, axis: int, rank: int, missing: int) -> int:
    """Return the padding before the first element; SAME splits what is missing, the odd one after or before."""
    mode = site.string("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return (site.integers("pads") or [0] * rank)[axis]
    total = max(missing, 0)
    return total // 2 if mode == "SAME_UPPER" else total - total // 2
