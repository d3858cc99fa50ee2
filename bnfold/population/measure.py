"""Moments of tensors, measured accurately in one go with what standard errors need."""

from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Measured:
    """What ``measure`` found, still on the device.

    ``count`` is the number of values per channel, ``values`` (N,) that of each sample, None where all have the same.
    ``shift`` is (C,), ``sums`` and ``squares`` (N, C) are, for every sample, Σ y and Σ y² of y = x − shift.
    """

    count: int
    values: Tensor | None
    shift: Tensor
    sums: Tensor
    squares: Tensor

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance (C,) to normalize by, still on the device."""
        offset = self.sums.sum(0) / self.count
        return self.shift + offset, (self.squares.sum(0) / self.count - offset * offset).clamp_(min=0)

    def on_host(self) -> MinibatchSums:
        """Return the sums in float64 on the host, for which a GPU has to be waited for."""
        samples = len(self.sums)
        values = np.full(samples, self.count / samples) if self.values is None else _on_host(self.values)
        return MinibatchSums(values, *map(_on_host, (self.shift, self.sums, self.squares)))

    def results(self) -> tuple[Moments, SampleSums]:
        """Return moments and sample sums.

        Raises:
            InputError: the values were not finite.
        """
        return results_of([self.on_host()])


def measure(values: Tensor, mask: Tensor | None = None) -> Measured:
    """Return the sums per sample and channel that the moments of ``values`` come from, without waiting for the device.

    One pass about a shift that a part of the samples gives (Chan, Golub, LeVeque 1983, "Algorithms for Computing the
    Sample Variance", section 3)::

        shift ≈ mean of some x      y = x − shift      mean = shift + (1/n) Σ y      m2 = Σ y² − (1/n)(Σ y)²

    The shift is a few standard deviations from the mean at most, so that the difference loses no digits that matter.
    ``values`` is (N, C, ...) of any rank ≥ 2; an entry of the leading axis is a sample. float32 and half precision are
    read in float32: where mean ≫ std, the shift and x lie within a factor of two of each other and y is exact. float64
    is read in float64. The sums of the samples are added up in float64. With a ``mask`` (N, ...), booleans, only the
    positions count where it is true, and there may be none.

    Raises:
        InputError: ``values`` has rank below 2, or no values.
    """
    if values.ndim < 2 or values.numel() == 0:
        raise InputError(f"values: expected some per channel of (N, C, ...), found shape {tuple(values.shape)}.")
    values = values.detach()
    if mask is not None:
        return _measure_masked(values, mask)
    axes = tuple(range(2, values.ndim))
    some = values[: -(-len(values) // _SHARE)]
    shift = some.mean((0, *axes), keepdim=True, dtype=torch.promote_types(values.dtype, torch.float32))
    count = values.numel() // values.shape[1]
    if not axes:
        offsets = values - shift
        return Measured(count, None, shift.view(-1), offsets, offsets.square())
    parts = _parts(values)
    scratch = torch.empty_like(parts[0], dtype=shift.dtype)
    pairs = [_sums(torch.sub(part, shift, out=scratch[: len(part)]), axes) for part in parts]
    sums, squares = pairs[0] if len(pairs) == 1 else map(torch.cat, zip(*pairs, strict=True))
    return Measured(count, None, shift.view(-1), sums, squares)


def _measure_masked(values: Tensor, mask: Tensor) -> Measured:
    axes = tuple(range(2, values.ndim))
    inside, precision = mask.unsqueeze(1), torch.promote_types(values.dtype, torch.float32)
    counts = mask.reshape(len(mask), -1).sum(1)
    count = int(counts.sum())
    # Filled, not multiplied: padding may hold NaN.
    shift = values.masked_fill(~inside, 0).sum((0, *axes), keepdim=True, dtype=precision) / max(count, 1)
    offsets = (values.to(precision) - shift).masked_fill(~inside, 0)
    sums, squares = (offsets.sum(axes), offsets.square().sum(axes)) if axes else (offsets, offsets.square())
    return Measured(count, counts, shift.view(-1), sums, squares)


def _parts(values: Tensor) -> tuple[Tensor, ...]:
    """Split along N what would not fit a CPU's cache; a GPU is fastest on all of it."""
    if values.device.type != "cpu" or values.numel() <= _CACHED_VALUES:
        return (values,)
    return values.split(max(1, _CACHED_VALUES * len(values) // values.numel()))


def _sums(offsets: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return offsets.sum(axes), offsets.square_().sum(axes)


def _on_host(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.cpu().numpy().astype(np.float64)
