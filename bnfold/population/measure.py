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


@dataclass(frozen=True, eq=False)
class Measured:
    """What ``measure`` found of M minibatches of one size, still on the device.

    ``count`` is the number of values per channel in each, ``values`` (N,) that of each sample, None where all have the
    same. ``shift`` is (M, C), ``sums`` and ``squares`` (N, C) are, for every sample of all minibatches, one after the
    other, Σ y and Σ y² of y = x − shift.
    """

    count: int
    values: Tensor | None
    shift: Tensor
    sums: Tensor
    squares: Tensor

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance (M, C) to normalize by, still on the device."""
        minibatches = len(self.shift)
        sums, squares = (each.unflatten(0, (minibatches, -1)).sum(1) for each in (self.sums, self.squares))
        offset = sums / self.count
        return self.shift + offset, torch.addcmul(squares / self.count, offset, offset, value=-1).clamp_(min=0)

    @property
    def samples(self) -> int:
        """Number of samples in each minibatch."""
        return len(self.sums) // len(self.shift)

    @cached_property
    def on_host(self) -> list[MinibatchSums]:
        """The sums of every minibatch in float64 on the host, for which a GPU has to be waited for."""
        minibatches = len(self.shift)
        all_alike = np.full(len(self.sums), self.count / self.samples)
        values = all_alike if self.values is None else _on_host(self.values)
        parts = [each.reshape(minibatches, -1, each.shape[1]) for each in map(_on_host, (self.sums, self.squares))]
        return list(map(MinibatchSums, values.reshape(minibatches, -1), _on_host(self.shift), *parts))

    def results(self) -> tuple[Moments, SampleSums]:
        """Return moments and sample sums.

        Raises:
            InputError: the values were not finite.
        """
        return results_of(self.on_host)


def measure(values: Tensor, mask: Tensor | None = None, *, minibatches: int = 1) -> Measured:
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
    apart = values.unflatten(0, (minibatches, -1))
    some = apart[:, : -(-apart.shape[1] // _SHARE)]
    shift = some.mean((1, *(axis + 1 for axis in axes)), dtype=torch.promote_types(values.dtype, torch.float32))
    count = apart[0].numel() // values.shape[1]
    reference = broadcastable(shift, values)
    if not axes:
        offsets = values - reference
        return Measured(count, None, shift, offsets, offsets.square())
    parts = _parts(values)
    scratch = torch.empty_like(parts[0], dtype=shift.dtype)
    references = reference.expand(len(values), *reference.shape[1:]).split(len(parts[0]))
    pairs = [
        _sums(torch.sub(part, its, out=scratch[: len(part)]), axes) for part, its in zip(parts, references, strict=True)
    ]
    sums, squares = pairs[0] if len(pairs) == 1 else map(torch.cat, zip(*pairs, strict=True))
    return Measured(count, None, shift, sums, squares)


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
    sums, squares = (offsets.sum(axes), offsets.square().sum(axes)) if axes else (offsets, offsets.square())
    return Measured(count, counts, shift.view(1, -1), sums, squares)


def _parts(values: Tensor) -> tuple[Tensor, ...]:
    """Split along N what would not fit a CPU's cache; a GPU is fastest on all of it."""
    if values.device.type != "cpu" or values.numel() <= _CACHED_VALUES:
        return (values,)
    return values.split(max(1, _CACHED_VALUES * len(values) // values.numel()))


def _sums(offsets: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return offsets.sum(axes), offsets.square_().sum(axes)


def _on_host(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.cpu().numpy().astype(np.float64)
