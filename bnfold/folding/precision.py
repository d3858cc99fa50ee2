"""Whether a type can hold what is rounded to it."""

from collections.abc import Iterable, Sequence

import ml_dtypes
import numpy as np
import onnx_ir as ir

from bnfold.folding.affine import Array
from bnfold.folding.forms import Linear, Normalization, Pointwise, Threshold
from bnfold.folding.gauges import Gauges, Ids
from bnfold.folding.journal import distinct
from bnfold.folding.labels import along
from bnfold.folding.network import Network
from bnfold.folding.solution import Solution
from bnfold.graph.rounding import rounded

LARGEST_SHIFT = 4.0
"""Shifts that exceed values this many times, in the root mean square over all that an operator adds up, cost it more
than two bits: values are stored as the sums.

What else is rounded on the way hides as much. Graphs that are made of little else (tests/folding/test_accuracy.py) err
up to 1.3 times as much in float32 as unfolded with shifts up to here, 1.6 times with shifts of 8 times a value's size.
"""


LARGEST_SUMMAND_SHIFT = 8.0
"""The same where values are added one by one, root mean square over the channels of shift and value.

There is no product to round, and no sum over channels: with 11 such a graph erred up to 1.34 times as much as unfolded,
with 27 1.53 times.
"""


def overstrained_roots(
    network: Network,
    solution: Solution,
    linears: Iterable[Linear],
    removed: Sequence[Pointwise],
    kept: Sequence[Pointwise],
) -> dict[int, ir.Node]:
    """Return the scale classes that bear on what its type cannot hold, with the node that reads it.

    That is a constant out of range, or a value in which a shift drowns what an operator reads.

    Args:
        network: the operators and their gauges.
        solution: the gauges, chosen.
        linears: the linear operators, with channels silenced where a removal needs it.
        removed: maps that go.
        kept: maps that stay.
    """
    gauges = network.gauges
    size = _stored_sizes(gauges, solution, removed, kept)
    strained = [
        (linear.node, np.concatenate([_strained_by_linear(linear, solution), _drowned(linear, solution, size)]))
        for linear in linears
    ]
    strained += [(pointwise.node, _strained_by_pointwise(pointwise, solution)) for pointwise in kept]
    strained += [(threshold.node, _strained_by_threshold(threshold, solution)) for threshold in network.thresholds]
    strained += [
        (node, _drowned_summand(label, solution, size)) for node, operands in network.sums.items() for label in operands
    ]
    return {root: node for node, ids in strained for root in distinct(gauges.roots(ids)[0]).tolist()}


def _stored_sizes(gauges: Gauges, solution: Solution, removed: Sequence[Pointwise], kept: Sequence[Pointwise]) -> Array:
    """Return for every variable how large its value is as stored; infinite where no normalization tells.

    The input of a normalization has the root mean square √(Var + E²), the result of one that stays √(γ² + β²); that of
    a map that goes is stored as its input is. What is added up has one scale: members of a class at one scale are taken
    for each other's size, the largest for all.
    """
    roots, _ = gauges.roots(np.arange(len(gauges)))
    magnitude = np.abs(solution.scale)
    scales, scale = np.unique(np.round(np.log2(magnitude), 6), return_inverse=True)
    _, peers = np.unique(roots * len(scales) + scale, return_inverse=True)
    size = np.zeros(peers.max() + 1)
    for pointwise in (p for p in (*removed, *kept) if isinstance(p, Normalization)):
        x = pointwise.sources.ravel()
        np.maximum.at(size, peers[x], magnitude[x] * np.hypot(pointwise.deviation, pointwise.mean))
    for pointwise in (p for p in kept if isinstance(p, Normalization)):
        y, (gamma, beta) = pointwise.targets.ravel(), pointwise.parameters(pointwise.affine)
        np.maximum.at(size, peers[y], magnitude[y] * np.hypot(gamma, beta))
    for pointwise in removed:
        x, y = (peers[ids].ravel() for ids in np.broadcast_arrays(pointwise.sources, pointwise.targets))
        np.maximum.at(size, y, size[x])
    return np.where(size > 0, size, np.inf)[peers]


def _drowned(linear: Linear, solution: Solution, size: Array) -> Ids:
    """Return the variables whose shifts so exceed values that the operator would read mostly rounding.

    Each product W·x adds its rounding, which is as many times larger as the shift exceeds x: what counts is the mean of
    the squares, weighted by the squares of the products.
    """
    ids = linear.sources
    excess = np.abs(solution.scale[ids] * solution.shift[ids]) / size[ids]
    large = excess > LARGEST_SHIFT
    if not large.any():
        return np.empty(0, dtype=np.int64)
    own = tuple(axis for axis, extent in enumerate(ids.shape) if extent == 1)
    known = np.where(np.isfinite(size[ids]), size[ids] / solution.scale[ids], 0.0)
    power = np.square(linear.kernel()).sum(axis=own, keepdims=True) * np.square(known)
    if np.sum(power * np.square(excess)) <= LARGEST_SHIFT**2 * np.sum(power):
        return np.empty(0, dtype=np.int64)
    return ids[large]


