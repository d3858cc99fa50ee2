"""``standardized:DATA``: any data with each channel's mean and standard deviation of its training split taken out.

It is a data set of its own, so that what a run was trained on is what it is calibrated and verified on later.
"""

import numpy as np

from bnfold.data.dataset import Array, Dataset
from bnfold.data.statistics import channel_statistics

PREFIX = "standardized:"


def standardized(dataset: Dataset, train_set: Dataset) -> Dataset:
    """Return (x − mean)/std per channel of every floating-point input, in its own type; others stay.

    The channel is axis 1 of (N, C, …). A channel that is constant in the training split is only centred.
    """
    statistics = channel_statistics(train_set)
    inputs = {
        name: _standardize(x, statistics[name]["mean"], statistics[name]["std"]) if name in statistics else x
        for name, x in dataset.inputs.items()
    }
    return Dataset(PREFIX + dataset.name, inputs, dataset.labels)


def _standardize(x: Array, mean: list[float], std: list[float]) -> Array:
    shape = (1, -1, *[1] * (x.ndim - 2)) if x.ndim > 1 else (-1,)
    centre = np.asarray(mean).reshape(shape)
    scale = np.asarray([deviation or 1.0 for deviation in std]).reshape(shape)
    return ((x - centre) / scale).astype(x.dtype)
