"""Operators that select or average over positions, channel by channel."""

from collections.abc import Sequence

import numpy as np

from bnfold.folding import labels
from bnfold.folding.gauges import Ids
from bnfold.folding.rules.padding import is_padded
from bnfold.folding.site import Site


def max_pool(site: Site) -> None:
    """MaxPool, GlobalMaxPool: s_y = s_x > 0, σ_y = σ_x; the padding is minus infinity, which no shift moves."""
    label = _over_positions(site)
    site.positive(label)
    site.emit(label)


def average_pool(site: Site) -> None:
    """AveragePool: s_y = s_x, σ_y = σ_x; σ = 0 where padded zeros are counted."""
    label = _over_positions(site)
    counts_padding = site.integer("count_include_pad", 0) != 0
    reaches_padding = is_padded(site, tuple(site.integers("kernel_shape") or ())) or site.integer("ceil_mode", 0) != 0
    if counts_padding and reaches_padding:
        site.unshifted(label)
    site.emit(label)


def global_average_pool(site: Site) -> None:
    """GlobalAveragePool: s_y = s_x, σ_y = σ_x."""
    site.emit(_over_positions(site))


def lp_pool(site: Site) -> None:
    """LpPool: s_y = s_x > 0, σ = 0."""
    label = _over_positions(site)
    site.positive(label)
    site.unshifted(label)
    site.emit(label)


def reduce_mean(site: Site) -> None:
    """ReduceMean: s_y = s_x, σ_y = σ_x; the gauge is made uniform along reduced axes."""
    _reduce(site)


def reduce_extremum(site: Site) -> None:
    """ReduceMax, ReduceMin: s_y = s_x > 0, σ_y = σ_x."""
    site.positive(_reduce(site))


def reduce_sum(site: Site) -> None:
    """ReduceSum: s_y = s_x, σ = 0, since a shift would be summed up."""
    site.unshifted(_reduce(site))


def reduce_norm(site: Site) -> None:
    """ReduceL1, ReduceL2: s_y = s_x > 0, σ = 0."""
    label = _reduce(site)
    site.positive(label)
    site.unshifted(label)


def _over_positions(site: Site) -> Ids:
    label = site.label(0)
    return site.uniform(label, [axis for axis in labels.varying(label) if axis >= 2])


def _reduce(site: Site) -> Ids:
    label = site.label(0)
    axes = _reduced_axes(site, label.ndim)
    label = site.uniform(label, axes)
    if not site.integer("keepdims", 1):
        label = np.squeeze(label, axis=tuple(axes))
    site.emit(label)
    return label


def _reduced_axes(site: Site, rank: int) -> Sequence[int]:
    axes = site.integers_of("axes", 1)
    if not axes:
        return () if site.integer("noop_with_empty_axes", 0) else range(rank)
    return [axis % rank for axis in axes]
