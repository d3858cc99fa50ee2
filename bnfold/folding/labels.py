"""Which channel is which: gauge variables move through a graph as the data do.

A value's label is an array of gauge variables of the value's rank, of extent 1 along every axis on which the gauge does
not vary. A structural operator does to it what NumPy would do to the data.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bnfold.folding.gauges import IDENTITY, Ids
from bnfold.graph.shapes import Dims

N = TypeVar("N", bound=np.generic)


def identity(rank: int) -> Ids:
    """Return the label of a value whose gauge is known to be (1, 0), shape (1,) * rank."""
    return np.full((1,) * rank, IDENTITY, dtype=np.int64)


def along(channels: NDArray[N], axis: int, rank: int) -> NDArray[N]:
    """Return an array that varies along one axis only: ``channels``, shape (C,), put on ``axis``."""
    return channels.reshape([-1 if position == axis else 1 for position in range(rank)])


def with_rank(label: NDArray[N], rank: int) -> NDArray[N]:
    """Return an array with leading axes added, as broadcasting aligns shapes at the right."""
    return label.reshape((1,) * (rank - label.ndim) + label.shape)


def varying(label: NDArray[np.generic]) -> tuple[int, ...]:
    """Return the axes along which an array varies: those of extent above 1."""
    return tuple(axis for axis, extent in enumerate(label.shape) if extent > 1)


def reshaped(label: Ids, before: Dims, after: Dims) -> Ids | None:
    """Return the label after a reshape; None where unknown extents hide which channel goes where."""
    expanded, shape = list(label.shape), list[int]()
    for sources, targets in reshape_groups(before, after):
        if all(label.shape[axis] == 1 for axis in sources):
            shape += [1] * len(targets)
            continue
        extents = [before[axis] for axis in sources], [after[axis] for axis in targets]
        if not all(isinstance(dim, int) for side in extents for dim in side):
            return None
        for axis in sources:
            expanded[axis] = int(before[axis] or 1)
        shape += [int(dim or 1) for dim in extents[1]]
    return np.broadcast_to(label, expanded).reshape(shape)


def reshape_groups(before: Dims, after: Dims) -> list[tuple[range, range]]:
    """Split a reshape into groups of neighbouring axes that hold the same elements, as short as can be.

    (N, C, H, W) → (N, g, C/g, H, W) gives N | C : g, C/g | H | W. Symbolic extents match by name; one extent that is
    not known is what remains of the others.
    """
    known = [dim or f"?{axis}" for axis, dim in enumerate(before)]
    sources, targets = [_extent(dim) for dim in known], _completed(known, after)
    ends: dict[Extent, list[int]] = {}
    for position, product in enumerate(_running_products(targets), start=1):
        ends.setdefault(product, []).append(position)
    groups: list[tuple[range, range]] = []
    i = j = 0
    for position, product in enumerate(_running_products(sources), start=1):
        end = next((end for end in ends.get(product, ()) if end > j), None)
        if end is not None:
            groups.append((range(i, position), range(j, end)))
            i, j = position, end
    if i < len(sources) or j < len(targets):
        groups.append((range(i, len(sources)), range(j, len(targets))))
    return groups


Extent = tuple[int, tuple[str, ...]]
"""An extent as a product: an integer times symbols, sorted by name."""


def _extent(dim: int | str) -> Extent:
    return (dim, ()) if isinstance(dim, int) else (1, (dim,))


def _running_products(extents: Iterable[Extent]) -> Iterator[Extent]:
    return accumulate(extents, lambda left, right: (left[0] * right[0], tuple(sorted(left[1] + right[1]))))


def _completed(before: Sequence[int | str], after: Dims) -> list[Extent]:
    """Return the extents of ``after``; one unknown extent, if there is just one, follows from the total.

    Unknown is also what is named by a symbol that ``before`` does not have; several unknown ones match nothing.
    """
    extents = [_extent(f"{axis}?" if dim is None else dim) for axis, dim in enumerate(after)]
    unknown = [axis for axis, dim in enumerate(after) if not isinstance(dim, int) and dim not in before]
    if len(unknown) != 1 or 0 in before:
        return extents
    known = [extent for axis, extent in enumerate(extents) if axis != unknown[0]]
    factor, symbols = math.prod(extent[0] for extent in known), Counter(name for extent in known for name in extent[1])
    total = Counter(dim for dim in before if not isinstance(dim, int))
    elements = math.prod(dim for dim in before if isinstance(dim, int))
    if factor and elements % factor == 0 and symbols <= total:
        extents[unknown[0]] = (elements // factor, tuple(sorted((total - symbols).elements())))
    return extents
