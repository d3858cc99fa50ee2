"""Moments of tensors, measured accurately in one go with what standard errors need."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bnfold.errors import InputError
from bnfold.population.minibatch_sums import MinibatchSums, results_of
from bnfold.population.moments import Moments
from bnfold.population.sample_sums import SampleSums

_CACHED_VALUES: Final = 1 << 18
"""Values a step on a CPU: 1 MiB of float32, so that what a step writes is still in the cache when it is summed."""


_SHARE: Final = 8
"""The shift is the mean of one sample in so many."""

_NEAR: Final = 2
"""A mean μ of so many standard deviations σ is near 0: about 0 the squares add up to μ² + σ² each, at most 5σ²."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What ``measure`` found of M minibatches of one size, still on the device.

    ``count`` is the number of values per channel in each, ``values`` (N,) that of each sample, None where all have the
    same. ``shift`` is (M, C), ``sums`` (2, N, C) are, for every sample of all minibatches, one after the other, Σ y and
    Σ y² of y = x − shift.
    """

    count: int
    values: Tensor | None
    shift: Tensor
    sums: Tensor

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance (M, C) to normalize by, still on the device."""
        minibatches, channels = self.shift.shape
        offset, square = self.sums.view(2, minibatches, -1, channels).sum(2).div_(self.count)
        return self.shift + offset, square.addcmul_(offset, offset, value=-1).clamp_(min=0)

    def is_near_zero(self) -> bool:
        """Return whether the mean of every channel is near 0, so that values of its kind can be measured about 0."""
        mean, variance = self.mean_and_variance()
        return bool((mean.square() <= _NEAR**2 * variance).all())

    @property
    def samples(self) -> int:
        """Number of samples in each minibatch."""
        return self.sums.shape[1] // len(self.shift)

    @cached_property
    def on_host(self) -> list[MinibatchSums]:
        """The sums of every minibatch in float64 on the host, for which a GPU has to be waited for."""
        minibatches, channels = self.shift.shape
        all_alike = np.full(self.sums.shape[1], self.count / self.samples)
        values = all_alike if self.values is None else _on_host(self.values)
        sums = _on_host(self.sums).reshape(2, minibatches, -1, channels)
        return list(map(MinibatchSums, values.reshape(minibatches, -1), _on_host(self.shift), *sums))

    def results(self) -> tuple[Moments, SampleSums]:
        """Return moments and sample sums.

        Raises:
            InputError: the values were not finite.
        """
        return results_of(self.on_host)


def measure(values: Tensor, mask: Tensor | None = None, *, minibatches: int = 1, about_zero: bool = False) -> Measured:
    """Return the sums per sample and channel that the moments of ``values`` come from, without waiting for the device.

    One pass about a shift that a part of the samples gives (Chan, Golub, LeVeque 1983, "Algorithms for Computing the
    Sample Variance", section 3)::

        shift ≈ mean of some x      y = x − shift      mean = shift + (1/n) Σ y      m2 = Σ y² − (1/n)(Σ y)²

    The shift is a few standard deviations from the mean at most, so that the difference loses no digits that matter.
    ``values`` is (N, C, ...) of any rank ≥ 2; an entry of the leading axis is a sample. float32 and half precision are
    read in float32: where mean ≫ std, the shift and x lie within a factor of two of each other and y is exact. float64
    is read in float64. The sums of the samples are added up in float64. With a ``mask`` (N, ...), booleans, only the
    positions count where it is true, and there may be none. Without one, the samples may be those of several
    ``minibatches`` of one size, one after the other, each with a shift of its own.

    ``about_zero`` is for values whose mean is expected near 0 (see `Measured.is_near_zero`): without a mask their shift
    is then 0, which saves a third of the time.

    Raises:
        InputError: ``values`` has rank below 2, or no values.
    """
    if values.ndim < 2 or values.numel() == 0:
        raise InputError(f"values: expected some per channel of (N, C, ...), found shape {tuple(values.shape)}.")
    values = values.detach()
    if mask is not None:
        assert minibatches == 1, "a mask is for one minibatch"
        return _measure_masked(values, mask)
    axes = tuple(range(2, values.ndim))
    shift = _shift(values, minibatches, axes, about_zero=about_zero)
    sums = shift.new_empty(2, *values.shape[:2])
    count = values.numel() // values.shape[1] // minibatches
    if not axes:
        torch.square(torch.sub(values, broadcastable(shift, values), out=sums[0]), out=sums[1])
        return Measured(count, None, shift, sums)
    rows = _rows_at_once(values)
    scratch = torch.empty_like(values[:rows], dtype=shift.dtype)
    reference = broadcastable(shift, values)
    for start in range(0, len(values), rows):
        here = slice(start, start + rows)
        part = values[here]
        room = scratch[: len(part)]
        if about_zero:
            offsets = part.to(shift.dtype)
        else:
            offsets = torch.sub(part, reference if minibatches == 1 else reference[here], out=room)
        torch.sum(offsets, axes, out=sums[0, here])
        torch.sum(torch.square(offsets, out=room), axes, out=sums[1, here])
    return Measured(count, None, shift, sums)


def _shift(values: Tensor, minibatches: int, axes: tuple[int, ...], *, about_zero: bool) -> Tensor:
    """Return the mean (M, C) of the first samples of every minibatch, or 0."""
    precision = torch.promote_types(values.dtype, torch.float32)
    if about_zero:
        return values.new_zeros(minibatches, values.shape[1], dtype=precision)
    apart = values.unflatten(0, (minibatches, -1))
    some = apart[:, : -(-apart.shape[1] // _SHARE)]
    return some.mean((1, *(axis + 1 for axis in axes)), dtype=precision)


def broadcastable(figures: Tensor, values: Tensor) -> Tensor:
    """Return figures (M, C) of M minibatches of one size as what broadcasts over their ``values`` (N, C, ...)."""
    minibatches, channels = figures.shape
    rows = figures if minibatches == 1 else figures.repeat_interleave(len(values) // minibatches, 0)
    return rows.view(-1, channels, *(1,) * (values.ndim - 2))


def _measure_masked(values: Tensor, mask: Tensor) -> Measured:
    axes = tuple(range(2, values.ndim))
    inside, precision = mask.unsqueeze(1), torch.promote_types(values.dtype, torch.float32)
    counts = mask.reshape(len(mask), -1).sum(1)
    count = int(counts.sum())
    # Filled, not multiplied: padding may hold NaN.
    shift = values.masked_fill(~inside, 0).sum((0, *axes), keepdim=True, dtype=precision) / max(count, 1)
    offsets = (values.to(precision) - shift).masked_fill(~inside, 0)
    pair = (offsets.sum(axes), offsets.square().sum(axes)) if axes else (offsets, offsets.square())
    return Measured(count, counts, shift.view(1, -1), torch.stack(pair))


def _rows_at_once(values: Tensor) -> int:
    """Return how many samples fit a CPU's cache; a GPU is fastest on all of them."""
    if values.device.type != "cpu" or values.numel() <= _CACHED_VALUES:
        return len(values)
    return max(1, _CACHED_VALUES * len(values) // values.numel())


def _on_host(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.cpu().numpy().astype(np.float64)