def _drowned_summand(label: Ids, solution: Solution, size: Array) -> Ids:
    """Return the variables of a label whose shifts so exceed the values that the sum would be mostly their rounding."""
    ids = label.ravel()
    times = np.abs(solution.scale[ids] * solution.shift[ids]) / size[ids]
    drowns = np.mean(np.square(times)) > LARGEST_SUMMAND_SHIFT**2
    return ids[drowns & (times > LARGEST_SUMMAND_SHIFT)]


def _strained_by_linear(linear: Linear, solution: Solution) -> Ids:
    """Return the gauge variables of channels whose weights or bias do not fit."""
    if solution.is_identity(linear.sources, linear.targets):
        return np.empty(0, dtype=np.int64)
    offset, border = solution.bias(linear)
    overflow = ~np.isfinite(rounded(offset, linear.dtype).astype(np.float64))
    if border is not None:
        finite = np.isfinite(rounded(border, linear.dtype).astype(np.float64))
        overflow |= ~finite.all(axis=(0, *range(2, border.ndim)))
    ids = [linear.channels[overflow]]
    if overflow.any():
        ids.append(linear.sources[solution.shift[linear.sources] != 0])
    if not _surely_fits(linear, solution):
        bad = misfits(linear.kernel(), solution.kernel(linear), linear.dtype, linear.contraction)
        ids += [np.broadcast_to(side, bad.shape)[bad] for side in (linear.sources, linear.targets)]
    return np.concatenate(ids)


def _strained_by_pointwise(pointwise: Pointwise, solution: Solution) -> Ids:
    """Return the gauge variables of channels whose a' or b' does not fit, in the form in which the node holds it."""
    if solution.is_identity(pointwise.sources, pointwise.targets):
        return np.empty(0, dtype=np.int64)
    before, after = (pointwise.parameters(affine) for affine in (pointwise.affine, solution.affine(pointwise)))
    bad = [misfits(old, new, pointwise.dtype, ()) for old, new in zip(before, after, strict=True)]
    if pointwise.vectors_along is not None:
        bad = [along(mask, pointwise.vectors_along, pointwise.sources.ndim) for mask in bad]
    sources, targets, misfit = np.broadcast_arrays(pointwise.sources, pointwise.targets, np.logical_or.reduce(bad))
    return np.concatenate([sources[misfit], targets[misfit]])


def _strained_by_threshold(threshold: Threshold, solution: Solution) -> Ids:
    """Return the gauge variables of channels whose constant s·σ overflows or would become 0."""
    shift = solution.shift[threshold.label]
    constant = rounded(solution.scale[threshold.label] * shift, threshold.dtype).astype(np.float64)
    return threshold.label[~np.isfinite(constant) | ((shift != 0) & (constant == 0))]


def _surely_fits(linear: Linear, solution: Solution) -> bool:
    """Whether bounds show that no entry leaves the normal range: the common case, without widening the weight."""
    info = ml_dtypes.finfo(linear.weight.dtype)
    magnitude = np.abs(linear.weight)
    largest = float(magnitude.max(initial=0))
    smallest = float(magnitude.min(initial=np.inf, where=magnitude >= info.smallest_normal))
    sources, targets = np.abs(solution.scale[linear.sources]), np.abs(solution.scale[linear.targets])
    stretch, shrink = targets.max() / sources.min(), targets.min() / sources.max()
    return bool(largest * stretch < float(info.max) and smallest * shrink > float(info.smallest_normal))


def misfits(before: Array, after: Array, dtype: ir.DataType, contraction: tuple[int, ...]) -> np.ndarray:
    """Return which entries of ``after`` its type cannot hold as well as it holds ``before``, a mask of the same shape.

    1. An entry overflows.
    2. An entry that the type held as a normal number would become 0.
    3. All entries that are summed up along ``contraction`` leave the normal range, where one of them was in it before:
       the sum as a whole would lose digits.
    """
    info = ml_dtypes.finfo(dtype.numpy())
    smallest = float(info.smallest_normal)
    before = np.broadcast_to(before, np.broadcast_shapes(before.shape, after.shape))
    result = rounded(after, dtype).astype(np.float64)
    overflow = ~np.isfinite(result)
    flushed = (np.abs(before) >= smallest) & (after != 0) & (result == 0)
    largest_before = np.abs(before).max(axis=contraction, keepdims=True, initial=0.0)
    largest_after = np.abs(after).max(axis=contraction, keepdims=True, initial=0.0)
    faded = (largest_before >= smallest) & (largest_after < smallest) & (largest_after > 0)
    return np.asarray(overflow | flushed | faded)
