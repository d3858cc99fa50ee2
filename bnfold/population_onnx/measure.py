"""Sums over the samples of an array (N, C, ...), in float64."""

from typing import Final

import numpy as np

from bnfold.errors import InputError
from bnfold.population.minibatch_sums import MinibatchSums

_STEP: Final = 1 << 20
"""Values that are widened to float64 at a time."""

_SHARE: Final = 8
"""The shift is the mean of one sample in so many, as in `bnfold.population.measure`."""


def measure(values: np.ndarray) -> MinibatchSums:
    """Return Σ y and Σ y² of y = x − shift for every sample and channel of ``values`` (N, C, ...).

    Raises:
        InputError: the rank is below 2, or there are no values.
    """
    if values.ndim < 2 or values.size == 0:
        raise InputError(f"values: expected some per channel of (N, C, ...), found shape {values.shape}.")
    samples, channels = values.shape[:2]
    flat = values.reshape(samples, channels, -1)
    shift = flat[: -(-samples // _SHARE)].astype(np.float64).mean(axis=(0, 2))
    sums, squares = np.empty((samples, channels)), np.empty((samples, channels))
    step = max(1, _STEP * samples // values.size)
    for start in range(0, samples, step):
        part = slice(start, start + step)
        offsets = flat[part] - shift[:, np.newaxis]
        offsets.sum(axis=2, out=sums[part])
        np.einsum("ncv,ncv->nc", offsets, offsets, out=squares[part])
    return MinibatchSums(np.full(samples, float(flat.shape[2])), shift, sums, squares)
