"""How large values are with the shifts that are stored in them, and which lose their digits to these."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from bnfold.folding.affine import Array
from bnfold.folding.forms import Linear, Normalization, Pointwise
from bnfold.folding.gauges import Ids
from bnfold.folding.network import Network
from bnfold.folding.solution import Solution

LARGEST_MULTIPLICAND = 4.0
"""What is multiplied costs an operator two bits where it is this many times as large as it deviates, in the root mean
square over all that is added up: what is rounded is the value with the shift.

What else is rounded on the way hides as much. Graphs that are made of little else (tests/folding/test_accuracy.py) err
up to 1.3 times as much in float32 as unfolded with shifts up to here, 1.6 times with shifts of 8 times a value's size.
"""


LARGEST_SUMMAND = 8.0
"""The same where values are added one by one, in the root mean square over the channels.

There is no product to round, and no sum over channels: with 11 such a graph erred up to 1.34 times as much as unfolded,
with 27 1.53 times.
"""

_ROUNDING = 1e-9
"""By how much, relatively, two sizes may differ that are equal: they are computed in float64 by a dozen operations."""


@dataclass(frozen=True)
class Sizes:
    """The mean square of every variable's values, leaving scales out; 0 where no normalization tells.

    Attributes:
        least: Var, what remains where a shift takes the mean away, shape (variables,).
        before: Var + E² without a shift, the same shape; or that of a value which a map that goes made this one of,
            whose rounding it inherits.
        after: Var + (E + σ)², with it, the same shape.
    """

    least: Array
    before: Array
    after: Array

    @classmethod
    def of(
        cls,
        network: Network,
        solution: Solution,
        removed: Sequence[Pointwise],
        kept: Sequence[Pointwise],
    ) -> Self:
        """Take them from E and Var of the normalizations that read values, and from γ and β of those that stay.

        A map that goes leaves one tensor where there were two. What is added up has one scale: members of a class at
        one scale are taken to deviate as much as that which deviates most, about 0 where no normalization tells. What
        passes a rectifier is not below 0.

        Args:
            network: the operators and their gauges.
            solution: the gauges, chosen.
            removed: maps that go, in graph order.
            kept: maps that stay.
        """
        scale, shift = solution.scale, solution.shift
        variables = np.arange(len(scale))
        roots, _ = network.gauges.roots(variables)
        scales, scale_index = np.unique(np.round(np.log2(np.abs(scale)), 6), return_inverse=True)
        _, peers = np.unique(roots * len(scales) + scale_index, return_inverse=True)
        tensors = variables.copy()
        for pointwise in removed:
            x, y = np.broadcast_arrays(pointwise.sources, pointwise.targets)
            tensors[y] = tensors[x]

        mean, variance = scale * shift, np.zeros(peers.max() + 1)  # as stored, by tensor and by peers
        for ids, center, deviation in _moments(removed, kept):
            mean[tensors[ids]] = scale[ids] * (center + shift[ids])
            np.maximum.at(variance, peers[ids], np.square(scale[ids] * deviation))
        for pointwise in removed:
            x, y = (peers[ids].ravel() for ids in np.broadcast_arrays(pointwise.sources, pointwise.targets))
            np.maximum.at(variance, y, variance[x])

        squared = np.square(scale)
        least, center = variance[peers] / squared, mean[tensors] / scale - shift
        for threshold in network.thresholds:
            center[threshold.label] = np.maximum(center[threshold.label], 0.0)
        known = least > 0
        before = squared * np.where(known, least + np.square(center), 0.0)  # as stored
        for pointwise in removed:
            x, y = (ids.ravel() for ids in np.broadcast_arrays(pointwise.sources, pointwise.targets))
            np.maximum.at(before, y, before[x])
        return cls(least, before / squared, np.where(known, least + np.square(center + shift), 0.0))

    def drowned_multiplicands(self, linear: Linear) -> Ids:
        """Return the variables whose shifts so enlarge values that the operator would read mostly rounding.

        Each product W·x adds its rounding, which is as many times larger as x is: what counts is the sum of the squares
        of all products.
        """
        ids = linear.sources
        own = tuple(axis for axis, extent in enumerate(ids.shape) if extent == 1)
        if not self._are_drowned(ids, LARGEST_MULTIPLICAND).any():
            return np.empty(0, dtype=np.int64)
        return self._drowned(ids, np.square(linear.kernel()).sum(axis=own, keepdims=True), LARGEST_MULTIPLICAND)

    def drowned_summands(self, label: Ids) -> Ids:
        """Return the variables of a label whose shifts so enlarge values that the sum would be mostly rounding."""
        ids = label.ravel()
        least = self.least[ids]
        weights = np.divide(1.0, least, out=np.zeros_like(least), where=least > 0)
        return self._drowned(ids, weights, LARGEST_SUMMAND)

    def _are_drowned(self, ids: Ids, limit: float) -> np.ndarray:
        """Return which values a shift makes larger than they were, and than ``limit`` times what they deviate.

        Both bounds hold for the shifts of several folds together as for those of one.
        """
        before = self.before[ids] * (1.0 + _ROUNDING)
        return self.after[ids] > np.maximum(limit**2 * self.least[ids], before)

    def _drowned(self, ids: Ids, weights: Array, limit: float) -> Ids:
        """Return which of the values that are added up drown, if the sum, weighted, exceeds the limit as well."""
        excess = np.sum(weights * (self.after[ids] - limit**2 * self.least[ids]))
        return ids[self._are_drowned(ids, limit) & (excess > 0)]


def _moments(removed: Sequence[Pointwise], kept: Sequence[Pointwise]) -> Iterator[tuple[Ids, Array, Array]]:
    """Yield what normalizations tell of variables: these, their mean, and how far they deviate, each of shape (C,)."""
    for pointwise in (*removed, *kept):
        if isinstance(pointwise, Normalization):
            yield pointwise.sources.ravel(), pointwise.mean, pointwise.deviation
    for pointwise in kept:
        if isinstance(pointwise, Normalization):
            gamma, beta = pointwise.parameters(pointwise.affine)
            yield pointwise.targets.ravel(), beta, gamma
