"""Whether a type can hold what is rounded to it."""

from collections.abc import Iterable, Sequence

import ml_dtypes
import numpy as np
import onnx_ir as ir

from bnfold.folding.affine import Array
from bnfold.folding.forms import Linear, Pointwise, Threshold
from bnfold.folding.gauges import Ids
from bnfold.folding.journal import distinct
from bnfold.folding.labels import along
from bnfold.folding.network import Network
from bnfold.folding.sizes import Sizes
from bnfold.folding.solution import Solution
from bnfold.graph.rounding import rounded


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
    sizes = Sizes.of(network, solution, removed, kept)
    strained = [
        (linear.node, np.concatenate([_strained_by_linear(linear, solution), sizes.drowned_multiplicands(linear)]))
        for linear in linears
    ]
    strained += [(pointwise.node, _strained_by_pointwise(pointwise, solution)) for pointwise in kept]
    strained += [(threshold.node, _strained_by_threshold(threshold, solution)) for threshold in network.thresholds]
    strained += [(node, sizes.drowned_summands(label)) for node, operands in network.sums.items() for label in operands]
    return {root: node for node, ids in strained for root in distinct(gauges.roots(ids)[0]).tolist()}


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
