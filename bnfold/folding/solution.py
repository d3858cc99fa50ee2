"""The gauges of a plan, and the formulas by which they rewrite weights, biases and affine maps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnfold.folding.affine import Affine, Array
from bnfold.folding.forms import Linear, Pointwise, part_of
from bnfold.folding.gauges import Ids


@dataclass(frozen=True)
class Solution:
    """The gauges of a plan: one scale and one shift per gauge variable.

    Attributes:
        scale: s, shape (variables,), float64, never 0.
        shift: σ, shape (variables,), float64.
    """

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]

    def kernel(self, linear: Linear, part: slice = slice(None)) -> Array:
        """Return W' = s_out·W/s_in, a part along the first axis; the operator's gain applies to it as it did to W."""
        kernel = linear.kernel(part)
        kernel *= self.scale[part_of(linear.targets, part)]
        kernel /= self.scale[part_of(linear.sources, part)]
        return kernel

    def bias(self, linear: Linear) -> tuple[Array, Array | None]:
        """Return b' = s_out·(b + σ_out − Σ W·σ_in), shape (M,), and what else to add behind a zero-padded operator.

        Σ W·σ_in is taken off everywhere, as if every tap read the input; but padding is 0, not the shift. What was
        taken too much is the border map, shape (1, M, *spatial): s_out·Σ W·σ_in over the taps that read padding, which
        along each axis depend on the position alone. None where no shift reaches padding; where the map is the same at
        all positions, it is part of b'.
        """
        scale, offset = self.scale[linear.channels], linear.offset + self.shift[linear.channels]
        shift = linear.gain * self.shift[linear.sources]
        if not np.any(shift):
            return scale * offset, None
        moved = linear.kernel() * shift
        if linear.taps is None:
            return scale * (offset - linear.summed(moved)), None
        reached = moved.sum(axis=1)
        for taps in linear.taps:  # contracts the first tap axis left, appends the output axis
            reached = np.tensordot(reached, taps, axes=(1, 1))
        positions = tuple(range(1, reached.ndim))
        if (reached == reached[(slice(None), *(slice(1),) * len(positions))]).all():
            return scale * (offset - reached.max(axis=positions)), None
        total = linear.summed(moved)
        border = np.expand_dims(scale, positions) * (np.expand_dims(total, positions) - reached)
        return scale * (offset - total), border[np.newaxis]

    def affine(self, pointwise: Pointwise) -> Affine:
        """Return a' = s_y·a/s_x and b' = s_y·(b + σ_y − a·σ_x)."""
        a, b = pointwise.affine.scale, pointwise.affine.offset
        s_x, s_y = self.scale[pointwise.sources], self.scale[pointwise.targets]
        sigma_x, sigma_y = self.shift[pointwise.sources], self.shift[pointwise.targets]
        scale, offset = np.broadcast_arrays(s_y * a / s_x, s_y * (b + sigma_y - a * sigma_x))
        return Affine(scale, offset)

    def is_identity(self, *labels: Ids) -> bool:
        """Whether every variable of ``labels`` has s = 1 and σ = 0 exactly."""
        return all(bool(np.all(self.scale[label] == 1.0) and not np.any(self.shift[label])) for label in labels)
