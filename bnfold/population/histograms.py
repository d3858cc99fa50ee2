"""How the statistics of a layer's channels are distributed: those that training tracked beside the population's."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnfold.population.report import LayerStatistics

Array = NDArray[np.float64]

BINS: Final = 24


class Histogram(NamedTuple):
    """How many channels lie between two edges; the last bin has both of its edges.

    Attributes:
        edges: (bins + 1,), in the unit of the statistic.
        moving_average: counts (bins,) of the statistics that were there.
        population: counts (bins,) of the new ones.
    """

    edges: Array
    moving_average: NDArray[np.int64]
    population: NDArray[np.int64]

    def to_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        counts = {"moving_average": self.moving_average.tolist(), "population": self.population.tolist()}
        return {"edges": self.edges.tolist(), **counts}


def means(layer: LayerStatistics) -> Histogram:
    """Return the histogram of the means, bins of one width."""
    return _histogram(layer.old_mean, layer.new_mean, _even_edges(layer.old_mean, layer.new_mean))


def variances(layer: LayerStatistics) -> Histogram:
    """Return the histogram of the variances, bins of one ratio; variances of 0 count in the lowest bin."""
    old, new = layer.old_variance, layer.new_variance
    positive = np.concatenate([values[np.isfinite(values) & (values > 0)] for values in (old, new)])
    if positive.size == 0:
        return _histogram(old, new, _even_edges(old, new))
    edges = np.exp(_even_edges(np.log(positive), np.log(positive)))
    lowest = positive.min()
    return _histogram(np.maximum(old, lowest), np.maximum(new, lowest), edges)


def _even_edges(old: Array, new: Array) -> Array:
    both = np.concatenate([old, new])
    both = both[np.isfinite(both)]
    return np.histogram_bin_edges(both if both.size else np.zeros(1), BINS)


def _histogram(old: Array, new: Array, edges: Array) -> Histogram:
    # Edges that went through exp and log may exclude the smallest and largest value by a rounding.
    counts = [np.histogram(np.clip(x[np.isfinite(x)], edges[0], edges[-1]), edges)[0] for x in (old, new)]
    return Histogram(edges, *counts)
