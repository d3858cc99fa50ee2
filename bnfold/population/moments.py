"""Moments of a set of values per channel: measured accurately, merged exactly.

With n values x of a channel::

    count = n        mean = (1/n) Σ x        m2 = Σ (x − mean)²

never through E[x²] − E[x]², which has no digits left once mean/std reaches 1e4 in float32.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bnfold.errors import InputError

_CACHED_VALUES: Final = 1 << 18
"""Values a step on a CPU: 1 MiB of float32, so that what a step writes is still in the cache when it is summed."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What ``measure`` found, still on the device: the sums (C,) of y = x − shift and of y² over ``count`` values."""

    count: int
    shift: Tensor
    total: Tensor
    total_of_squares: Tensor

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance (C,) to normalize by, still on the device.

        The mean is the shift and the variance is about it, so that what the mean lost in rounding is made up for.
        """
        return self.shift, self.total_of_squares / self.count

    def moments(self) -> "Moments":
        """Return the moments on the host, for which a GPU has to be waited for.

        Raises:
            InputError: the values were not finite.
        """
        shift, total, total_of_squares = map(_on_host, (self.shift, self.total, self.total_of_squares))
        # What is not finite is refused below, with its channel.
        with np.errstate(over="ignore", invalid="ignore"):
            offset = total / self.count
            # m2 of a constant channel is a difference of roundings.
            return Moments(self.count, shift + offset, np.maximum(total_of_squares - total * offset, 0))


def measure(values: Tensor, channel_axis: int = 1) -> Measured:
    """Return the sums per channel that the moments of ``values`` come from, without waiting for the device.

    Two passes with a correction (Chan, Golub, LeVeque 1983, "Algorithms for Computing the Sample Variance", eq. 1.7)::

        shift ≈ (1/n) Σ x      y = x − shift      mean = shift + (1/n) Σ y      m2 = Σ y² − (1/n)(Σ y)²

    ``values`` has any rank ≥ 2. float32 and half precision are read in float32: where mean ≫ std, the shift and x lie
    within a factor of two of each other and y is exact. float64 is read in float64. Sums of parts are added up in
    float64.

    Raises:
        InputError: ``values`` has rank below 2, or no values.
    """
    if values.ndim < 2 or values.numel() == 0:
        raise InputError(f"values: expected some per channel of (N, C, ...), found shape {tuple(values.shape)}.")
    values = values.detach() if channel_axis == 1 else values.detach().movedim(channel_axis, 1)
    axes = (0, *range(2, values.ndim))
    shift = values.mean(axes, keepdim=True, dtype=torch.promote_types(values.dtype, torch.float32))
    parts = _parts(values)
    scratch = torch.empty_like(parts[0], dtype=shift.dtype)
    sums = [_sums(torch.sub(part, shift, out=scratch[: len(part)]), axes) for part in parts]
    total, total_of_squares = sums[0] if len(sums) == 1 else (_added(terms) for terms in zip(*sums, strict=True))
    return Measured(values.numel() // values.shape[1], shift.view(-1), total, total_of_squares)


def _parts(values: Tensor) -> tuple[Tensor, ...]:
    """Split along N what would not fit a CPU's cache; a GPU is fastest on all of it."""
    if values.device.type != "cpu" or values.numel() <= _CACHED_VALUES:
        return (values,)
    return values.split(max(1, _CACHED_VALUES * len(values) // values.numel()))


def _sums(offsets: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return offsets.sum(axes), offsets.square_().sum(axes)


def _added(terms: tuple[Tensor, ...]) -> Tensor:
    return torch.stack(terms).sum(0, dtype=torch.float64)


def _on_host(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.cpu().numpy().astype(np.float64)


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of ``count`` values per channel; ``mean`` and ``m2`` (C,) in float64, read-only.

    ``m2`` is the sum of squared deviations from the mean, in squared units of the values.

    Raises:
        InputError: ``count`` is negative, the shapes are not one (C,), a figure is not finite or ``m2`` is negative.
    """

    count: int
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", frozen_array(self.mean))
        object.__setattr__(self, "m2", frozen_array(self.m2))
        if self.mean.ndim != 1 or self.mean.shape != self.m2.shape:
            raise InputError(f"moments: expected one shape (C,), found mean {self.mean.shape} and m2 {self.m2.shape}.")
        if self.count < 0:
            raise InputError(f"moments: expected a count of at least 0, found {self.count}.")
        sound = np.isfinite(self.mean) & (self.m2 >= 0) & np.isfinite(self.m2)
        if not sound.all():
            channel = int(np.argmin(sound))
            found = f"mean {self.mean[channel]}, sum of squared deviations {self.m2[channel]}"
            raise InputError(f"moments: expected finite values, found {found} in channel {channel}.")

    @staticmethod
    def of(values: Tensor, channel_axis: int = 1) -> "Moments":
        """Return the moments of a tensor of any rank ≥ 2, over all of its axes but ``channel_axis``.

        Raises:
            InputError: ``values`` has rank below 2, no values, or values that are not finite.
        """
        return measure(values, channel_axis).moments()

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of values together, by Chan's formula.

        ::

            n = n_a + n_b    δ = mean_b − mean_a    mean = mean_a + δ·n_b/n    m2 = m2_a + m2_b + δ²·n_a·n_b/n

        Associative and commutative up to rounding. Chan, Golub, LeVeque 1983, section 2.

        Raises:
            InputError: the two have different numbers of channels.
        """
        if self.mean.shape != other.mean.shape:
            raise InputError(f"moments: cannot merge {self.mean.size} channels with {other.mean.size}.")
        count = self.count + other.count
        if count == 0:
            return self
        delta, share = other.mean - self.mean, other.count / count
        return Moments(count, self.mean + delta * share, self.m2 + other.m2 + delta**2 * (self.count * share))

    @property
    def variance(self) -> NDArray[np.float64]:
        """The unbiased variance m2/(n−1), of the population that the values are a sample of."""
        if self.count < 2:
            raise InputError(f"variance: expected at least 2 values per channel, found {self.count}.")
        return self.m2 / (self.count - 1)

    @property
    def biased_variance(self) -> NDArray[np.float64]:
        """The biased variance m2/n, by which a minibatch is normalized."""
        if self.count < 1:
            raise InputError("biased variance: expected at least 1 value per channel, found 0.")
        return self.m2 / self.count


def frozen_array(values: ArrayLike) -> NDArray[np.float64]:
    """Return a read-only float64 copy, which a frozen value can hold."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
