"""Mean and standard deviation of each channel, in float64: what inputs are standardized by."""

import numpy as np

from bnfold.data.dataset import Array, Dataset

Statistics = dict[str, dict[str, list[float]]]
"""By input: ``mean`` and ``std``, one number a channel."""

_BLOCK = 4096
"""Samples read at a time, so that a float64 copy of all of them is never needed."""


def channel_statistics(dataset: Dataset, *, least_axes: int = 1) -> Statistics:
    """Return mean and standard deviation (over all m values, not m − 1) of each channel of each floating-point input.

    The channel is axis 1 of (N, C, …); an input (N,) is one channel. Squares are summed around means, never as
    E[x²] − E[x]². Inputs of fewer than ``least_axes`` axes are left out.
    """
    floats = {name: x for name, x in dataset.inputs.items() if x.dtype.kind == "f" and x.ndim >= least_axes}
    return {name: _channels(array) for name, array in floats.items()}


def _channels(array: Array) -> dict[str, list[float]]:
    """Merge blocks by Chan's formula: count, mean and sum of squared deviations."""
    count, mean, m2 = 0, np.zeros(1), np.zeros(1)
    for start in range(0, len(array), _BLOCK):
        block = array[start : start + _BLOCK].astype(np.float64)
        rows = np.moveaxis(block[:, None] if block.ndim == 1 else block, 1, -1).reshape(-1, _width(array))
        own_mean = rows.mean(axis=0)
        own_m2 = np.square(rows - own_mean).sum(axis=0)
        total = count + len(rows)
        delta = own_mean - mean
        mean = mean + delta * (len(rows) / total)
        m2 = m2 + own_m2 + np.square(delta) * (count * len(rows) / total)
        count = total
    return {"mean": mean.tolist(), "std": np.sqrt(m2 / count).tolist()}


def _width(array: Array) -> int:
    return 1 if array.ndim == 1 else array.shape[1]
