"""The per-channel affine map that Batch Normalization is at inference."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """y = a·x + b, one a and one b per channel.

    Attributes:
        scale: a, any shape, float64.
        offset: b, the same shape, float64.
    """

    scale: Array
    offset: Array

    def __post_init__(self) -> None:
        """Refuse parts that differ in shape: broadcasting is the caller's, who knows the channel axis."""
        if self.scale.shape != self.offset.shape:
            raise ValueError(
                f"Scale and offset of an affine map differ in shape ({self.scale.shape} != {self.offset.shape})."
            )

    @staticmethod
    def of_batch_norm(gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float) -> "Affine":
        """Return a = γ/√(Var + ε), b = β − a·E (Algorithm 2, line 11), in float64.

        Args:
            gamma: γ, shape (C,).
            beta: β, shape (C,).
            mean: E[x], shape (C,).
            variance: Var[x], shape (C,), in the square of x's unit.
            epsilon: ε, in the unit of the variance.
        """
        scale = gamma / np.sqrt(variance + epsilon)
        return Affine(scale, beta - scale * mean)
