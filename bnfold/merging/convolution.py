"""The algebra of convolutions: closed under addition, composition and scales, in float64.

y[n, m, o] = b[m] + Σ_{c, k} W[m, c, k]·x[n, c, o·stride + k·dilation − before], zero outside x. The geometry of a sum
or of a composition is known at once; its numbers are computed when they are asked for, once it is known to be worth it.
"""

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bnfold.merging.geometry import Axis, Geometry

Array = npt.NDArray[np.float64]


class Convolution(ABC):
    """A linear function of one value, with a bias.

    Attributes:
        geometry: its form.
    """

    geometry: Geometry

    @property
    @abstractmethod
    def silent(self) -> bool:
        """Whether it surely has no bias."""

    @abstractmethod
    def values(self) -> tuple[Array, Array]:
        """Return the weight, of the geometry's shape, and the bias (outputs,)."""


@dataclass(frozen=True, eq=False)
class Atom(Convolution):
    """A convolution whose numbers are known.

    Attributes:
        geometry: its form.
        weight: in the type in which it is stored.
        bias: in float64, shape (outputs,).
    """

    geometry: Geometry
    weight: npt.NDArray[Any]
    bias: Array

    @classmethod
    def diagonal(cls, scale: Array, bias: Array, rank: int) -> "Atom":
        """Return y = scale·x + bias, channel by channel, over ``rank`` spatial axes."""
        channels = len(scale)
        geometry = Geometry(channels, channels, channels, (Axis(),) * rank)
        return cls(geometry, scale.reshape(geometry.shape), bias)

    @property
    def silent(self) -> bool:
        """Whether its bias is 0."""
        return not self.bias.any()

    def values(self) -> tuple[Array, Array]:
        """Return what it was made of, the weight widened."""
        return self.weight.astype(np.float64), self.bias


@dataclass(frozen=True, eq=False)
class Composition(Convolution):
    """``inner`` followed by ``outer``.

    Raises:
        Unmergeable: they are not one convolution.
    """

    outer: Convolution
    inner: Convolution
    geometry: Geometry = field(init=False)

    def __post_init__(self) -> None:
        """Find the geometry, or refuse, before any number is computed."""
        geometry = self.inner.geometry.then(self.outer.geometry, silent=self.inner.silent)
        object.__setattr__(self, "geometry", geometry)

    @property
    def silent(self) -> bool:
        """Whether neither has a bias."""
        return self.outer.silent and self.inner.silent

    def values(self) -> tuple[Array, Array]:
        """Return W[m, c, j·a + k·b] = Σ_u W₂[m, u, j]·W₁[u, c, k], and b = b₂ + Σ_{u, j} W₂[m, u, j]·b₁[u].

        b₁ is 0 where ``outer`` pads, so that every tap of ``outer`` meets it.
        """
        (weight, offset), (first, first_offset) = self.outer.values(), self.inner.values()
        outer, inner, whole = self.outer.geometry, self.inner.geometry, self.geometry
        result = np.zeros(whole.shape)
        for tap in itertools.product(*(range(axis.taps) for axis in outer.axes)):
            places = tuple(
                mine.place(theirs, at=index * axis.dilation * theirs.stride)
                for mine, axis, theirs, index in zip(whole.axes, outer.axes, inner.axes, tap, strict=True)
            )
            result[(..., *places)] += _product(weight[(..., *tap)], first, outer, inner, whole.groups)
        sums = weight.reshape(*weight.shape[:2], -1).sum(axis=2)
        rows = sums.reshape(outer.groups, -1, sums.shape[1])
        carried = np.matmul(rows, first_offset.reshape(outer.groups, -1, 1)).reshape(-1)
        return result, offset + carried


@dataclass(frozen=True, eq=False)
class Total(Convolution):
    """The sum of ``branches``, which read one value of the given spatial extents.

    Raises:
        Unmergeable: they are not one convolution.
    """

    branches: tuple[Convolution, ...]
    extents: tuple[int | None, ...]
    geometry: Geometry = field(init=False)

    def __post_init__(self) -> None:
        """Find the geometry, or refuse, before any number is computed."""
        geometry = Geometry.covering([branch.geometry for branch in self.branches], self.extents)
        object.__setattr__(self, "geometry", geometry)

    @property
    def silent(self) -> bool:
        """Whether no branch has a bias."""
        return all(branch.silent for branch in self.branches)

    def values(self) -> tuple[Array, Array]:
        """Return the sum of the weights, each laid where its taps are, and the sum of the biases."""
        whole = self.geometry
        result, offset = np.zeros(whole.shape), np.zeros(whole.outputs)
        for branch in self.branches:
            weight, bias = branch.values()
            places = tuple(
                axis.place(part, at=axis.before - part.before)
                for axis, part in zip(whole.axes, branch.geometry.axes, strict=True)
            )
            result[(..., *places)] += with_groups(weight, branch.geometry.groups, whole.groups)
            offset += bias
        return result, offset


def with_groups(weight: Array, groups: int, fewer: int) -> Array:
    """Return a weight (M, C/groups, …) as one of ``fewer`` groups, (M, C/fewer, …), zeros off the blocks."""
    if groups == fewer:
        return weight
    joined = groups // fewer
    blocks = weight.reshape(fewer, joined, -1, *weight.shape[1:])
    result = np.zeros((fewer, joined, blocks.shape[2], joined, *blocks.shape[3:]))
    for index in range(joined):
        result[:, index, :, index] = blocks[:, index]
    return result.reshape(weight.shape[0], -1, *weight.shape[2:])


def _product(weight: Array, first: Array, outer: Geometry, inner: Geometry, groups: int) -> Array:
    """Return Σ_u weight[m, u]·first[u, c, …] for one tap of the outer convolution, in ``groups`` groups.

    What is depthwise has one summand: it multiplies rows, or columns, and keeps the blocks of the other.
    """
    spatial = (1,) * (first.ndim - 2)
    if outer.depthwise:
        return weight.reshape(-1, 1, *spatial) * first
    if inner.depthwise:
        columns = first.reshape(outer.groups, 1, weight.shape[1], *first.shape[2:])
        rows = weight.reshape(outer.groups, -1, weight.shape[1], *spatial)
        return (rows * columns).reshape(*weight.shape, *first.shape[2:])
    rows = with_groups(weight, outer.groups, groups).reshape(groups, outer.outputs // groups, -1)
    columns = with_groups(first, inner.groups, groups)
    products = np.matmul(rows, columns.reshape(groups, inner.outputs // groups, -1))
    return products.reshape(outer.outputs, *columns.shape[1:])
